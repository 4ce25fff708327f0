"""A place of the network: its float64 number, the tube around it, and what the backward pass has to know.

For every place k let ``e_k = w_k - v_k``, the difference of an admissible evaluation and the float64 run. Then

    e_k = J_k e_parents + second_k + local_k

with the derivative ``J_k`` at v, what the derivative leaves out, and what both evaluations round there. A node holds bounds of
all of these: of ``e_k`` by components and by the 2-norm of each row (the last axis), of ``second_k`` likewise, of ``local_k`` by
components. Each of the two bounds of ``e_k`` caps the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .machine import GROWTH, UNIT, Machine, Unbounded, gamma

Array = NDArray[Any]
Pull = Callable[[Array], tuple[Array | None, ...]]


@dataclass(eq=False)
class Tape:
    """The nodes of one run in the order in which they were made, and the evaluation that they bound.

    Attributes:
        machine: the evaluation.
        norms: of the fixed weights; runs of the same network share them.
        nodes: of the run.
        watch: is shown every new node, and may tighten its tube.
    """

    machine: Machine
    norms: dict[tuple[Any, ...], tuple[Array, float]] = field(
        default_factory=dict
    )  # of weights, by their place in memory
    nodes: list[Node] = field(default_factory=list)
    watch: Callable[[Node], None] | None = None


@dataclass
class Charge:
    """What one node adds to the error of a result that depends on it with the derivative A.

    Attributes:
        local: bound of what is rounded there, and of the rounding of the backward step from it, by components.
        second: bound of the second order by components; None where there is none.
        rows: the same as the 2-norm of each row; None where there is none. Where both are given, the smaller counts.
    """

    local: Array
    second: Array | None = None
    rows: Array | None = None

    def of(self, a: Array) -> Array:
        """The largest share in the error of each of d results with the derivatives ``a`` of shape ``(d, *shape)``."""
        d, sizes = len(a), np.abs(a)
        total = sizes.reshape(d, -1) @ np.broadcast_to(self.local, a.shape[1:]).reshape(-1)
        if self.second is None and self.rows is None:
            return total
        bounds = []
        if self.second is not None:
            bounds.append((sizes * self.second).sum(-1))
        if self.rows is not None:
            bounds.append(norm(a) * self.rows)
        return total + np.minimum(bounds[0], bounds[-1]).reshape(d, -1).sum(1)


class Node:
    """An array of numbers in a network, with the tube around them.

    Attributes:
        tape: of the run; None for fixed numbers that no run has met.
        value: v; of fixed numbers in their own type.
        radius: bound of ``|w - v|`` by components.
        row: bound of the 2-norm of ``w - v`` over the last axis.
        parents: the nodes that it was computed from; none for fixed numbers.
        pull: the backward step: from derivatives by this node to those by its parents.
        charge: what it adds to an error.
        place: its number on the tape; -1 for fixed numbers.
        kind: the operation.
    """

    __slots__ = ("charge", "kind", "parents", "place", "pull", "radius", "row", "tape", "value")

    def __init__(self, tape: Tape, value: Array) -> None:
        self.tape, self.value = tape, value
        self.radius = np.broadcast_to(0.0, value.shape)
        self.row = np.broadcast_to(0.0, value.shape[:-1])
        self.parents: tuple[Node, ...] = ()
        self.pull: Pull | None = None
        self.charge: Charge | None = None
        self.place, self.kind = -1, "fixed"

    @property
    def fixed(self) -> bool:
        """Whether these are given numbers, which every evaluation has alike."""
        return self.place < 0

    @property
    def numbers(self) -> Array:
        """The value in float64."""
        return np.asarray(self.value, np.float64)

    @property
    def reach(self) -> Array:
        """Bound of the size of what any evaluation has here."""
        return np.abs(self.numbers) + self.radius

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def hold(self, value: Array) -> Self:
        """Fixed numbers of the same run."""
        return type(self)(self.tape, value)

    def derived(
        self,
        kind: str,
        value: Array,
        parents: Sequence[Node],
        pull: Pull,
        *,
        linear: Array,
        through: Array | None = None,
        row: Array | None = None,
        local: Array | float = 0.0,
        second: Array | None = None,
        second_rows: Array | None = None,
        rounded: int = 0,
        slope: Array | float = 0.0,
    ) -> Self:
        """A node computed from others, with its tube.

        Args:
            kind: the operation.
            value: v.
            parents: what it was computed from.
            pull: the backward step.
            linear: bound of ``|J| r`` of the parents' radii r, by components, by their absolute values alone.
            through: bound of ``J e + second``; by default ``linear + second``.
            row: bound of the 2-norm of each row of it; by default from the components.
            local: bound of the roundings of both evaluations.
            second, second_rows: bounds of the second order, by components and by rows.
            rounded: the most roundings of any term in the backward step.
            slope: bound of ``|dJ| r``, where the derivative itself was rounded to be off by dJ.

        Raises:
            Unbounded: a radius is not a finite number, or not one; or the numbers are so large that others may overflow.
        """
        if through is None:
            through = linear if second is None else linear + second
        local = np.broadcast_to(np.asarray(local, np.float64), value.shape)
        radius = (through + local) * GROWTH
        new = type(self)(self.tape, value)
        sizes = norm(radius) * GROWTH
        new.row = sizes if row is None else np.minimum(sizes, (row + norm(local)) * GROWTH)
        new.radius = np.minimum(radius, new.row[..., None]) if value.ndim else radius
        # The roundings of a sum are a share of all its terms together, so that these do not overflow either.
        if not ((new.radius >= 0).all() and (np.abs(value) + new.radius).max(initial=0.0) <= self.tape.machine.wide):
            raise Unbounded(f"no finite radius at {kind}, place {len(self.tape.nodes)}")
        slack = (gamma(rounded, UNIT) * linear + slope) if rounded or np.any(slope) else 0.0
        new.charge = Charge((local + slack) * GROWTH, second, second_rows)
        new.parents, new.pull, new.kind = tuple(parents), pull, kind
        new.place = len(self.tape.nodes)
        self.tape.nodes.append(new)
        if self.tape.watch is not None:
            self.tape.watch(new)
        return new

    def tighten(self, radius: Array) -> None:
        """Take a second bound of the same radii."""
        self.radius = np.minimum(self.radius, radius)
        self.row = np.minimum(self.row, norm(self.radius) * GROWTH)


def norm(a: Array) -> Array:
    """2-norms over the last axis; of a single number its size."""
    return np.abs(a) if a.ndim == 0 else np.sqrt(np.einsum("...i,...i->...", a, a))


def back_to(a: Array, shape: tuple[int, ...]) -> Array:
    """Derivatives ``(d, *broadcast)`` summed over what was broadcast: ``(d, *shape)``."""
    a = a.sum(axis=tuple(range(1, a.ndim - len(shape)))) if a.ndim - 1 > len(shape) else a
    stretched = tuple(i + 1 for i, n in enumerate(shape) if n == 1 and a.shape[i + 1] != 1)
    return a.sum(axis=stretched, keepdims=True) if stretched else a


def repeats(shape: tuple[int, ...], whole: tuple[int, ...]) -> int:
    """How many entries of a broadcast array one entry of a part became."""
    return max(1, int(np.prod(whole, dtype=np.int64)) // max(1, int(np.prod(shape, dtype=np.int64))))
