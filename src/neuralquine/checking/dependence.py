"""Does what is printed depend on the weights, smoothly and as its derivative claims? Or is it a constant or a copy?"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from ..quines.derivatives import Directional, InPlace, continuum
from ..quines.gradients import each_gradient
from ..quines.in_place import direction, responses, sides, weights_kept
from ..quines.known import own_code, printed_code
from ..quines.measure import CONSTANT_SENSITIVITY, measured_once
from ..quines.quine import Quine
from .finding import Finding
from .second_look import installed_answers, line_found, line_goes_on, multiples_printed

_STEP = 1e-6  # relative size of the finite differences: most of float64's digits are left on both sides of it
_STEP_IN_PLACE = 1e-3  # the same in the code of a large network, which computes in float32
_FINER = (1.0, 1 / 16, 1 / 256)  # a bend is gone at the second or third of these steps, a jump at none
_ROOM = 8  # units of round-off that a step must be long
_NEVER = float("inf")  # in narrow types the steps are long and the derivatives rough
_JUMP = {
    torch.float64: 1e-6,
    torch.float32: 2e-3,
    torch.bfloat16: 0.5,
    torch.float16: 0.5,
}  # relative, to be looked into
_TRUTHFUL = {torch.float64: 10, torch.float32: 100, torch.bfloat16: _NEVER, torch.float16: _NEVER}  # claimed / measured
_DROWNED = 20  # times what round-off in the weights does, below which a difference says nothing
_MEASURABLE = 0.1  # of the size of the answer: a claim that it moves farther in the shortest step cannot be measured
_ALONG = 1e-5  # relative distance of J theta to theta below which any multiple of the weights is printed again
_COPIED = 1e-4  # relative distance of what is printed to random codes that were handed in, if all of it is a copy
_UNMOVED = 1e-6  # relative change of what is printed under quite other weights, if it is a constant
_BENT = 0.05  # relative, of a large network's answer in the middle between two steps
_PRINTED = 1e-4  # relative distance of a large network's weights to what it prints, up to which they are that
_FELT = 1e-2  # sensitivity of a large network above which its derivative is compared with it
_FACTOR = 30  # between claimed and measured sensitivity of a large network


def dependence(quine: Quine, theta: Tensor, derivative: Directional) -> list[Finding]:
    """Constant, discontinuous or untruthful: compare the claimed derivative with finite differences.

    What the first difference shows is an accusation only if shorter steps and another direction show it too, and if it
    stands out of what round-off in the weights does: an honest network may bend within a part in a million.
    A derivative that is not finite, as behind some masks, is no lie; then the differences alone are looked at. Every
    accusation is looked at once more with steps that are measured by each tensor's own size (:attr:`_Ray.even`).
    """
    steepest = derivative.steepest() if derivative.finite else None
    known = steepest is not None and derivative.finite
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randn(theta.numel(), generator=generator, dtype=torch.float64).to(theta.device) for _ in range(3)]
    directions = [steepest.double()] if steepest is not None and known else draws[1:2]
    directions.append(draws[0])
    size = float(torch.linalg.vector_norm(theta.double()))
    # Half of the step must survive in every type: the cube root of round-off, relative to the weights.
    h = max(_STEP, torch.finfo(theta.dtype).eps ** (1 / 3)) * size or _STEP
    rays = [_Ray(quine, theta, v / torch.linalg.vector_norm(v), h) for v in directions]
    slopes = [ray.slope(0) for ray in rays]
    if not all(ray.slope(0) < _NEVER or ray.even.slope(0) < _NEVER for ray in rays):
        return [Finding("singular", "what is printed beside the stored weights is not finite")]
    claims = [ray.claim(derivative) for ray in rays] if known else []
    third = _Ray(quine, theta, draws[2] / torch.linalg.vector_norm(draws[2]), h)
    if max(slopes) < CONSTANT_SENSITIVITY and third.still():
        return [_constant(max(slopes), claims)]
    return _torn_or_denied(rays, third, claims, derivative)


def _torn_or_denied(rays: list[_Ray], third: _Ray, claims: list[float], derivative: Directional) -> list[Finding]:
    """What differences say against the stored weights or against the derivative, if even steps say so too."""
    torn = [ray for ray in rays if ray.torn()] if third.torn() else []
    denied = [(ray, claim) for ray, claim in zip(rays, claims, strict=False) if ray.denies(claim)]
    if (torn or denied) and max(claims, default=0.0) < CONSTANT_SENSITIVITY:
        even = [ray.even for ray in [*rays, third]]
        if all(ray.still() for ray in even):  # as of an answer that is right in a box around the stored weights
            return [_constant(max(ray.slope(0) for ray in even), claims)]
    for ray in torn:
        if ray.even.torn() and third.even.torn():
            seen = f"a change of one part in a million prints others, {ray.jump(-1):.1e} away, and a change of 1/256 of it too"
            return [Finding("look-up", f"only these very weights are printed: {seen}")]
    for ray, claim in denied:
        if ray.even.denies(ray.even.claim(derivative)):
            said = (
                f"it claims {claim:.2g} where finite differences give {ray.slope(0):.2g}, {ray.slope(-1):.2g} closer by"
            )
            return [Finding("untruthful derivative", said)]
    return []


def _constant(slope: float, claims: list[float]) -> Finding:
    lie = max(claims, default=0.0) >= CONSTANT_SENSITIVITY
    said = f", although its derivative claims {max(claims):.2g}" if lie else ""
    return Finding("constant", f"what is printed does not depend on the weights (sensitivity {slope:.1e}){said}")


class _Ray:
    """Finite differences on a line through the stored weights, at steps that become shorter."""

    def __init__(self, quine: Quine, theta: Tensor, direction: Tensor, h: float) -> None:
        self._quine, self._theta, self.direction = quine, theta, direction
        shortest = _ROOM * torch.finfo(theta.dtype).eps * float(torch.linalg.vector_norm(theta.double()))
        self._steps = [h * part for part in _FINER if part == 1 or h * part > shortest]
        self._seen: dict[int, tuple[float, float, float]] = {}

    def _map(self, step: Tensor) -> Tensor:
        return self._quine.real_map((self._theta.double() + step).to(self._theta.dtype)).double()

    @torch.no_grad()
    def _look(self, number: int) -> tuple[float, float, float]:
        """Half the distance of what is printed on both sides; the relative distance of their middle from the center, and of half of it."""
        number %= len(self._steps)
        if number not in self._seen:
            step = self._steps[number] * self.direction
            here, up, down = self._map(0 * step), self._map(step), self._map(-step)
            size = float(torch.linalg.vector_norm(here).clamp_min(torch.finfo(here.dtype).tiny))
            middle = float(torch.linalg.vector_norm((up + down) / 2 - here)) / size
            half = float(torch.linalg.vector_norm(up - down)) / 2
            self._seen[number] = half, middle, half / size
        return self._seen[number]

    @cached_property
    def even(self) -> _Ray:
        """The same direction with every tensor's part in it measured by that tensor's size, or where it is 0 by its spread.

        Where tensors differ by millions, a step that is short beside all weights is none beside those of the small ones.
        """
        quine, own = self._quine, self._quine.tensors(self._theta)
        spread = quine.tensors(quine.printer.gain.double() * quine.code_size**0.5)
        parts = quine.tensors(self.direction).items()
        sizes = {name: _root_mean_square(own[name]) or _root_mean_square(spread[name]) for name, _ in parts}
        direction = torch.cat([(part * sizes[name]).reshape(-1) for name, part in parts])
        length = float(torch.linalg.vector_norm(direction))
        if not length > 0:
            return self
        ray = _Ray(quine, self._theta, direction / length, self._steps[0])
        ray._steps = [step * length / _root_mean_square(self._theta) for step in self._steps]
        return ray

    def claim(self, derivative: Directional) -> float:
        """The slope that a derivative claims."""
        return float(torch.linalg.vector_norm(derivative.jvp(self.direction.to(self._quine.code_dtype))))

    def still(self) -> bool:
        """Whether nothing is printed otherwise along the line."""
        return self.slope(0) < CONSTANT_SENSITIVITY

    def slope(self, number: int) -> float:
        """Of what is printed along the line, by central differences."""
        return self._look(number)[0] / self._steps[number]

    def jump(self, number: int) -> float:
        """How far what is printed at the center is from the middle of what is printed on both sides, relative."""
        return self._look(number)[1]

    @torch.no_grad()
    def noise(self) -> tuple[float, float]:
        """What round-off in the weights changes beside the stored ones: absolute, and relative to what is printed."""
        generator = torch.Generator().manual_seed(7)
        draw = torch.randn(self._theta.numel(), generator=generator, dtype=torch.float64).to(self._theta.device)
        step = self._steps[0] * self.direction
        there = self._map(step)
        round_off = torch.finfo(self._theta.dtype).eps * draw * (self._theta.double() + step)
        moved = float(torch.linalg.vector_norm(self._map(step + round_off) - there))
        return moved, moved / float(torch.linalg.vector_norm(there).clamp_min(torch.finfo(there.dtype).tiny))

    def torn(self) -> bool:
        """Whether there is a jump at the center: a kink shrinks with the step and a bend faster, a jump stays."""
        first = self.jump(0)
        if not first > _JUMP[self._theta.dtype]:
            return False
        stays = all(self.jump(i) > first / 4 for i in range(1, len(self._steps)))
        between = self.jump(-1) < self._look(-1)[2]  # as on a steep step, which a search may end on
        return stays and not between and first > 4 * _DROWNED * self.noise()[1]

    def denies(self, claim: float) -> bool:
        """Whether a claimed derivative is far from the measured ones, at every step and in the same sense."""
        factor = _TRUTHFUL[self._theta.dtype]
        if claim > factor * self.slope(0) and claim > CONSTANT_SENSITIVITY:
            bounded = claim * self._steps[-1] < _MEASURABLE * float(torch.linalg.vector_norm(self._theta.double()))
            return bounded and all(claim > factor * self.slope(i) for i in range(len(self._steps)))
        if self.slope(0) > max(factor * claim, CONSTANT_SENSITIVITY):
            clear = self._look(-1)[0] > _DROWNED * self.noise()[0]
            return clear and all(self.slope(i) > factor * claim for i in range(len(self._steps)))
        return False


def _root_mean_square(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor.double())) / max(1, tensor.numel()) ** 0.5


def line_of_fixed_points(quine: Quine, theta: Tensor, derivative: Directional) -> Finding | None:
    """Find an eigenvalue of 1: on such a line of fixed points a search finds any weights, not these."""
    if not derivative.finite:
        return None
    if derivative.written_out:
        eigenvalues, _ = derivative.eigenvalues()
        if quine.code_dtype == quine.dtype and continuum(eigenvalues, quine.dtype) is not None:
            seen = line_goes_on(quine, derivative)
            said = f"it prints whatever it is given along a line: the derivative has an eigenvalue of 1, and {seen}"
            return Finding("copy", said) if seen is not None else None
        return None
    along = theta / torch.linalg.vector_norm(theta)
    if float(torch.linalg.vector_norm(derivative.jvp(along) - along)) < _ALONG:
        seen = multiples_printed(quine, theta)
        said = f"any multiple of these weights is printed again, a line of fixed points: {seen}"
        return Finding("copy", said) if seen is not None else None
    seen = line_found(quine, derivative)
    said = f"it prints whatever it is given along a line: its derivative takes a direction to itself, and {seen}"
    return Finding("copy", said) if seen is not None else None


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


def in_directions_of_the_code(quine: Quine) -> list[Finding | None]:
    """The checks of :func:`dependence` and :func:`copy` for a network that is printed in place, in directions of its code."""
    with torch.no_grad():
        own, center = own_code(quine), _center(quine)
        codes, answers, up, down = responses(quine, _STEP_IN_PLACE)
    slope = _slope(quine, up, down, _STEP_IN_PLACE)
    findings: list[Finding | None] = [copied(quine, codes, answers, own)]
    claim = _claimed(quine, up - down)
    closer = [_STEP_IN_PLACE * part for part in (*_FINER[1:], 1 / 4096) if _STEP_IN_PLACE * part > _resolved(quine)]
    lies = _apart(claim, slope)
    if lies and closer:
        slope = _slope(quine, *sides(quine, closer[-1]), closer[-1])
        lies = _apart(claim, slope) and claim * closer[-1] < _MEASURABLE
    if slope < CONSTANT_SENSITIVITY and (lies or InPlace(quine, quine.printer).norm_afresh()[0] < CONSTANT_SENSITIVITY):
        findings.append(
            Finding("constant", f"what is printed does not depend on the weights (sensitivity {slope:.1e})")
        )
    elif lies:
        said = f"its derivative claims a self-sensitivity of {claim:.1e}, and it answers {slope:.1e}"
        findings.append(Finding("untruthful derivative", said))
    bend = _bend(center, up, down)
    if (
        bend > _BENT
        and bend > _DROWNED * _noise(quine, up)
        and all(_stays(bend, center, *sides(quine, step)) for step in closer)
    ):
        seen = f"a change of one part in a thousand prints others, {bend:.1e} away, and a change of 1/256 of it too"
        findings.append(Finding("look-up", f"only these very weights are printed: {seen}"))
    return findings


def _apart(claim: float, slope: float) -> bool:
    """Whether a claimed and a measured sensitivity have little to do with each other."""
    low, high = sorted([claim, slope])
    return high > _FELT and low * _FACTOR < high


@torch.no_grad()
def _noise(quine: Quine, up: Tensor) -> float:
    """What round-off in the code changes beside the stored weights, relative to the answer there."""
    code = printed_code(quine) + _STEP_IN_PLACE * direction(quine)
    draw = torch.randn(len(code), generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(code)
    with weights_kept(quine):
        quine.install(code * (1 + 4 * torch.finfo(quine.dtype).eps * draw))
        return float(torch.linalg.vector_norm(quine.real_code() - up) / torch.linalg.vector_norm(up))


def _resolved(quine: Quine) -> float:
    """The shortest step in the code that moves the printed weights by more than their rounding."""
    return _ROOM * torch.finfo(quine.dtype).eps


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
    """What the derivative claims of the slope in that direction, seen from where the answer moved: one backward pass."""
    length = torch.linalg.vector_norm(moved)
    seen = moved / length if float(length) > 0 else direction(quine) / quine.code_size**0.5
    claimed, along, slots = [0.0], direction(quine), [slot for slot, _ in quine.stored_pieces()]

    def take(_: int, number: int, grad: Tensor) -> None:
        flat, mean = grad.reshape(-1), quine.means[number]
        for _, start, values in quine.printer.pieces(along, [slots[number]]):
            claimed[0] += float(flat[start : start + len(values)].to(values.dtype) @ (values - mean))

    each_gradient(quine, [lambda c: (c * seen.detach().to(c)).sum()], take)
    return abs(claimed[0]) / quine.code_size**0.5
