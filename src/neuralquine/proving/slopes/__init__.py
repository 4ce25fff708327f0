"""How a network's code answers to a box of codes: derivatives at its middle, and what they leave out anywhere in it.

The weights are ``E(c)`` for codes c in a box of radius ``rho`` around m. Beside the tube of ``tubes/`` around the run at m, every place
of the network has tangents V, its derivative by the d code entries in float64, and a *rest* R: for any two codes c and c' of the box

    | w(c) - w(c') - V (c - c') |  <=  R max |c - c'|.

With ``f = w(c) - w(c') - V (c - c')`` the rest goes from place to place as an error goes in a tube, ``f_k = J_k f_parents + bend_k``,
where ``bend_k`` is what the derivative at the run leaves out between two points of the box, and what V itself rounds. So one backward
pass bounds the rest of the code itself, to the first order exactly; that of the tube is bounded beside it.

``rest.py`` holds a place, ``sloped.py`` the operations that the rules of ``rules/`` are written in, ``bends.py`` what those leave out that
are no sums, and ``contraction.py`` the theorem.
"""
