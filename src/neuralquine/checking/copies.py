"""Does a network print whatever it is given, or the same whatever it holds? Then every point is a fixed point, or none was found."""

from __future__ import annotations

import torch
from torch import Tensor

from ..quines.quine import Quine
from .finding import Finding
from .second_look import installed_answers

_COPIED = 1e-4  # relative distance of what is printed to random codes that were handed in, if all of it is a copy
_UNMOVED = 1e-6  # relative change of what is printed under quite other weights, if it is a constant


@torch.no_grad()
def copy(quine: Quine) -> Finding | None:
    """Does the network print whatever weights it is given? Then every point is a fixed point, and none was found."""
    generator = torch.Generator().manual_seed(1)
    codes = quine.random_codes(3, generator)
    return copied(quine, codes, torch.stack([quine.real_code(quine.printer(c)) for c in codes]), quine.real_code())


@torch.no_grad()
def copied(quine: Quine, codes: Tensor, answers: Tensor, own: Tensor) -> Finding | None:
    """Find a copy or a constant from what a network answers to three random codes, a large one to one, and to its own.

    What is found is looked at again with other codes, smaller and larger, whose weights are installed for real.
    """
    gap, spread = _gap(codes, answers), _moved(answers, own)
    if gap >= _COPIED and spread >= _UNMOVED:
        return None
    others, again = installed_answers(quine)
    if gap < _COPIED and _gap(others, again) < _COPIED:
        asked = "three random codes" if len(codes) == 3 else "a random code"
        seen = f"{asked} came back up to {gap:.0e}, two of other sizes, installed, up to {_gap(others, again):.0e}"
        return Finding("copy", f"it prints whatever weights it is given, every point is a fixed point: {seen}")
    if spread < _UNMOVED and _moved(again, own) < _UNMOVED:
        asked = "three random codes" if len(codes) == 3 else "a random code"
        seen = f"{spread:.0e} away for {asked}, {_moved(again, own):.0e} for two of other sizes, installed"
        return Finding("constant", f"networks that hold other weights print the same ones: {seen}")
    return None


def _gap(codes: Tensor, answers: Tensor) -> float:
    return float(torch.linalg.vector_norm(answers - codes) / torch.linalg.vector_norm(codes))


def _moved(answers: Tensor, own: Tensor) -> float:
    """How far answers are from the network's own, relative, root mean square."""
    return float(torch.linalg.vector_norm(answers - own) / (len(answers) ** 0.5 * torch.linalg.vector_norm(own)))
