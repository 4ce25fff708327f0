"""Levenberg-Marquardt inside a Krylov subspace: damped Newton for P unknowns without a P x P matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from ...quines.arnoldi import arnoldi
from ..maps import Product, SelfMap, unpreconditioned
from .base import State, check_counts
from .registry import method

_FINE = 1e-3  # relative residual below which every trial is evaluated in full precision

# The numbers below were set on the SELU network of Chang and Lipson with 2 x 50 neurons, seed 0. Of its 12 starts,
# Levenberg-Marquardt inside the Krylov subspace solved 2, with the whole search for mu 4, with bold steps 5.
_CLOSE = 1e-5  # relative residual below which a start is never left: Newton ends there in a step or two
_WINDOW = 100  # products over which a start is judged
_PACE_GAIN = 0.4  # factor of ``pace`` in each such window
_PACED_FROM = 48  # products after which a start has to keep up with it
_PLAIN_STEPS, _PLAIN_GAIN = 10, 0.75  # where nothing preconditions the products, a step takes as many as a window holds
_PLAIN_PRODUCTS = (200, 16.0)  # there most products of a start, a + b sqrt(P): twice what a success needs

# The inner tolerance falls with the residual, so that convergence is quadratic, as far as float32 can follow.
_FAR = 3e-2  # relative residual above which the inner tolerance is ``eta``
_ETA_MOST, _ETA_SHARE, _ETA_LEAST = 1e-2, 0.3, 3e-6

_MU_FIRST = 0.1  # damping of the first step
_MU_AFTER_NEWTON = 1e-4  # damping that is remembered after an undamped step
_MU_FACTOR = 4.0  # between two trials: the residual is flat in mu, so that smaller factors only cost evaluations
_MU_START = (1e-3, 1e4)  # range in which a search for mu begins
_MU_RANGE = (1e-6, 1e6)  # range that mu never leaves
_NEWTON_BELOW = 1e-2  # damping of the last step, below which the undamped step is tried first
_NEWTON_NEAR = 3e-3  # relative residual below which it is tried in any case
_NEWTON_GOOD = 0.5  # factor by which the undamped step has to lower the residual, to be taken without a search

# Where float32 resolves no further, one step is computed in the map's own type: of a ReLU network's quine with a singular value
# of 5e-5 it left 7e-16 of a relative residual at which the other steps had ended at 8e-12.
_SHARP_ETA, _SHARP_DIM = 1e-6, 300
_SHARP_FROM = 0.5  # share of the residual that the step in float32 leaves, above which it is not seen to resolve it

# A bold step is tried where the plain one falls short in a narrow, curved valley.
_BOLD_ABOVE = 0.75  # share of the residual that the plain step leaves, above which a bold one is tried
_BOLD_BELOW = 0.05  # relative residual: farther away there is no valley yet
_BOLD_FACTOR = 3.0  # factor by which mu falls until the step is long enough
_BOLD_TRIALS = 12  # most such trials
_BOLD_WORSE = 8.0  # times the residual that the far point may have, or its correction is hopeless
_BOLD_CORRECTIONS = 2  # steps back into the valley
_BOLD_ETA, _BOLD_MU = 0.03, 0.1  # their inner tolerance, at least, and the damping where their search begins
_BOLD_GAIN = 0.995  # of the plain step's residual: a bold step that ends no lower is not worth its price
_REACH_FIRST = 4.0  # lengths of the plain step that the first bold one goes
_REACH_GROWS, _REACH_MOST = 1.5, 30.0  # factor of that length after a success
_REACH_FALLS, _REACH_LEAST = 2.0, 2.0  # factor of that length after a failure


@method({"krylov-lm": {}})
@dataclass(frozen=True, kw_only=True, slots=True)
class KrylovLM:
    """Minimise ``||(I - J) s - r||^2 + mu ||s||^2`` over a Krylov subspace of ``I - J``, with ``mu`` found by trying.

    Arnoldi on ``(I - J) M``, with the map's own preconditioner ``M``, gives ``(I - J) Z = V H``. For any ``mu`` the
    damped step is then a small dense problem, so that a trial costs one evaluation and no derivative; mu is moved
    by factors of 4 as long as the residual falls. Where a valley is narrow and curved, such steps are short: a
    *bold* one goes several times farther and is kept only if correcting it once or twice ends below the plain one.
    Near the solution mu is 0 and the convergence quadratic. The subspace is computed in float32, the rest in float64, and the
    last step, where float32 cannot resolve it, in float64, too.

    Attributes:
        krylov_dim: most Krylov vectors of a step.
        eta: the inner tolerance far from a solution.
        forcing: where it is not 0, the inner tolerance is this share of the square of the factor by which the last step
            lowered the residual, at most ``eta``: far from Newton's quadratic convergence nothing is solved exactly.
        window, gain: a start is left when over its last ``window`` derivative products the residual fell by less than
            this factor; by default over 100. Most starts end at local minima, and what a search costs is how soon it
            leaves them. Where the map has no preconditioner, it is by default when in 10 steps it fell by less than 3/4.
        products: most derivative products that one start may cost; by default no limit but ``window``, or without a
            preconditioner ``200 + 16 sqrt(P)``.
        pace: where it is not 0, a start is also left when after n products, 48 or more, its relative residual is above
            ``pace 0.4^(n / 100 - 1)``.

    Fails when: it meets a local minimum of the residual, where ``I - J`` is singular; try other starts.

    Source: Levenberg (1944), Marquardt (1963); in Krylov subspaces: Wright and Holt (1985), Bellavia and Morini (2001);
    ``forcing``: Eisenstat and Walker (1996).
    """

    krylov_dim: int = 90
    eta: float = 0.05
    forcing: float = 0.0
    window: int = 0
    gain: float = 0.6
    products: int = 0
    pace: float = 0.0
    space: str = "full"
    starts: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_counts(krylov_dim=self.krylov_dim)

    def limits(self, n: int) -> tuple[int, int]:
        return 200, 4

    def init(self, f: SelfMap, x: Tensor) -> State:
        return State(x, f(x), [Memory() for _ in x])

    def step(self, f: SelfMap, state: State, active: Tensor) -> State:
        for row in active.tolist():
            state.x[row], state.fx[row] = self.advance(f, state.x[row], state.fx[row], state.memory[row])
        return state

    def advance(self, f: SelfMap, x: Tensor, fx: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """One step of one start; where there is none that lowers the residual, ``memory.stuck`` is set."""
        here = _Trial(x, fx, 0.0, 0.0, relative(x, fx))
        memory.course.append((memory.products, here.residual))
        if memory.stuck or self._hopeless(memory, len(x)):
            memory.stuck = True
            return x, fx
        eta = self._tolerance(memory.course)
        best = self._search(_Family(f, here, eta, self.krylov_dim, memory), memory.mu)
        if best.residual > _SHARP_FROM * here.residual and here.residual < _CLOSE:
            sharp = self._sharp(f, here, memory)
            best = sharp if sharp is not None and sharp.residual < best.residual else best
        if best.residual >= here.residual:
            memory.stuck = True
            return x, fx
        if best.mu > 0 and _BOLD_ABOVE * here.residual < best.residual < _BOLD_BELOW:
            best = self._bold(f, here, best, eta, memory)
        memory.mu = best.mu or _MU_AFTER_NEWTON
        assert best.fx is not None
        return best.x, best.fx

    def _tolerance(self, course: list[tuple[int, float]]) -> float:
        """The inner tolerance of the next step."""
        residual = course[-1][1]
        if self.forcing:
            gained = residual / course[-2][1] if len(course) > 1 else 1.0
            return min(self.eta, max(self.forcing * gained**2, _ETA_LEAST))
        return self.eta if residual > _FAR else max(min(_ETA_MOST, _ETA_SHARE * residual), _ETA_LEAST)

    def _hopeless(self, memory: Memory, weights: int) -> bool:
        """Whether a start has gained too little of late, or cost too much, to be followed any further."""
        (spent, residual), past, most = memory.course[-1], memory.course, self.products
        if residual < _CLOSE:
            return False
        if memory.preconditioned or self.window:
            since, gain = spent - (self.window or _WINDOW), self.gain
            before = next((earlier for products, earlier in reversed(past) if products <= since), math.inf)
        else:
            base, share = _PLAIN_PRODUCTS
            gain, most = _PLAIN_GAIN, most or base + share * weights**0.5
            before = past[-1 - _PLAIN_STEPS][1] if len(past) > _PLAIN_STEPS else math.inf
        paced = self.pace > 0 and spent >= _PACED_FROM
        behind = paced and residual > self.pace * _PACE_GAIN ** (spent / _WINDOW - 1)
        return residual > gain * before or behind or 0 < most < spent

    def _search(self, family: _Family, mu: float) -> _Trial:
        """The best damping, from the last one on: down or up by factors of 4 while the residual falls."""
        here = family.here.residual
        trials: list[_Trial] = []
        if mu < _NEWTON_BELOW or here < _NEWTON_NEAR:
            trials.append(family(0.0))
            if trials[0].residual < _NEWTON_GOOD * here:
                return trials[0].full(family.f)
        mu = min(max(mu, _MU_START[0]), _MU_START[1])
        trials += [family(mu), family(mu / _MU_FACTOR)]
        down = trials[-1].residual < trials[-2].residual
        before = trials[-1] if down else trials[-2]
        mu = mu / _MU_FACTOR**2 if down else mu * _MU_FACTOR
        while _MU_RANGE[0] < mu < _MU_RANGE[1]:
            trials.append(family(mu))
            if trials[-1].residual > before.residual and (down or before.residual < here):
                break
            before, mu = trials[-1], mu / _MU_FACTOR if down else mu * _MU_FACTOR
        best = min(trials, key=lambda trial: trial.residual)
        return best.full(family.f)

    def _sharp(self, f: SelfMap, here: _Trial, memory: Memory) -> _Trial | None:
        """The undamped step in the map's own type; None where no products are computed in that."""
        products = f.sharply(here.x)
        return None if products is None else _Family(f, here, _SHARP_ETA, _SHARP_DIM, memory, products)(0.0)

    def _bold(self, f: SelfMap, here: _Trial, plain: _Trial, eta: float, memory: Memory) -> _Trial:
        """Go several times farther than the plain step and correct; the plain one where that ends no lower."""
        family = plain.family
        assert family is not None
        far, mu = plain, plain.mu
        for _ in range(_BOLD_TRIALS):
            mu /= _BOLD_FACTOR
            far = family(mu)
            if far.length >= memory.reach * plain.length or far.residual > _BOLD_WORSE * here.residual:
                break
        far = far.full(f)
        for _ in range(_BOLD_CORRECTIONS):
            far = self._search(_Family(f, far, max(_BOLD_ETA, eta), self.krylov_dim, memory), _BOLD_MU)
            if far.residual < _BOLD_GAIN * plain.residual:
                memory.reach = min(_REACH_GROWS * memory.reach, _REACH_MOST)
                return _Trial(far.x, far.fx, plain.mu, far.length, far.residual)
        memory.reach = max(memory.reach / _REACH_FALLS, _REACH_LEAST)
        return plain


@dataclass
class Memory:
    """The memory of one start from step to step."""

    mu: float = _MU_FIRST
    reach: float = _REACH_FIRST
    stuck: bool = False
    products: int = 0
    preconditioned: bool = True
    course: list[tuple[int, float]] = field(default_factory=list)  # products spent and relative residual, step by step


@dataclass
class _Trial:
    """A point with its image; ``fx`` is None where it was evaluated in float32 only."""

    x: Tensor
    fx: Tensor | None
    mu: float
    length: float
    residual: float
    family: _Family | None = None

    def full(self, f: SelfMap) -> _Trial:
        if self.fx is None:
            self.fx = f(self.x[None])[0]
            self.residual = relative(self.x, self.fx)
        return self


class _Family:
    """The damped steps of one Krylov subspace: ``mu`` to a trial."""

    def __init__(
        self,
        f: SelfMap,
        here: _Trial,
        eta: float,
        most: int,
        memory: Memory,
        sharp: tuple[Product, Product] | None = None,
    ) -> None:
        self.f, self.here = f, here
        assert here.fx is not None
        r = here.fx - here.x
        product, precondition = sharp or f.linearize(here.x)
        memory.preconditioned = precondition is not unpreconditioned
        self.z, self.h, self.beta = arnoldi(product, precondition, r if sharp else r.float(), eta, most)
        memory.products += len(self.z)
        self.gram = (self.z @ self.z.mT).double().cpu()
        self.normal = self.h.mT @ self.h
        self.size = float(torch.linalg.vector_norm(here.x))

    def __call__(self, mu: float) -> _Trial:
        right = self.h[0] * self.beta
        if mu > 0:
            y, _ = torch.linalg.solve_ex(self.normal + mu * self.gram, right)  # where it is singular, no residual falls
        else:
            first = torch.zeros(len(self.h), dtype=self.h.dtype)
            first[0] = self.beta
            y = torch.linalg.lstsq(self.h, first[:, None], driver="gelsd").solution[:, 0]
        s = (y.to(self.z) @ self.z).to(self.here.x)
        x = self.here.x + s
        rough = self.here.residual > _FINE
        fx = self.f.rough(x) if rough else self.f(x[None])[0]
        length = float(torch.linalg.vector_norm(s)) / self.size
        return _Trial(x, None if rough else fx, mu, length, relative(x, fx), self)


def relative(x: Tensor, fx: Tensor) -> float:
    """Relative residual; infinity where there is none."""
    value = float(torch.linalg.vector_norm(fx.double() - x) / torch.linalg.vector_norm(x))
    return value if value == value else float("inf")
