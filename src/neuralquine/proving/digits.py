"""The weights of the real quine to any number of digits, every one of them guaranteed.

Newton's method in ball arithmetic doubles the precision at each step; Krawczyk's theorem at full precision then
encloses the quine, and only digits on which the whole enclosure agrees are written. On a grid the real quine is what is
stored, once it is proved that exact arithmetic prints it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flint import arb, ctx

from .balls import Ball, objects
from .certificate import printed_as_stored
from .enclosed import expanded, stored
from .krawczyk import column, krawczyk_image, lies_inside, matrix, value_and_derivative
from .network import Network
from .proofs import refine, stored_code
from .verdicts import NotProved
from .witness import Asked, hear

_GUARD = 64  # bits beyond what the digits need


def digits(folder: str | Path, count: int, *, witness: Asked = "evaluation") -> list[str]:
    """The quine near the stored weights, each weight as a decimal string with ``count`` significant digits.

    Args:
        folder: a quine stored to round-off, or to the last bit on a grid.
        count: significant digits, at least 1.
        witness: is asked whether a plain evaluation agrees, as in :func:`~neuralquine.proving.certificate.certify`.

    Returns:
        P strings in the order of the stored vector; each is the true value correctly rounded.

    Raises:
        NotProved: no quine is close to the stored weights.
    """
    if count < 1:
        raise ValueError(f"digits must be at least 1, not {count}")
    network = Network(folder)
    target = int(count * 3.3219280949) + _GUARD
    if network.code_bits is None:
        box = _enclose(network, refine_to(network, target), target)
        ctx.prec = target + _GUARD
        weights = expanded(network, Ball(box)).value
    else:
        printed_as_stored(network)
        ctx.prec = target + _GUARD
        weights = stored(network).value
    hear(witness, folder)
    return [_decimal(w, count) for w in weights]


def refine_to(network: Network, bits: int) -> np.ndarray:
    """A code with an error near ``2^-bits``, as midpoints."""
    start = refine(network, stored_code(network))
    point = objects(np.array(start))
    good = 45
    while good < bits + _GUARD:
        good = min(2 * good - 8, bits + _GUARD)
        ctx.prec = good + _GUARD
        image = value_and_derivative(network, point)
        assert image.grad is not None
        d = network.d
        system = matrix(objects(np.eye(d)) - image.grad)
        try:
            step = system.solve(column(image.value - point), algorithm="approx")
        except ZeroDivisionError as error:
            raise NotProved("Newton's method meets a singular matrix") from error
        point = np.array([arb((point[i] + step[i, 0]).mid()) for i in range(d)], dtype=object)
        if not all(p.is_finite() for p in point):
            raise NotProved("Newton's method diverges: the stored weights are not close to a quine")
    return point


def _enclose(network: Network, point: np.ndarray, bits: int) -> np.ndarray:
    """Krawczyk at full precision: a box of radius ``2^-bits`` that holds exactly one quine."""
    ctx.prec = bits + 2 * _GUARD
    found = krawczyk_image(network, point, arb(2) ** (-bits))
    if found is None or not lies_inside(found[1], found[0]):
        raise NotProved("no quine could be enclosed near the stored weights")
    return found[1]


def _decimal(value: arb, count: int) -> str:
    """A ball in scientific notation with ``count`` digits, correctly rounded; an error where a digit is not certain."""
    if value == 0:
        return "0"
    if value.contains(arb(0)):
        raise NotProved("a weight cannot be told from zero")
    exponent = int(abs(value).log().__truediv__(arb(10).log()).floor().mid().unique_fmpz() or 0)
    for power in (exponent, exponent + 1, exponent - 1):
        scaled = abs(value) * arb(10) ** (count - 1 - power)
        rounded = (scaled + arb(0.5)).floor().unique_fmpz()
        if rounded is not None and 10 ** (count - 1) <= int(rounded) < 10**count:
            text = str(int(rounded))
            sign = "-" if value < 0 else ""
            return f"{sign}{text[0]}.{text[1:]}e{power}" if count > 1 else f"{sign}{text}e{power}"
    raise NotProved("the enclosure is too wide for that many digits")
