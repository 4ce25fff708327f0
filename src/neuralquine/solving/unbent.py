"""Starts for small ReLU networks: the quines of their linear twins, followed while the kink is bent into them.

    s_a(z) = (1 + a) / 2 z + (1 - a) / 2 sqrt(z^2 + (EPS a)^2)

is the identity at a = 1, where the quines of the linearized network are exact, and ReLU at a = 0. In between it is smooth,
so that the curve of quines ``(theta, a)`` can be followed around its folds by pseudo-arclength; most curves that do not
come back to a = 1 end at a quine of the ReLU network. The matrix is P x P, which is why this is for small networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..quines.stack import Stack
from .maps import OutOfTime

Array = NDArray[np.float64]

LARGEST = 200  # weights up to which curves are followed; of 17 curves of 441 weights none ended within 46 s
_EPS = 0.3  # width of the bend halfway
_FIRST, _LONGEST, _SHORTEST = 0.05, 0.2, 1e-5  # steps along the curve, in lengths of the start
_STEPS = 600  # most steps of a curve: most that end take 50 to 200
_CORRECTIONS = 6  # Newton steps back to the curve
_ON = 1e-6  # distance from the curve that is none, relative
_POLISHES = 8  # Newton steps that make a start exact
_EXACT, _NEAR = 1e-12, 1e-8  # relative residual of an exact start, and of one that can be followed
_SIZES = (0.1, 30.0)  # lengths, relative to the start, between which a curve is worth following
_BACK = 1.02  # a above which a curve has come back to the linear twin
_TURN = 0.7  # cosine of the angle between two tangents below which a step was too long
_DIFFERENCE = 1e-6  # step in a of the derivative by a


def bendable(stack: Stack) -> bool:
    """Whether a stack is a small ReLU network with biases. Without biases, regeneration with a normalization is surer."""
    kinds = {type(layer.activation) for layer in stack.layers[:-1]}
    return kinds == {nn.ReLU} and stack.affine and len(next(iter(stack.tables.values()))) <= LARGEST


def unbent_starts(
    stack: Stack, starts: Iterator[Tensor], count: Callable[[int, int], None], over: Callable[[], bool]
) -> Iterator[Tensor]:
    """Yield the ends at a = 0 of the curves from quines of the linear twin (gain 1).

    Args:
        stack: the network.
        starts: the quines.
        count: told every evaluation of the map and every column of its derivative.
        over: whether there is no time left; where ``count`` says so in the middle of a curve, that is the last one.
    """
    bend = _Bend(stack, count)
    for start in starts:
        try:
            end = _followed(bend, start.cpu().double().numpy(), over)
        except OutOfTime:
            return
        if end is not None:
            yield start.new_tensor(end)
        if over():
            return


class _Bend:
    """The answers of the bent network and their derivatives, written out, in NumPy."""

    def __init__(self, stack: Stack, count: Callable[[int, int], None]) -> None:
        self.stack, self._count = stack, count
        self.table: Array = stack.tables[stack.dtype].cpu().double().numpy()

    def answers(self, theta: Array, a: float) -> Array:
        return self._layers(theta, a)[0][-1][:, 0]

    def _layers(self, theta: Array, a: float) -> tuple[list[Array], list[Array]]:
        h, slopes = [self.table], []
        for layer in self.stack.layers:
            z = h[-1] @ theta[layer.weight].reshape(layer.shape).T
            z = z if layer.bias is None else z + theta[layer.bias]
            if layer.activation is None:
                h.append(z)
                continue
            root = np.sqrt(z * z + (_EPS * a) ** 2)
            slopes.append((1 + a) / 2 + (1 - a) / 2 * z / np.maximum(root, 1e-300))
            h.append((1 + a) / 2 * z + (1 - a) / 2 * root)
        return h, slopes

    def system(self, theta: Array, a: float) -> tuple[Array, Array]:
        """``F - theta`` and its derivative by theta and a: ``(P,)`` and ``(P, P + 1)``."""
        self._count(3, len(theta))
        h, slopes = self._layers(theta, a)
        matrix = np.empty((len(theta), len(theta) + 1))
        signal = np.ones((len(theta), 1))
        for i in range(len(self.stack.layers) - 1, -1, -1):
            layer = self.stack.layers[i]
            matrix[:, layer.weight] = (signal[:, :, None] * h[i][:, None, :]).reshape(len(theta), -1)
            if layer.bias is not None:
                matrix[:, layer.bias] = signal
            if i:
                signal = signal @ theta[layer.weight].reshape(layer.shape) * slopes[i - 1]
        matrix[:, :-1] -= np.eye(len(theta))
        up, down = self.answers(theta, a + _DIFFERENCE), self.answers(theta, a - _DIFFERENCE)
        matrix[:, -1] = (up - down) / (2 * _DIFFERENCE)
        return h[-1][:, 0] - theta, matrix


def _followed(bend: _Bend, theta: Array, over: Callable[[], bool]) -> Array | None:
    """The weights at a = 0 on the curve of an (inexact) quine at a = 1; None where the curve does not lead there."""
    try:
        start = _polished(bend, theta)
        return None if start is None else _walked(bend, start, over)
    except np.linalg.LinAlgError:
        return None


def _polished(bend: _Bend, theta: Array) -> Array | None:
    for _ in range(_POLISHES):
        r, matrix = bend.system(theta, 1.0)
        if np.linalg.norm(r) < _EXACT * np.linalg.norm(theta):
            break
        theta = theta - np.linalg.solve(matrix[:, :-1], r)
    r = bend.answers(theta, 1.0) - theta
    return theta if np.linalg.norm(r) < _NEAR * np.linalg.norm(theta) else None


def _walked(bend: _Bend, theta: Array, over: Callable[[], bool]) -> Array | None:
    size = float(np.linalg.norm(theta))
    scale = np.append(np.full(len(theta), size), 1.0)  # a point is (theta / size, a)
    point, down = np.append(theta / size, 1.0), np.append(np.zeros(len(theta)), -1.0)
    tangent = _tangent(bend.system(theta, 1.0)[1] * scale / size, down)
    length = _FIRST
    for _ in range(_STEPS):
        step = length
        if tangent[-1] < 0 and point[-1] + step * tangent[-1] < 0:
            step = -point[-1] / tangent[-1]
        there, turns = _corrected(bend, point + step * tangent, point, tangent, step, scale)
        if there is None:
            length /= 2
        else:
            after = _tangent(bend.system(scale[:-1] * there[:-1], there[-1])[1] * scale / size, tangent)
            if after @ tangent < _TURN and length > 1e3 * _SHORTEST:
                length *= 0.4
                continue
            point, tangent = there, after
            length = min(length * (1.4 if turns <= 2 else 0.9), _LONGEST)
            if point[-1] <= 1e-12:
                return scale[:-1] * point[:-1]
            if point[-1] > _BACK or not _SIZES[0] < np.linalg.norm(point[:-1]) < _SIZES[1]:
                return None
        if length < _SHORTEST or over():
            return None
    return None


def _tangent(matrix: Array, before: Array) -> Array:
    """The unit tangent of the curve that goes on in the direction of the last one."""
    bordered = np.vstack([matrix, before])
    tangent = np.linalg.solve(bordered, np.append(np.zeros(len(matrix)), 1.0))
    return tangent / np.linalg.norm(tangent)


def _corrected(
    bend: _Bend, point: Array, last: Array, tangent: Array, step: float, scale: Array
) -> tuple[Array | None, int]:
    """Newton steps back to the curve, in the plane that the step ended in; None where they lead nowhere."""
    size = scale[0]
    for turn in range(_CORRECTIONS):
        r, matrix = bend.system(scale[:-1] * point[:-1], point[-1])
        if np.linalg.norm(r) < _ON * size:
            return point, turn
        bordered = np.vstack([matrix * scale / size, tangent])
        right = np.append(-r / size, step - tangent @ (point - last))
        move = np.linalg.solve(bordered, right)
        point = point + move
        if not np.linalg.norm(move) < 3 * step + _FIRST:
            break
    return None, _CORRECTIONS
