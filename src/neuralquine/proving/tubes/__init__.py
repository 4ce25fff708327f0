"""Bounds of every evaluation of a network, in NumPy alone: tubes around a float64 run, and adjoints of its code.

One run of the network in float64 gives a number ``v`` at every place. Around it lies a *tube*: whatever an admissible
evaluation (exact reals, or an IEEE machine of a type with any order of summation, fused or not) has there is within a radius
of ``v``. A tube forgets how errors go together and grows from layer to layer; so one backward pass for each entry of the code
then adds up what every single rounding contributes to that entry, where the tube counts only to the second order.

``tube.py`` has the operations that the rules of ``rules/`` are written in, ``layers.py``, ``functions.py`` and ``normal.py``
their bounds, ``adjoint.py`` the backward pass, ``elementary.py`` functions with proven errors, and ``margins.py`` the questions.
"""
