"""Checks for networks that are printed in place; they keep at most one copy of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .quine import Quine


class Kept:
    """A copy of the stored weights beside a network that is about to change them."""

    def __init__(self, quine: Quine) -> None:
        self._quine = quine
        self._copies = [stored.clone() for _, stored in quine.stored_pieces()]

    def restore(self) -> None:
        for (_, stored), kept in zip(self._quine.stored_pieces(), self._copies, strict=True):
            stored.copy_(kept)

    def distance(self) -> float:
        """Relative distance of the present weights to the kept ones."""
        gap = size = 0.0
        for (_, stored), kept in zip(self._quine.stored_pieces(), self._copies, strict=True):
            if kept.numel():
                gap = math.hypot(gap, float(torch.linalg.vector_norm((stored - kept).float())))
                size = math.hypot(size, float(torch.linalg.vector_norm(kept.float())))
        return gap / size if size else float("inf")


@contextmanager
def weights_kept(quine: Quine) -> Iterator[Kept]:
    """Put the weights back afterwards, bit for bit."""
    with quine.turn:
        kept = Kept(quine)
        try:
            yield kept
        finally:
            with torch.no_grad():
                kept.restore()


@torch.no_grad()
def mean_square_spread(quine: Quine) -> float:
    """The mean square of ``(theta - mean) / (gain sqrt(d))``: 0 with every weight at its mean, about 1 at a quine."""
    total = 0.0
    for (slot, stored), mean, gain in zip(quine.stored_pieces(), quine.means, quine.gains, strict=True):
        if slot.count and gain:
            spread = float(torch.linalg.vector_norm(stored.to(quine.code_dtype) - mean).double())
            total += (spread / gain) * (spread / gain)  # the square of a gain may be none, and of a float is an error
    return total / (quine.parameter_count * quine.code_size)


@torch.no_grad()
def responses(quine: Quine, step: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Evaluate a large network at other weights, which are printed in place and taken back.

    Returns:
        ``(codes, answers, up, down)``: three random codes ``(3, d)`` and ``g`` of them, and ``g(c + h u)``, ``g(c - h u)`` for
        the network's own code c and a random direction u of length ``sqrt(d)``.
    """
    generator = torch.Generator().manual_seed(1)
    codes = quine.random_codes(4, generator)
    own = quine.code()

    def g(c: Tensor) -> Tensor:
        quine.install(c)
        return quine.real_code()

    with weights_kept(quine):
        answers = torch.stack([g(c) for c in codes[:3]])
        up, down = g(own + step * codes[3]), g(own - step * codes[3])
    return codes[:3], answers, up, down


@torch.no_grad()
def sides(quine: Quine, step: float) -> tuple[Tensor, Tensor]:
    """``g(c + h u)`` and ``g(c - h u)`` in the direction u of :func:`responses`."""
    own, along = quine.code(), direction(quine)
    answers = []
    with weights_kept(quine):
        for sign in (1, -1):
            quine.install(own + sign * step * along)
            answers.append(quine.real_code())
    return answers[0], answers[1]


def direction(quine: Quine) -> Tensor:
    """The random direction u ``(d,)`` of :func:`responses`."""
    return quine.random_codes(4, torch.Generator().manual_seed(1))[3]
