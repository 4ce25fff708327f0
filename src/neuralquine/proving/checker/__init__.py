"""The small checker: proofs that need neither balls nor torch, in a few hundred lines of NumPy.

    held.py           machines, and arrays of numbers with a bound on what any machine may hold there
    numbers.py        the operations of a network on them: how the bounds grow
    stored.py         a folder as plain arrays
    tape.py           networks that read their code from a tape of signs: the theorem
    rounded.py        networks whose activations are rounded to a grid: the theorem
    certificates.py   what is written down of it, and how it is verified

It shares the table of rules (``rules/``), the reading of folders, the form of a certificate (``form.py``) and the Philox
generator with the rest of the package, and nothing else. ``docs/exactness.md`` lists what it believes. Who writes such
certificates is ``constructed.py``, which needs not be believed.
"""

from .certificates import check, covers, read

__all__ = ["check", "covers", "read"]
