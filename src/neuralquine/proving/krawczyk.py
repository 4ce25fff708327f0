"""Krawczyk's theorem for a stored quine, at the working precision.

Let ``g`` be the reduced map of the network without rounding, in real arithmetic, ``m`` a point, ``X`` the box of radius
``r`` around it and ``Y`` any matrix. If the Krawczyk operator

    K(X) = m - Y (m - g(m)) + (I - Y (I - g'(X))) (X - m)

lies in the interior of ``X``, then ``g`` has a fixed point in ``X`` and only one, and it lies in ``K(X)``.

Source: Krawczyk (1969); Rump, "Verification methods" (2010), theorem 13.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from flint import arb, arb_mat
from numpy.typing import NDArray

from .balls import Ball, Objects, objects
from .enclosed import coded, expanded
from .network import Network


def value_and_derivative(network: Network, code: Objects, *, derivative: bool = True) -> Ball:
    """``g`` over a box of codes (object array of balls), with ``g'`` if asked for."""
    grad = objects(np.eye(network.d)) if derivative else None
    return coded(network, expanded(network, Ball(code, grad)))


def krawczyk_image(network: Network, point: Objects, radius: arb) -> tuple[Objects, Objects] | None:
    """The box of one radius around a point, and its image K(X).

    The matrix ``Y`` is computed here: any matrix gives a valid proof, a poor one merely fails.

    Returns:
        Both as ``(d,)`` arrays of balls; None where the derivative is not finite or ``Y`` does not exist.
    """
    spread = np.array([arb(0, radius) for _ in range(network.d)], dtype=object)
    box = point + spread
    over_box = value_and_derivative(network, box)
    assert over_box.grad is not None
    slopes = midpoints(over_box.grad)
    if not (np.isfinite(slopes).all() and all(v.is_finite() for v in over_box.grad.flat)):
        return None
    try:
        inverse = np.linalg.inv(np.eye(network.d) - slopes)
    except np.linalg.LinAlgError:
        return None
    residual = column(point - value_and_derivative(network, point, derivative=False).value)
    y, identity = matrix(objects(inverse)), matrix(objects(np.eye(network.d)))
    image = column(point) - y * residual + (identity - y * (identity - matrix(over_box.grad))) * column(spread)
    return box, np.array([image[i, 0] for i in range(network.d)], dtype=object)


def lies_inside(image: Objects, box: Objects) -> bool:
    """Whether every entry of one array lies in the interior of the other's."""
    return all(b.contains_interior(i) for b, i in zip(box, image, strict=True))


def midpoints(balls: Objects) -> NDArray[Any]:
    """The midpoints as floats."""
    return np.array([float(v.mid()) for v in balls.flat]).reshape(balls.shape)


def matrix(array: Objects) -> arb_mat:
    """FLINT's matrix of a two-dimensional array."""
    return arb_mat([list(row) for row in array])


def column(vector: Objects) -> arb_mat:
    """FLINT's matrix of one column."""
    return matrix(vector[:, None])
