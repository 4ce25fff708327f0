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
Walk = Generator[Array, Array, None]  # yields the points to evaluate, and is sent the map there


@method({"homotopy": {}})
@dataclass(frozen=True, kw_only=True, slots=True)
class Homotopy:
    """Follow ``(1 - t) a + t f(c) = c`` from ``c = a`` at t = 0 to a fixed point of f at t = 1, around every fold.

    Where f maps a ball into itself, the curve from almost every a in the ball ends at t = 1: a start does not fail by
    where it lies, as with Newton, but only where the curve is too long. Steps go along the tangent in the ``n + 1``
    unknowns ``(c, t)`` and back to the curve; the derivative is learned on the way (Broyden's update), one evaluation
    a step. A curve that is lost, or turns back to t = 0, is left for another one, from the image of the last point.

    Attributes:
        step_limit: longest step along the curve, in units of the code.
        tolerance: distance from the curve, in units of the code, at which a step is taken to be on it.
        budget: evaluations after which a curve is left; most that end take fewer.
        refreshes: exact Jacobians for each curve, where the learned one no longer leads back to it.

    Fails when: f is no map of a ball into itself, or its derivative is so large that curves are long.

    Source: Chow, Mallet-Paret and Yorke (1978); Allgower and Georg, "Numerical continuation methods" (1990), chapter 7.
    """

    step_limit: float = 0.5
    tolerance: float = 0.05
    budget: int = 300
    refreshes: int = 1
    space: str = "reduced"
    starts: ClassVar[int] = 8

    def limits(self, n: int) -> tuple[int, int]:
        return 10 * self.budget, 10 * self.budget

    def init(self, f: SelfMap, x: Tensor) -> State:
        walks = [self._walks(_array(row), _jacobian_of(f)) for row in x]
        return State(x, f(x), [(walk, next(walk)) for walk in walks])

    def step(self, f: SelfMap, state: State, active: Tensor) -> State:
        for row in active.tolist():
            walk, _ = state.memory[row]
            state.x[row] = torch.from_numpy(walk.send(_array(state.fx[row]))).to(state.x)
        state.fx[active] = f(state.x[active])
        return state

    def _walks(self, a: Array, jacobian: Callable[[Array], Array]) -> Walk:
        """One curve after the other; the first starts at a."""
        while True:
            a = yield from self._walk(a, jacobian)

    def _walk(self, a: Array, jacobian: Callable[[Array], Array]) -> Generator[Array, Array, Array]:
        """Follow the curve from a, to the fixed point or to where it is left; returns where the next one starts."""
        learned = _Learned(a, (yield a))
        c, t, image, size = a, 0.0, learned.image, 0.3
        before = np.append(np.zeros(len(a)), 1.0)
        count, exact, failures = 1, 0, 0
        while count < self.budget and t > -0.02:
            tangent = _kernel(learned.slopes(a, t, image))
            tangent = tangent if tangent @ before >= 0 else -tangent
            if t + size * tangent[-1] >= 1:
                return (yield from self._finish(c + (1 - t) / tangent[-1] * tangent[:-1], learned, jacobian))
            point, first, done = np.append(c, t) + size * tangent, 0.0, False
            for turn in range(6):
                learned.see(point[:-1], (yield point[:-1]))
                count += 1
                gap = (1 - point[-1]) * a + point[-1] * learned.image - point[:-1]
                far = float(np.linalg.norm(gap))
                if done := far < self.tolerance:
                    break
                first = far if turn == 0 else first
                if first > 1.5 or (turn > 2 and far > first):
                    break
                back = -np.linalg.lstsq(learned.slopes(a, point[-1], learned.image), gap, rcond=1e-10)[0]
                if np.linalg.norm(back) > max(size, 0.15):
                    break
                point = point + back
            if done:
                c, t, image, before, failures = point[:-1], float(point[-1]), learned.image, tangent, 0
                size = min(1.5 * size, self.step_limit) if turn <= 1 else 0.6 * size if turn >= 4 else size
            else:
                size, failures = size / 2, failures + 1
                if failures > 2:
                    if exact == self.refreshes:
                        break
                    learned.matrix, exact, failures = jacobian(c), exact + 1, 0
        return learned.image

    def _finish(
        self, c: Array, learned: _Learned, jacobian: Callable[[Array], Array]
    ) -> Generator[Array, Array, Array]:
        """Broyden's method from where the curve meets t = 1, with one exact Jacobian once it is near."""
        best, exact = np.inf, False
        for turn in range(40):
            learned.see(c, (yield c))
            gap = learned.image - c
            far = float(np.linalg.norm(gap)) / (float(np.linalg.norm(c)) or 1.0)
            if turn > 8 and far > 0.5 and far > best:
                break
            best = min(best, far)
            if far < 0.03 and not exact:
                learned.matrix, exact = jacobian(c), True
            step = np.linalg.lstsq(np.eye(len(c)) - learned.matrix, gap, rcond=None)[0]
            c = c + step * min(1.0, self.step_limit / (float(np.linalg.norm(step)) or 1.0))
        return learned.image


class _Learned:
    """The derivative of the map as it is learned from the points that are seen, and the last of them."""

    def __init__(self, point: Array, image: Array) -> None:
        self.point, self.image = point, image
        self.matrix: Array = np.zeros((len(point), len(point)))

    def see(self, point: Array, image: Array) -> None:
        """Broyden's "good" update with one more point."""
        s, y = point - self.point, image - self.image
        if (square := float(s @ s)) > 1e-24:
            self.matrix = self.matrix + np.outer(y - self.matrix @ s, s) / square
        self.point, self.image = point, image

    def slopes(self, a: Array, t: float, image: Array) -> Array:
        """The derivative of ``(1 - t) a + t f(c) - c`` by c and t: ``(n, n + 1)``."""
        return np.column_stack([t * self.matrix - np.eye(len(a)), image - a])


def _kernel(matrix: Array) -> Array:
    """The unit vector that a matrix ``(n, n + 1)`` maps to zero."""
    return np.linalg.svd(matrix)[2][-1]


def _jacobian_of(f: SelfMap) -> Callable[[Array], Array]:
    like = f.known

    def jacobian(c: Array) -> Array:
        found = f.jacobian(torch.from_numpy(c).to(like)[None])[0].double().cpu().numpy()
        return np.nan_to_num(found)

    return jacobian


def _array(row: Tensor) -> Array:
    """A copy of its own: the rows of a state are written again and again."""
    return row.double().cpu().numpy().copy()
