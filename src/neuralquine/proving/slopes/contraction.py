"""A quine in a box of codes, and only one, by a contraction.

Let ``g`` be the reduced map of the network without rounding, in real arithmetic, m a point, X the box of radius ``rho`` around it, G any
matrix and Y another. Let ``|Y (g(m) - v)| <= e``, and ``|Y (g(c) - g(c') - G (c - c'))| <= R |c - c'|`` for all codes of X, in the largest
norm. The map ``n(c) = c - Y (c - g(c))`` takes c and c' to points that differ by ``(I - Y (I - G)) (c - c')`` and at most ``R |c - c'|``. So if

    k = |Y (m - v)| + e + (|I - Y (I - G)| 1 + R) rho  <  rho

in every entry, n takes X into its interior and contracts it: it has one fixed point there, within k of m. The same inequality makes
Y regular, so that the fixed points of n are those of g.

Source: Banach (1922); with derivatives in the place of G and R, Krawczyk (1969) and Rump, "Verification methods" (2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..rules import NoRule
from ..tubes.machine import GROWTH, UNIT, Unbounded, gamma
from ..tubes.margins import Say
from ..tubes.tube import Tape, held, tape_of
from .rest import Box
from .sloped import Sloped

if TYPE_CHECKING:
    from ..network import Network

Floats = NDArray[Any]

_LARGEST = 2**25  # entries of the derivative of all weights, 256 MiB; some five arrays of this size are held at once
_NEWTON = 6  # steps of Newton's method at most
_NEAR = 1e-13  # of the code, a step after which another one would gain nothing
_WIDER, _BOXES = 8.0, 4  # a box that is not mapped into itself is made so many times wider, so many times
_FIRST = 4.0  # times what a point of the box can be off


@dataclass(frozen=True)
class Enclosure:
    """What is known of one box.

    Attributes:
        midpoint, radius: of the box of codes.
        proved: whether it holds a fixed point, and only one.
        nonzero: whether the boxes of codes and of weights exclude 0, so that the quine is not the zero quine.
        theta_radius: no weight of the quine is farther than this from the stored one.
        reach: the fixed point is within this of the midpoint.
        contraction: the largest factor of a distance; below 1 where it is proved.
    """

    midpoint: list[float]
    radius: float
    proved: bool
    nonzero: bool
    theta_radius: float
    contraction: float
    reach: float = math.inf


@dataclass(frozen=True)
class _Map:
    """``Y`` and ``g`` over a box: ``Y (m - v)``, e, G and R; and the weights: their value, its error, and ``|E'|``."""

    inverse: Floats
    away: Floats
    error: Floats
    slopes: Floats
    rest: Floats
    theta: Floats
    off: Floats
    sizes: Floats


def enclosed(network: Network, say: Say | None = None) -> Enclosure:
    """Newton's method from the code of the stored weights, then boxes around its end, until one is mapped into itself.

    Raises:
        NoRule: the network has no proof rule, or is too large for this one.
    """
    try:
        point = _stored_code(network)
    except Unbounded:
        return Enclosure([math.nan] * network.d, 0.0, False, False, math.inf, math.inf)
    for step in (False, True):
        try:
            with np.errstate(all="ignore"):  # what is not a number is found at every place
                found = _around(network, point, say, step=step)
        except Unbounded:
            continue
        if found.proved:
            return found
    return Enclosure(point.tolist(), 0.0, False, False, float("inf"), float("inf"))


def in_box(network: Network, midpoint: list[float], radius: float, say: Say | None = None) -> Enclosure:
    """What is known of one box."""
    found = Enclosure(midpoint, radius, False, False, float("inf"), float("inf"))
    for step in (False, True):
        try:
            with np.errstate(all="ignore"):
                found = _enclosure(network, np.array(midpoint), radius, say, step=step)
        except Unbounded:
            continue
        if found.proved:
            break
    return found


def _around(network: Network, point: Floats, say: Say | None, *, step: bool) -> Enclosure:
    size = 0.0
    for count in range(_NEWTON):
        if say is not None:
            say(f"Newton's method, step {count + 1}")
        g = _mapped(network, point, 0.0, step=step)
        size = float((g.error + 4 * UNIT * (np.abs(g.inverse) @ np.abs(point))).max())
        if not np.isfinite(g.away).all():
            raise Unbounded("Newton's method leaves all numbers")
        point = point - g.away
        if np.abs(g.away).max() <= max(_NEAR, size):
            break
    radius = _FIRST * size
    found = _enclosure(network, point, radius, say, step=step)
    for _ in range(_BOXES - 1):
        if found.proved or not found.contraction < 1:
            break
        found = _enclosure(network, point, radius := radius * _WIDER, say, step=step)
    return found


def _enclosure(network: Network, m: Floats, radius: float, say: Say | None, *, step: bool) -> Enclosure:
    if say is not None:
        say(f"a box of radius {radius:.1e}")
    g = _mapped(network, m, radius, step=step)
    d, y, identity = len(m), np.abs(g.inverse), np.eye(len(m))
    rest = identity - g.inverse @ (identity - g.slopes)
    rounded = gamma(d + 4, UNIT) * (y @ (identity + np.abs(g.slopes)) + identity)
    factor = ((np.abs(rest) + rounded).sum(1) + g.rest) * GROWTH
    reach = (np.abs(g.away) + g.error + factor * radius) * GROWTH
    proved = bool(np.isfinite(reach).all() and (reach < radius).all())
    codes = np.abs(m) > radius
    weights = np.abs(g.theta) > (g.off + g.sizes.sum(1) * radius) * GROWTH
    gap = np.abs(network.theta.astype(np.float64) - g.theta) + g.off + g.sizes @ reach
    nonzero = bool(codes.any() and weights.any())
    return Enclosure(
        m.tolist(), radius, proved, nonzero, float(gap.max() * GROWTH), float(factor.max()), float(reach.max())
    )


def _mapped(network: Network, m: Floats, radius: float, *, step: bool) -> _Map:
    """The reduced map at m and over the box around it."""
    if len(network.theta) * network.d > _LARGEST:
        raise NoRule(f"{len(network.theta)} weights of a code of {network.d} are too many for a proof without a grid")
    mean, gain, matrix = network.printer.parts()
    slopes = gain[:, None] * matrix
    sizes = np.abs(slopes)
    theta = mean + slopes @ m
    # A product with the gain, and a sum of d + 1 numbers.
    off = gamma(len(m) + 4, UNIT) * (np.abs(mean) + sizes @ np.abs(m)) * GROWTH
    tape = tape_of(None)
    box = Box(tape, radius, len(m), step=step)
    weights = _weights(network, box, tape, (theta, slopes, UNIT * sizes.sum(1), off))

    def hold(_: str, numbers: Floats) -> Sloped:
        return Sloped(box, held(tape, numbers))

    h = network.features(weights.get, hold)
    if h.given or h.slopes is None:
        raise NoRule("no proof rule for a network that computes nothing from its weights")
    c = network.coded(h.tightened(), hold).reshape(len(m))
    assert c.slopes is not None
    inverse = _inverse(c.slopes.T)
    image = c.affine(hold("inverse", inverse)).tightened()
    gap = m - c.value
    away = inverse @ gap
    # The difference is rounded once in each entry, and the product as any; the tube's own product is counted in its radius.
    error = image.node.radius + gamma(len(m) + 2, UNIT) * (np.abs(inverse) @ np.abs(gap))
    return _Map(inverse, away, error * GROWTH, c.slopes.T, image.rest, theta, off, sizes * (1 + 2 * UNIT))


def _weights(network: Network, box: Box, tape: Tape, parts: tuple[Floats, ...]) -> dict[str, Sloped]:
    """The printed weights by name, and what is not printed."""
    theta, slopes, rest, off = parts
    found = {name: Sloped(box, held(tape, numbers)) for name, numbers in network.buffers.items()}
    start = 0
    for name, shape, size in zip(network.names, network.shapes, network.sizes, strict=True):
        cut = slice(start, start + size)
        tangents = np.ascontiguousarray(slopes[cut].T).reshape(box.d, *shape)
        own = (numbers[cut].reshape(shape) for numbers in (theta, rest, off))
        value, flaw, away = own
        found[name] = Sloped(box, held(tape, value), tangents, flaw, away)
        start += size
    return found


def _stored_code(network: Network) -> Floats:
    """The code of the stored weights in float64: a first guess, of which nothing is believed."""
    tape = tape_of(None)
    parameters = {name: held(tape, numbers) for name, numbers in network.tensors().items()}
    with np.errstate(all="ignore"):
        h = network.features(parameters.get, lambda _, numbers: held(tape, numbers))
        return network.coded(h, lambda _, numbers: held(tape, numbers)).numbers.reshape(-1)


def _inverse(slopes: Floats) -> Floats:
    try:
        return np.linalg.inv(np.eye(len(slopes)) - slopes)
    except np.linalg.LinAlgError as error:
        raise Unbounded("no matrix is the inverse of a singular one") from error
