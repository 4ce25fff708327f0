"""Printing again: a line of generations, each installing what its parent printed, and how such a line ends.

A line is over when a generation prints its own bits, for then all that follow are the same. It ends in one of three ways:

    healed   a generation equals the original, bit for bit
    mutant   a generation prints its own bits, and they are not the original's
    lost     NaN or infinity is printed without end, or the line has not settled after the generations it was given
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from .bits import differing
from .quine import Quine


def line(quine: Quine, theta: Tensor, *, installed: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
    """Print generation after generation, without end.

    Args:
        quine: the self-map ``F``.
        theta: weights ``(P,)`` that print the first generation, or ``(n, P)`` for lines side by side.
        installed: store each parent in the network before it prints; the sums that print a large network piece by piece
            then round as they do in ``quine.printed()``. By default the network keeps its stored weights.

    Yields:
        Each child ``F(theta)``, and whether it has its parent's bits: a bool tensor ``()`` or ``(n,)``.
    """
    while True:
        if installed:
            quine.theta = theta
            child = quine.printed()
        elif theta.dim() == 1:
            child = quine.self_map(theta)
        else:
            child = quine.expand(quine.quantize(quine.real_codes(theta)))
        yield child, ~differing(child, theta).any(-1)
        theta = child


@dataclass(frozen=True)
class End:
    """The end of a line of generations.

    Attributes:
        outcome: ``healed``, ``mutant`` or ``lost``.
        generations: the number printed until the last weights appeared for the first time.
        theta: the last weights ``(P,)``.
    """

    outcome: str
    generations: int
    theta: Tensor


def followed(quine: Quine, theta: Tensor, is_original: Callable[[Tensor], bool], generations: int) -> End:
    """Follow a line to its end.

    Args:
        quine: the self-map.
        theta: weights ``(P,)`` that the line begins with, such as damaged ones.
        is_original: tells whether weights are the original's, bit for bit.
        generations: after so many an unsettled line counts as lost.
    """
    if is_original(theta):
        return End("healed", 0, theta)
    for count, (child, same) in enumerate(islice(line(quine, theta), generations), 1):
        theta = child
        if is_original(theta):
            return End("healed", count, theta)
        if bool(same):
            return End("mutant" if bool(torch.isfinite(theta).all()) else "lost", count - 1, theta)
    return End("lost", generations, theta)
