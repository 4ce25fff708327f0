"""Does what is printed depend on the weights, smoothly and as its derivative claims? Or do fixed points fill a line?"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from ..errors import NoDerivative
from ..quines.derivatives import Directional, Unknown, continuum
from ..quines.measure import CONSTANT_SENSITIVITY
from ..quines.quine import Quine
from .finding import Finding
from .second_look import line_found, line_goes_on, multiples_printed

_STEP = 1e-6  # relative size of the finite differences: most of float64's digits are left on both sides of it
FINER = (1.0, 1 / 16, 1 / 256)  # a bend is gone at the second or third of these steps, a jump at none
ROOM = 8  # units of round-off that a step must be long
_NEVER = float("inf")  # in narrow types the steps are long and the derivatives rough
_JUMP = {
    torch.float64: 1e-6,
    torch.float32: 2e-3,
    torch.bfloat16: 0.5,
    torch.float16: 0.5,
}  # relative, to be looked into
_TRUTHFUL = {torch.float64: 10, torch.float32: 100, torch.bfloat16: _NEVER, torch.float16: _NEVER}  # claimed / measured
DROWNED = 20  # times what round-off in the weights does, below which a difference says nothing
MEASURABLE = 0.1  # of the size of the answer: a claim that it moves farther in the shortest step cannot be measured
_ALONG = 1e-5  # relative distance of J theta to theta below which any multiple of the weights is printed again


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


def directional_if_any(quine: Quine, theta: Tensor) -> Directional:
    """The derivative, unknown where the module raises when it is differentiated, which is no trick."""
    try:
        return quine.directional(theta)
    except NoDerivative:
        return Unknown(theta)


class _Ray:
    """Finite differences on a line through the stored weights, at steps that become shorter."""

    def __init__(self, quine: Quine, theta: Tensor, direction: Tensor, h: float) -> None:
        self._quine, self._theta, self.direction = quine, theta, direction
        shortest = ROOM * torch.finfo(theta.dtype).eps * float(torch.linalg.vector_norm(theta.double()))
        self._steps = [h * part for part in FINER if part == 1 or h * part > shortest]
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
        return stays and not between and first > 4 * DROWNED * self.noise()[1]

    def denies(self, claim: float) -> bool:
        """Whether a claimed derivative is far from the measured ones, at every step and in the same sense."""
        factor = _TRUTHFUL[self._theta.dtype]
        if claim > factor * self.slope(0) and claim > CONSTANT_SENSITIVITY:
            bounded = claim * self._steps[-1] < MEASURABLE * float(torch.linalg.vector_norm(self._theta.double()))
            return bounded and all(claim > factor * self.slope(i) for i in range(len(self._steps)))
        if self.slope(0) > max(factor * claim, CONSTANT_SENSITIVITY):
            clear = self._look(-1)[0] > DROWNED * self.noise()[0]
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
