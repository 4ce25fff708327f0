"""Does what a large network prints depend on its weights as its derivative claims? Asked in directions of its code, in few runs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import NoDerivative
from ..quines.derivatives import InPlace
from ..quines.gradients import each_gradient
from ..quines.in_place import direction, responses, sides, weights_kept
from ..quines.known import own_code, printed_code
from ..quines.measure import CONSTANT_SENSITIVITY, measured_once
from ..quines.quine import Quine
from .copies import copied
from .dependence import DROWNED, FINER, MEASURABLE, ROOM
from .finding import Finding

_STEP = 1e-3  # of the code, relative: a large network computes in float32
_BENT = 0.05  # relative, of a large network's answer in the middle between two steps
_PRINTED = 1e-4  # relative distance of a large network's weights to what it prints, up to which they are that
_FELT = 1e-2  # sensitivity of a large network above which its derivative is compared with it
_FACTOR = 30  # between claimed and measured sensitivity of a large network


def in_directions_of_the_code(quine: Quine) -> list[Finding | None]:
    """The checks of :func:`dependence` and :func:`copy` for a network that is printed in place, in directions of its code."""
    with torch.no_grad():
        own, center = own_code(quine), _center(quine)
        codes, answers, up, down = responses(quine, _STEP)
    slope = _slope(quine, up, down, _STEP)
    findings: list[Finding | None] = [copied(quine, codes, answers, own)]
    claim = _claimed(quine, up - down)
    closer = [_STEP * part for part in (*FINER[1:], 1 / 4096) if _STEP * part > _resolved(quine)]
    lies = _apart(claim, slope)
    if lies and closer:
        slope = _slope(quine, *sides(quine, closer[-1]), closer[-1])
        lies = _apart(claim, slope) and claim * closer[-1] < MEASURABLE
    if slope < CONSTANT_SENSITIVITY and (lies or not _felt(quine, claim)):
        findings.append(
            Finding("constant", f"what is printed does not depend on the weights (sensitivity {slope:.1e})")
        )
    elif lies:
        said = f"its derivative claims a self-sensitivity of {claim:.1e}, and it answers {slope:.1e}"
        findings.append(Finding("untruthful derivative", said))
    bend = _bend(center, up, down)
    if (
        bend > _BENT
        and bend > DROWNED * _noise(quine, up)
        and all(_stays(bend, center, *sides(quine, step)) for step in closer)
    ):
        seen = f"a change of one part in a thousand prints others, {bend:.1e} away, and a change of 1/256 of it too"
        findings.append(Finding("look-up", f"only these very weights are printed: {seen}"))
    return findings


def _felt(quine: Quine, claim: float) -> bool:
    """Whether the derivative claims in any direction that the weights matter; one that is unknown claims nothing."""
    return not math.isnan(claim) and InPlace(quine, quine.printer).norm_afresh()[0] >= CONSTANT_SENSITIVITY


def _apart(claim: float, slope: float) -> bool:
    """Whether a claimed and a measured sensitivity have little to do with each other; nothing that is unknown has."""
    low, high = sorted([claim, slope])
    return not math.isnan(claim) and high > _FELT and low * _FACTOR < high


@torch.no_grad()
def _noise(quine: Quine, up: Tensor) -> float:
    """What round-off in the code changes beside the stored weights, relative to the answer there."""
    code = printed_code(quine) + _STEP * direction(quine)
    draw = torch.randn(len(code), generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(code)
    with weights_kept(quine):
        quine.install(code * (1 + 4 * torch.finfo(quine.dtype).eps * draw))
        return float(torch.linalg.vector_norm(quine.real_code() - up) / torch.linalg.vector_norm(up))


def _resolved(quine: Quine) -> float:
    """The shortest step in the code that moves the printed weights by more than their rounding."""
    return ROOM * torch.finfo(quine.dtype).eps


def _slope(quine: Quine, up: Tensor, down: Tensor, step: float) -> float:
    return float(torch.linalg.vector_norm(up - down)) / (2 * step * quine.code_size**0.5)


def _bend(own: Tensor, up: Tensor, down: Tensor) -> float:
    return float(torch.linalg.vector_norm((up + down) / 2 - own) / torch.linalg.vector_norm(own))


def _stays(bend: float, own: Tensor, up: Tensor, down: Tensor) -> bool:
    """Whether a bend is still there closer by, with the network's own answer not between the two sides, as on a steep step."""
    half = float(torch.linalg.vector_norm(up - down) / torch.linalg.vector_norm(own)) / 2
    return _bend(own, up, down) > max(bend / 4, half)


@torch.no_grad()
def _center(quine: Quine) -> Tensor:
    """``g(c)`` between the two sides: what is answered at the stored weights where these are printed from c, as of a quine."""
    own = own_code(quine)
    if measured_once(quine).differing_weights == 0:
        return own
    with weights_kept(quine) as kept:
        quine.install(printed_code(quine))
        return own if kept.distance() < _PRINTED else quine.real_code()


def _claimed(quine: Quine, moved: Tensor) -> float:
    """What the derivative claims of the slope in that direction, seen from where the answer moved: one backward pass.

    NaN where the module raises when it is differentiated, which is no trick.
    """
    length = torch.linalg.vector_norm(moved)
    seen = moved / length if float(length) > 0 else direction(quine) / quine.code_size**0.5
    claimed, along, slots = [0.0], direction(quine), [slot for slot, _ in quine.stored_pieces()]

    def take(_: int, number: int, grad: Tensor) -> None:
        flat, mean = grad.reshape(-1), quine.means[number]
        for _, start, values in quine.printer.pieces(along, [slots[number]]):
            claimed[0] += float(flat[start : start + len(values)].to(values.dtype) @ (values - mean))

    try:
        each_gradient(quine, [lambda c: (c * seen.detach().to(c)).sum()], take)
    except NoDerivative:
        return math.nan
    return abs(claimed[0]) / quine.code_size**0.5
