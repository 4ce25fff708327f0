"""The question of a grid, answered by tubes: how far from a rounding boundary does every evaluation stay?

The effort grows only as far as it must: first the plain tube; then the backward pass from the numbers that the code is made of;
then backward passes from wherever the tube has grown on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..rules import NoRule
from .adjoint import Steps, tightened
from .blocks import Blocks
from .machine import GROWTH, Unbounded
from .tube import Tube, held, tape_of

if TYPE_CHECKING:
    from ..network import Network

Say = Callable[[str], None]
PLAIN, ADJOINT, STEPS, BLOCKS = "tube", "adjoint", "adjoints at every step", "norms of blocks and an adjoint"
EFFORTS = PLAIN, ADJOINT, STEPS, BLOCKS
FOR_LARGE = (
    BLOCKS,
    STEPS,
)  # the first is never wider than a tube and its adjoint, and these take some seconds of their own
_LARGE = 1 << 24  # weights
WORDS = {PLAIN: "a tube", ADJOINT: "an adjoint", STEPS: "adjoints at every step", BLOCKS: BLOCKS}


@dataclass(frozen=True)
class Margin:
    """How far every evaluation stays from a rounding boundary, in grid steps.

    Attributes:
        margin: a lower bound of ``1/2 - max |2^k (c - x / 2^m)|``; positive: every evaluation rounds to x.
        error: what part of it is the bound of the evaluations' error.
        by: what bounded it: ``"tube"``, ``"adjoint"`` or ``"adjoints at every step"``.
    """

    margin: float
    error: float
    by: str

    @property
    def proved(self) -> bool:
        return self.margin > 0

    @property
    def room(self) -> float:
        """What there would be without the error."""
        return self.margin + self.error


def rounding_margin(
    network: Network, x: list[int], dtype: str | None, *, norms: dict[Any, Any] | None = None, say: Say | None = None
) -> Margin:
    """Bound the code of every evaluation of a type at the stored weights; with no type, that of exact real arithmetic.

    Args:
        network: the network.
        x: the code on the grid in units of ``2^-m``.
        dtype: ``"float64"``, ``"float32"`` or None.
        norms: of the weights, shared by the questions about one network.
        say: is told what is done next.

    Returns:
        The margin of the least effort that proves it; of all of it where none does, and minus infinity where nothing is bounded.
    """
    found, h = Margin(float("-inf"), float("inf"), PLAIN), None
    for effort in EFFORTS if len(network.theta) < _LARGE else FOR_LARGE:
        if say is not None:
            say(f"{effort}, {'exact arithmetic' if dtype is None else dtype}")
        try:
            with np.errstate(all="ignore"):  # what is not a number is found at every node
                if effort != ADJOINT:
                    h = None
                    h = features(network, dtype, norms, effort, say)
                if h is None:
                    continue
                h = h if effort == PLAIN else tightened(h)
                code = network.coded(h, lambda _, numbers, tape=h.tape: held(tape, numbers))
                found = max(found, _margin(network, x, code, h.tape.machine.unit, effort), key=lambda m: m.margin)
        except Unbounded:
            continue
        if found.proved:
            break
    return found


def features(
    network: Network,
    dtype: str | None,
    norms: dict[Any, Any] | None = None,
    effort: str = PLAIN,
    say: Say | None = None,
) -> Tube:
    """The tube of the d numbers that the code is made of; tightened on the way, where the effort is that of steps or blocks."""
    tape = tape_of(dtype, norms)
    if effort == STEPS:
        tape.watch = Steps(tape.machine)
    elif effort == BLOCKS:
        tape.watch = Blocks(say, network.spec.get("arguments", {}).get("layers", 0))
    parameters = {name: held(tape, numbers) for name, numbers in network.tensors().items()}
    h = network.features(parameters.get, lambda _, numbers: held(tape, numbers))
    if not isinstance(h, Tube) or h.fixed:
        raise NoRule("no proof rule for a network that computes nothing from its input")
    return h


def _margin(network: Network, x: list[int], code: Tube, unit: float, effort: str) -> Margin:
    assert network.code_bits is not None
    scale, steps = 2.0**network.code_bits, 2 ** (network.printer.unit - network.code_bits)
    if max(map(abs, x), default=0) >= 2**53:
        return Margin(float("-inf"), float("inf"), effort)
    whole = np.array(x, dtype=np.float64) / steps
    # The difference of two floats is rounded once, and so are the few operations that follow it.
    gap = np.abs(code.value.reshape(-1) * scale - whole) * GROWTH
    # A moved grid: the machine subtracts the offset before it rounds, once, from a number of about this size.
    shift = 0.0 if unit == 0 or steps == 1 else 2 * unit * (np.abs(whole) + 2)
    error = (code.radius.reshape(-1) * scale + shift) * GROWTH
    worst = float((gap + error).max()) * GROWTH
    return Margin(float(np.nextafter(0.5 - worst, -np.inf)), float(error.max()), effort)
