"""Checks for networks that are printed in place; they keep at most one copy of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .bits import same
from .known import printed_code
from .quine import Quine

_ROOM = 1 << 30  # bytes of weights above which a copy of them is dear
_FEW = 4096  # weights of each tensor that say of an ordinary network that it is not collapsed


class Kept:
    """The stored weights of a network that is about to change them: a copy, or the code that prints them.

    Of weights above 1 GiB that are printed bit for bit the code is enough.
    """

    def __init__(self, quine: Quine) -> None:
        self._quine, self._code = quine, None
        held = [stored for _, stored in quine.stored_pieces()]
        if sum(stored.nbytes for stored in held) > _ROOM:
            self._code = _printing(quine)
        self._copies = [stored.clone() for stored in held] if self._code is None else []

    def restore(self) -> None:
        if self._code is not None:
            self._quine.install(self._code)
        for (_, stored), kept in zip(self._quine.stored_pieces(), self._copies, strict=False):
            stored.copy_(kept)

    def distance(self) -> float:
        """Relative distance of the present weights to the kept ones."""
        gap = size = 0.0
        for stored, kept in self._pairs():
            if kept.numel():
                gap = math.hypot(gap, float(torch.linalg.vector_norm((stored - kept).float())))
                size = math.hypot(size, float(torch.linalg.vector_norm(kept.float())))
        return gap / size if size else float("inf")

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._code is not None:
            return self._quine.printed_pieces(self._code)
        held = (stored for _, stored in self._quine.stored_pieces())
        return zip(held, self._copies, strict=True)


@torch.no_grad()
def _printing(quine: Quine) -> Tensor | None:
    """The code that prints the stored weights to the last bit; None where that of the network does not."""
    if not quine.printer.chunked:
        return None
    code = quine.code()
    return code if all(same(stored, printed) for stored, printed in quine.printed_pieces(code)) else None


@contextmanager
def weights_kept(quine: Quine) -> Iterator[Kept]:
    """Put the weights back afterwards, bit for bit."""
    with quine.turn:
        kept = Kept(quine)
        try:
            yield kept
            with torch.no_grad():
                kept.restore()
        except BaseException:  # an interrupt of the line above, too
            with torch.no_grad():
                kept.restore()
            raise


@torch.no_grad()
def mean_square_spread(quine: Quine, enough: float = math.inf) -> float:
    """The mean square of ``(theta - mean) / (gain sqrt(d))``: 0 with every weight at its mean, about 1 at a quine.

    Args:
        quine: holds the weights.
        enough: from here on a lower bound will do: then the first weights of each tensor may be all that is read.
    """
    few = _spread(quine, _FEW)
    return few if few >= enough else _spread(quine, None)


def _spread(quine: Quine, count: int | None) -> float:
    total = 0.0
    for (slot, stored), mean, gain in zip(quine.stored_pieces(), quine.means, quine.gains, strict=True):
        if slot.count and gain:
            spread = float(torch.linalg.vector_norm(stored[:count].to(quine.code_dtype) - mean).double())
            total += (spread / gain) * (spread / gain)  # the square of a gain may be none, and of a float is an error
    return total / (quine.parameter_count * quine.code_size)


@torch.no_grad()
def responses(quine: Quine, step: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Evaluate a large network at other weights, which are printed in place and taken back.

    Returns:
        ``(codes, answers, up, down)``: a random code ``(1, d)`` and ``g`` of it, and ``g(c + h u)``, ``g(c - h u)`` for
        the network's own code c and a random direction u of length ``sqrt(d)``.
    """
    codes, along, own = quine.random_codes(1, torch.Generator().manual_seed(1)), direction(quine), printed_code(quine)

    def g(c: Tensor) -> Tensor:
        quine.install(c)
        return quine.real_code()

    with weights_kept(quine):
        answers = torch.stack([g(c) for c in codes])
        up, down = g(own + step * along), g(own - step * along)
    return codes, answers, up, down


@torch.no_grad()
def sides(quine: Quine, step: float) -> tuple[Tensor, Tensor]:
    """``g(c + h u)`` and ``g(c - h u)`` in the direction u of :func:`responses`."""
    own, along = printed_code(quine), direction(quine)
    answers = []
    with weights_kept(quine):
        for sign in (1, -1):
            quine.install(own + sign * step * along)
            answers.append(quine.real_code())
    return answers[0], answers[1]


def direction(quine: Quine) -> Tensor:
    """The random direction u ``(d,)`` of :func:`responses`."""
    return quine.random_codes(4, torch.Generator().manual_seed(1))[3]  # after three codes, as it has always been
