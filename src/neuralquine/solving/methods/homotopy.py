"""Continuation: follow the curve of fixed points from a map that is known to have one to the map in question."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..maps import SelfMap
from .base import State
from .registry import method

Array = NDArray[np.float64]
Walk = Generator[Array, Array, Array]  # yields the points to evaluate, is sent the map there, returns where it ended
_FIRST = 0.3  # the first step along a curve, in units of the code
_BACK = 0.15  # the way back to the curve that a step may need at least, however short it was
_CORRECTIONS = 6  # evaluations for one step: where Broyden's update needs more, the step was too long
_WILD = 1.5  # distance from the curve, in units of the code, from which no way back is tried
_SHORTEST = 1e-3  # a step so short that the learned derivative must be wrong
_BEHIND = -0.02  # t below which the curve has been lost for another branch: only c = a solves it at t = 0
_NEAR = 0.03  # relative residual at which the exact Jacobian replaces the learned one, as in Broyden's method
_FINISH = 40  # evaluations from t = 1 to round-off: five where all goes well


@method({"homotopy": {}})
@dataclass(frozen=True, kw_only=True, slots=True)
class Homotopy:
    """Follow ``(1 - t) a + t f(c) = c`` from ``c = a`` at t = 0 to a fixed point of f at t = 1, around every fold.

    Where f maps a ball into itself, the curve from almost every a in the ball ends at t = 1. A start does not fail by
    where it lies, as with Newton, but only where the curve is too long. Steps go along the tangent in the ``n + 1``
    unknowns ``(c, t)`` and back to the curve; the derivative is learned on the way (Broyden's update), so that a step
    costs two or three evaluations. A curve that is too long or lost is left for another one, from the image of the
    last point.

    Attributes:
        step_limit: longest step along the curve, in units of the code, whose own length is sqrt(d).
        tolerance: distance from the curve, in the same units, that a step may leave.
        budget: evaluations after which a curve is left: most that end take 100 to 250.

    Fails when: f does not map a ball into itself, or changes so quickly that the curves are long.

    Source: Chow, Mallet-Paret and Yorke (1978), "Finding zeroes of maps"; Allgower and Georg, "Numerical continuation
        methods" (1990), chapter 7.
    """

    step_limit: float = 0.5
    tolerance: float = 0.05
    budget: int = 300
    space: str = "reduced"
    starts: ClassVar[int] = 16

    def limits(self, n: int) -> tuple[int, int]:
        return 10 * self.budget, 10 * self.budget  # ten curves for each start; the residual falls at their ends only

    def init(self, f: SelfMap, x: Tensor) -> State:
        walks = [self._walks(_array(row), _jacobian_of(f)) for row in x]
        for walk in walks:
            next(walk)
        return State(x, f(x), walks)

    def step(self, f: SelfMap, state: State, active: Tensor) -> State:
        for row in active.tolist():
            point = state.memory[row].send(_array(state.fx[row]))
            state.x[row] = torch.from_numpy(point).to(state.x)
        state.fx[active] = f(state.x[active])
        return state

    def _walks(self, a: Array, jacobian: Callable[[Array], Array]) -> Walk:
        """One curve after the other, the first from a."""
        while True:
            a = yield from self._walk(a, jacobian)

    def _walk(self, a: Array, jacobian: Callable[[Array], Array]) -> Walk:
        """Follow the curve from a until it meets t = 1 or is left."""
        learned = _Learned(a, (yield a))
        at, image, size = np.append(a, 0.0), learned.image, _FIRST
        before = np.append(np.zeros(len(a)), 1.0)
        while learned.seen < self.budget and at[-1] > _BEHIND and size > _SHORTEST and learned.usable:
            tangent = np.linalg.svd(learned.slopes(a, at[-1], image))[2][-1]
            tangent = tangent if tangent @ before >= 0 else -tangent
            if at[-1] + size * tangent[-1] >= 1:
                return (yield from self._finish(at + (1 - at[-1]) / tangent[-1] * tangent, learned, jacobian))
            point, turns = yield from self._back(a, at + size * tangent, max(size, _BACK), learned)
            if point is None:
                size /= 2
                continue
            at, image, before = point, learned.image, tangent
            size = min(1.5 * size, self.step_limit) if turns <= 1 else 0.6 * size if turns >= 4 else size
        return learned.image

    def _back(
        self, a: Array, point: Array, most: float, learned: _Learned
    ) -> Generator[Array, Array, tuple[Array | None, int]]:
        """Go back to the curve by shortest steps of at most some length; None where that leads nowhere."""
        first = 0.0
        for turn in range(_CORRECTIONS):
            learned.see(point[:-1], (yield point[:-1]))
            if not learned.usable:
                break
            gap = (1 - point[-1]) * a + point[-1] * learned.image - point[:-1]
            far = float(np.linalg.norm(gap))
            if far < self.tolerance:
                return point, turn
            first = first or far
            step = -np.linalg.lstsq(learned.slopes(a, point[-1], learned.image), gap, rcond=1e-10)[0]
            if first > _WILD or (turn > 2 and far > first) or np.linalg.norm(step) > most:
                break
            point = point + step
        return None, _CORRECTIONS

    def _finish(self, at: Array, learned: _Learned, jacobian: Callable[[Array], Array]) -> Walk:
        """Broyden's method from where the curve meets t = 1, with one exact Jacobian as soon as it is near."""
        c, exact = at[:-1], False
        for _ in range(_FINISH):
            learned.see(c, (yield c))
            gap = learned.image - c
            if not exact and np.linalg.norm(gap) < _NEAR * np.linalg.norm(c):
                learned.matrix, exact = jacobian(c), True
            if not learned.usable:
                break
            step = np.linalg.lstsq(np.eye(len(c)) - learned.matrix, gap, rcond=None)[0]
            c = c + step * min(1.0, self.step_limit / (float(np.linalg.norm(step)) or 1.0))
        return learned.image


class _Learned:
    """The derivative of the map, as it is learned from the points that were seen.

    Attributes:
        point, image: the last of them, and the map there.
        matrix: the derivative.
        seen: how many they are.
    """

    def __init__(self, point: Array, image: Array) -> None:
        self.point, self.image, self.seen = point, image, 1
        self.matrix: Array = np.zeros((len(point), len(point)))

    @property
    def usable(self) -> bool:
        """Whether all numbers are finite: LAPACK raises on others."""
        return bool(np.isfinite(self.matrix).all())

    def see(self, point: Array, image: Array) -> None:
        """Broyden's "good" update with one more point."""
        s, y = point - self.point, image - self.image
        if (square := float(s @ s)) > np.finfo(float).tiny:
            self.matrix = self.matrix + np.outer(y - self.matrix @ s, s) / square
        self.point, self.image, self.seen = point, image, self.seen + 1

    def slopes(self, a: Array, t: float, image: Array) -> Array:
        """The derivative of ``(1 - t) a + t f(c) - c`` by c and t: ``(n, n + 1)``."""
        return np.column_stack([t * self.matrix - np.eye(len(a)), image - a])


def _jacobian_of(f: SelfMap) -> Callable[[Array], Array]:
    return lambda c: _array(f.jacobian(torch.from_numpy(c).to(f.known)[None])[0])


def _array(row: Tensor) -> Array:
    """A copy of its own: the rows of a state are written again and again."""
    return row.detach().cpu().double().numpy().copy()
