"""Does what is printed depend on the weights, smoothly and as its derivative claims? Or is it a constant or a copy?"""

from __future__ import annotations

import torch
from torch import Tensor

from ..quines.derivatives import Directional, continuum
from ..quines.in_place import responses
from ..quines.measure import CONSTANT_SENSITIVITY
from ..quines.quine import Quine
from .finding import Finding

_STEP = 1e-6  # relative size of the finite differences: most of float64's digits are left on both sides of it
_STEP_IN_PLACE = 1e-3  # the same in the code of a large network, which computes in float32
_NEVER = float("inf")  # the same in narrow types, where the steps are long and the derivatives rough
_NARROW = {torch.bfloat16: _NEVER, torch.float16: _NEVER}
_JUMP = {torch.float64: 1e-6, torch.float32: 2e-3} | _NARROW  # relative size of a jump: above round-off
_TRUTHFUL = {torch.float64: 10, torch.float32: 100} | _NARROW  # factor between a claimed derivative and a measured one
_ALONG = 1e-5  # relative distance of J theta to theta below which any multiple of the weights is printed again
_COPIED = 1e-4  # relative distance of the printed codes to the random ones handed in, below which it copies
_UNMOVED = 1e-6  # relative change of what is printed under quite other weights, below which it is a constant
_BENT = 0.05  # the same as a jump, for a large network's answer in the middle between two steps


def dependence(quine: Quine, theta: Tensor, derivative: Directional) -> list[Finding]:
    """Find a constant, a jump or an untruthful derivative: compare the claimed derivative with finite differences."""
    if not derivative.finite:
        return [Finding("singular", "the derivative is not finite at the stored weights")]
    direction = derivative.steepest()
    if not derivative.finite:  # known only now where it is asked product by product
        return [Finding("singular", "the derivative is not finite at the stored weights")]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(theta.numel(), generator=generator, dtype=torch.float64).to(direction)
    # Half of the step must survive in every type: the cube root of round-off, relative to the weights.
    h = max(_STEP, torch.finfo(theta.dtype).eps ** (1 / 3)) * float(torch.linalg.vector_norm(theta)) or _STEP
    slopes, claims, jumps, torn = [], [], [], False
    for v in (direction, noise / torch.linalg.vector_norm(noise)):
        slope, jump = _difference(quine, theta, h * v)
        claims.append(float(torch.linalg.vector_norm(derivative.jvp(v))))
        slopes.append(slope / h)
        jumps.append(jump)
        # A kink shrinks with the step and a bend faster: what stays is a jump, however small.
        torn |= jump > _JUMP[theta.dtype] and _difference(quine, theta, h / 16 * v)[1] > jump / 4
    if max(slopes) < CONSTANT_SENSITIVITY:
        lie = max(claims) >= CONSTANT_SENSITIVITY
        said = f", although its derivative claims {max(claims):.2g}" if lie else ""
        seen = f"what is printed does not depend on the weights (sensitivity {max(slopes):.1e}){said}"
        return [Finding("constant", seen)]
    if torn or min(jumps) > 0.5:
        seen = "only these very weights are printed: a change of one part in a million prints others"
        return [Finding("look-up", seen)]
    for slope, claim in zip(slopes, claims, strict=True):
        low, high = sorted([slope, claim])
        if high >= CONSTANT_SENSITIVITY and low < high / _TRUTHFUL[theta.dtype]:
            said = f"it claims {claim:.2g} where finite differences give {slope:.2g}"
            return [Finding("untruthful derivative", said)]
    return []


@torch.no_grad()
def _difference(quine: Quine, theta: Tensor, step: Tensor) -> tuple[float, float]:
    """Half the distance of what is printed on both sides, and the relative distance of their middle from the center."""
    here, up, down = (quine.real_map((theta + s * step).to(theta.dtype)).to(step) for s in (0, 1, -1))
    size = float(torch.linalg.vector_norm(here).clamp_min(torch.finfo(step.dtype).tiny))
    middle = float(torch.linalg.vector_norm((up + down) / 2 - here)) / size
    return float(torch.linalg.vector_norm(up - down)) / 2, middle


def line_of_fixed_points(quine: Quine, theta: Tensor, derivative: Directional) -> Finding | None:
    """Find an eigenvalue of 1: on such a line of fixed points a search finds any weights, not these."""
    if not derivative.finite:
        return None
    eigenvalues, complete = _all_eigenvalues(derivative)
    if complete:
        if quine.code_dtype == quine.dtype and continuum(eigenvalues, quine.dtype) is not None:
            seen = "it prints whatever it is given along a line: the derivative has an eigenvalue of 1"
            return Finding("copy", seen)
        return None
    along = theta / torch.linalg.vector_norm(theta)
    if float(torch.linalg.vector_norm(derivative.jvp(along) - along)) < _ALONG:
        return Finding("copy", "any multiple of these weights is printed again: a line of fixed points")
    return None


def _all_eigenvalues(derivative: Directional) -> tuple[Tensor, bool]:
    """All eigenvalues of a derivative that is written out; None for others, of which only some can be computed."""
    return derivative.eigenvalues() if derivative.written_out else (torch.zeros(0), False)


@torch.no_grad()
def copy(quine: Quine) -> Finding | None:
    """Does the network print whatever weights it is given? Then every point is a fixed point, and none was found."""
    generator = torch.Generator().manual_seed(1)
    codes = quine.random_codes(3, generator)
    return copied(codes, torch.stack([quine.real_code(quine.printer(c)) for c in codes]), quine.real_code())


def copied(codes: Tensor, answers: Tensor, own: Tensor) -> Finding | None:
    """Find a copy or a constant from what a network answers to three random codes, and to its own."""
    gap = torch.linalg.vector_norm(answers - codes) / torch.linalg.vector_norm(codes)
    if float(gap) < _COPIED:
        return Finding("copy", "it prints whatever weights it is given: every point is a fixed point")
    spread = torch.linalg.vector_norm(answers - own) / (3**0.5 * torch.linalg.vector_norm(own))
    if float(spread) < _UNMOVED:
        return Finding("constant", "networks that hold other weights print the same ones")
    return None


@torch.no_grad()
def in_directions_of_the_code(quine: Quine) -> list[Finding | None]:
    """Check as :func:`dependence` and :func:`copy` do, in directions of the code: for networks printed in place."""
    step = _STEP_IN_PLACE
    own = quine.real_code()
    codes, answers, up, down = responses(quine, step)
    slope = float(torch.linalg.vector_norm(up - down)) / (2 * step * quine.code_size**0.5)
    findings: list[Finding | None] = [copied(codes, answers, own)]
    bound, _ = quine.derivative().norm()
    if bound < CONSTANT_SENSITIVITY:
        lie = slope > 1e-2
        kind = "untruthful derivative" if lie else "constant"
        findings.append(
            Finding(kind, f"its derivative claims a self-sensitivity of {bound:.1e}, and it answers {slope:.1e}")
        )
    if float(torch.linalg.vector_norm((up + down) / 2 - own) / torch.linalg.vector_norm(own)) > _BENT:
        findings.append(
            Finding("look-up", "only these very weights are printed: a change of one part in a thousand prints others")
        )
    return findings
