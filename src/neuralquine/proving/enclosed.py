"""The self-map of a network in balls (python-flint): what ``digits`` computes with, and the oracle of the tests."""

from __future__ import annotations

from .balls import Ball, Rounding, objects
from .network import Network
from .rules import NoRule
from .streamed import StreamedSigns

_LARGEST_DERIVATIVE = 2**22  # entries of the expansion's matrix, which take some 100 bytes each
_LARGEST_CODE = 256  # code entries: products of d x d balls take seconds there, minutes at 1,000


def expanded(network: Network, code: Ball) -> Ball:
    """``E(c)`` in exact real arithmetic, with the derivative if the code carries one.

    Raises:
        NoRule: the matrix is too large for balls.
    """
    count = len(network.theta)
    if count * network.d > _LARGEST_DERIVATIVE or network.d > _LARGEST_CODE:
        raise NoRule(f"{count} weights of a code of {network.d} are too many for a proof without a grid")
    mean, gain, matrix = network.printer.parts()
    scaled = objects(matrix) * objects(gain)[:, None]
    return Ball(objects(mean) + scaled.dot(code.value), scaled if code.grad is not None else None)


def coded(network: Network, theta: Ball) -> Ball:
    """``N(R trunk(z; theta))``, anchored or not, before any quantization; theta ``(P,)``."""
    rounding = theta.rounding
    parameters = {k: Ball.exact(v, rounding) for k, v in network.buffers.items()}
    start = 0
    for name, shape, size in zip(network.names, network.shapes, network.sizes, strict=True):
        parameters[name] = theta[start : start + size].reshape(*shape)
        start += size
    return network.computed(parameters.get, lambda _, numbers: Ball.exact(numbers, rounding)).reshape(network.d)


def stored(network: Network, rounding: Rounding | None = None) -> Ball:
    """The stored weights, exactly.

    Raises:
        NoRule: they are too many for balls.
    """
    if isinstance(network.printer, StreamedSigns):
        raise NoRule(f"{len(network.theta)} weights of a code of {network.d} are too many for balls")
    return Ball.exact(network.theta, rounding)
