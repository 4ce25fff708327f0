"""The backward pass: what all roundings together can do to a result, each entry of it by itself.

Take any matrices ``A_k``, one for every node, with the identity at the result. Then, exactly,

    e_result = sum_k A_k (second_k + local_k) + sum_k (A_k J_k - A_parent) e_parent,

because ``e_k = J_k e_parents + second_k + local_k``. With A from ordinary reverse differentiation in float64 the last sum is
its round-off. So the first order is bounded exactly, and the tubes count only to the second order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np

from .machine import GROWTH, UNIT, Machine, Unbounded
from .node import Array, Node

N = TypeVar("N", bound=Node)

_BATCH = 1 << 26  # numbers of all derivatives of one node that are held at once
_SMALL = 256  # entries of a node that is tightened on the way: each takes a backward pass of its own
_START, _FACTOR = 2.0**10, 100.0  # units of the first radius that is looked at, and the growth until the next


def error_of(result: Node, rows: slice | None = None) -> Array:
    """Bound of ``|w - v|`` of every entry of a node, from one backward pass for each of them.

    Args:
        result: the node.
        rows: bound only these of its flattened entries.

    Returns:
        ``(n,)`` radii of the flattened entries.

    Raises:
        Unbounded: a bound is not a finite number.
    """
    size = int(np.prod(result.shape))
    places = np.arange(size)[rows or slice(None)]
    widest = max((node.value.size for node in result.tape.nodes[: result.place + 1]), default=1)
    count = max(1, _BATCH // max(1, widest))
    found = [_backward(result, places[i : i + count]) for i in range(0, len(places), count)]
    return np.concatenate(found) if found else np.zeros(0)


def tightened(result: N) -> N:
    """The same node with its tube no wider than what the backward pass bounds."""
    result.tighten(error_of(result).reshape(result.shape))
    return result


class Steps:
    """Tightens tubes while a run is made, wherever they have grown by a factor since the last time.

    In a recurrent network an error of the first step goes through all of the others. Its tube must not be left to grow until
    the end, where its square would count.
    """

    def __init__(self, machine: Machine) -> None:
        self.level = _START * machine.both

    def __call__(self, node: Node) -> None:
        if node.value.size > _SMALL or not node.radius.max(initial=0.0) > _FACTOR * self.level:
            return
        tightened(node)
        self.level = max(self.level, float(node.radius.max()))


def steps_back(result: Node, places: Array) -> Iterator[tuple[Node, Array, bool]]:
    """The backward pass from some entries of a node.

    Yields:
        Each node that they depend on with their derivatives by it, ``(n, *shape)``, and whether these are what was just added up
        there from two steps, each of its entries by one rounding; the last time they are whole, and not such a sum.
    """
    start = np.zeros((len(places), *result.shape))
    start.reshape(len(places), -1)[np.arange(len(places)), places] = 1.0
    waiting: dict[int, Array] = {result.place: start}
    for node in reversed(result.tape.nodes[: result.place + 1]):
        a = waiting.pop(node.place, None)
        if a is None:
            continue
        yield node, a, False
        assert node.pull is not None
        for parent, part in zip(node.parents, node.pull(a), strict=True):
            if part is None or parent.fixed:
                continue
            if parent.place not in waiting:
                waiting[parent.place] = part
                continue
            total = waiting[parent.place] + part
            yield parent, total, True
            waiting[parent.place] = total


def _backward(result: Node, places: Array) -> Array:
    bound = np.zeros(len(places))
    for node, a, joined in steps_back(result, places):
        if joined:  # one addition in each entry, whose rounding is at most a unit of its result
            bound = bound + UNIT * (np.abs(a).reshape(len(a), -1) @ node.radius.reshape(-1)) * GROWTH
            continue
        assert node.charge is not None
        bound = (bound + node.charge.of(a)) * GROWTH
    if not (np.isfinite(bound).all() and (bound >= 0).all()):
        raise Unbounded("the backward pass gives no finite bound")
    return bound * GROWTH
