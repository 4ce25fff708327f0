"""A place of the network over a box of codes: its tube at the middle, its tangents, and the rest that these leave out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from ..tubes.adjoint import steps_back
from ..tubes.machine import GROWTH, UNIT, Unbounded, gamma
from ..tubes.node import Array, Charge, Node, Tape, norm
from ..tubes.tube import Tube

_SMALL = 256  # entries of a place whose rest is tightened on the way: each takes a backward pass of its own
_FACTOR = 100.0  # growth of a rest until the next time
_FIRST = 1e-9  # rest of the first time


@dataclass(eq=False)
class Box:
    """The codes within a radius of a middle, and the run of the network over them.

    Attributes:
        tape: of the run at the middle, in exact arithmetic.
        radius: of the box.
        d: code entries.
        step: whether rests and tubes are tightened on the way, by backward passes of their own.
        charges: what each node of the tape adds to a rest, and its rest, by its place.
        level: the rest that is tightened next, where it is exceeded.
    """

    tape: Tape
    radius: float
    d: int
    step: bool = False
    charges: dict[int, tuple[Charge, Array]] = field(default_factory=dict)
    level: float = _FIRST


class Place:
    """Numbers of a network that depend on a code.

    Attributes:
        box: the codes.
        node: the tube around the run at the middle.
        slopes: tangents ``(d, *shape)``; None where nothing depends on the code.
        rest: R, by components.
        rest_row: bound of the 2-norm of each row of ``f``.
        off: of printed weights, which are the tape's fixed numbers: how far these are from ``E(m)``; None elsewhere.
    """

    __slots__ = ("_steep", "box", "node", "off", "rest", "rest_row", "slopes")

    def __init__(
        self, box: Box, node: Tube, slopes: Array | None = None, rest: Array | None = None, off: Array | None = None
    ) -> None:
        self.box, self.node, self.slopes, self.off = box, node, slopes, off
        self.rest: Array = np.broadcast_to(0.0, node.shape) if rest is None else rest
        self.rest_row: Array = norm(self.rest) * GROWTH
        self._steep: Array | None = None

    # -- what is known --------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.node.shape

    @property
    def value(self) -> Array:
        """v, of the run at the middle."""
        return self.node.numbers

    @property
    def steep(self) -> Array:
        """The largest ``|V (c - c')|`` for codes at a distance of one."""
        known = self._steep
        if known is None:
            known = np.zeros(self.shape) if self.slopes is None else np.abs(self.slopes).sum(0) * GROWTH
            self._steep = known
        return known

    @property
    def turn(self) -> Array:
        """Bound of ``|w(c) - w(c')|`` for codes at a distance of one."""
        return self.steep + self.rest

    @property
    def turn_row(self) -> Array:
        """The same as the 2-norm of each row."""
        return norm(self.steep) * GROWTH + self.rest_row

    @property
    def spread(self) -> Array:
        """Bound of ``|w(c) - v|`` in the box."""
        known = self.node.radius if self.off is None else self.off
        return known + self.box.radius * self.turn * GROWTH

    @property
    def spread_row(self) -> Array:
        """The same as the 2-norm of each row."""
        known = self.node.row if self.off is None else norm(self.off) * GROWTH
        return known + self.box.radius * self.turn_row * GROWTH

    @property
    def given(self) -> bool:
        """Whether these are the tape's fixed numbers: weights, or what never changes."""
        return self.node.fixed

    # -- a new place ----------------------------------------------------------------------------------------------------

    def made(
        self,
        node: Tube,
        slopes: Array | None,
        *,
        rest: Array,
        turn: Array,
        rest_row: Array | None = None,
        bend: Array | None = None,
        bend_row: Array | None = None,
        units: int = 1,
        given: Array | float = 0.0,
        flaw: Array | float = 0.0,
    ) -> Self:
        """A place computed from others.

        Args:
            node: its tube.
            slopes: its tangents, computed with at most ``units`` roundings of any term.
            rest, turn: ``|J|`` applied to the parents' rests, and to their turns, by absolute values alone.
            rest_row: bound of the 2-norm of each row of ``J f``; by default from the components.
            bend, bend_row: what the derivative at the run leaves out, by components and by the 2-norm of each row.
            units: the most roundings of any term of a tangent, or of the backward step.
            given: the part of ``rest`` that comes from weights, to which no backward step leads.
            flaw: bound of ``|dJ| turn`` where the derivative itself was computed to be off by dJ.

        Raises:
            Unbounded: a rest is not a finite number, or not one.
        """
        shape = node.shape
        slack = np.broadcast_to(gamma(units, UNIT) * turn + flaw, shape)
        local = (slack + given + gamma(units, UNIT) * rest) * GROWTH
        parts = [part for part in (bend, None if bend_row is None else bend_row[..., None]) if part is not None]
        bent = np.minimum(parts[0], parts[-1]) if parts else np.zeros(())
        new = type(self)(self.box, node, slopes, np.broadcast_to((rest + bent + slack) * GROWTH, shape))
        if rest_row is not None:
            rows = norm(np.broadcast_to(bent, shape)) if bend_row is None else bend_row
            new.rest_row = np.minimum(new.rest_row, (rest_row + rows + norm(slack)) * GROWTH)
            new.rest = np.minimum(new.rest, new.rest_row[..., None])
        if not (np.isfinite(new.rest).all() and (new.rest >= 0).all()):
            raise Unbounded(f"no finite rest at {node.kind}, place {node.place}")
        if slopes is not None and not np.isfinite(slopes).all():
            raise Unbounded(f"no finite tangent at {node.kind}, place {node.place}")
        box = self.box
        box.charges[node.place] = Charge(local, bend, bend_row), new.rest
        if box.step and node.value.size <= _SMALL and new.rest.max(initial=0.0) > _FACTOR * box.level:
            new.tightened()
            box.level = max(box.level, float(new.rest.max()))
        return new

    def widened(self, node: Tube, more: Array) -> None:
        """Count what unknown weights add to a number just computed, as if it had been rounded."""
        assert node.charge is not None
        node.radius = (node.radius + more) * GROWTH
        node.row = (node.row + norm(np.broadcast_to(more, node.shape))) * GROWTH
        node.charge.local = (node.charge.local + more) * GROWTH

    def tightened(self) -> Self:
        """The same place with its tube and its rest no larger than what backward passes bound."""
        places = np.arange(int(np.prod(self.shape)))
        known, rest = both(self.box, self.node, places)
        self.node.tighten(known.reshape(self.shape))
        self.rest = np.minimum(self.rest, rest.reshape(self.shape))
        self.rest_row = np.minimum(self.rest_row, norm(self.rest) * GROWTH)
        if self.node.place >= 0:
            self.box.charges[self.node.place] = self.box.charges[self.node.place][0], self.rest
        return self


def both(box: Box, result: Node, places: Array) -> tuple[Array, Array]:
    """Bounds of the tube, and of the rest, of entries of a node, by one backward pass for each."""
    known, rest = np.zeros(len(places)), np.zeros(len(places))
    for node, a, joined in steps_back(result, places):
        charge, own = box.charges[node.place]
        assert node.charge is not None
        if joined:  # one addition in each entry, whose rounding is at most a unit of its result
            sizes = np.abs(a).reshape(len(a), -1) * UNIT
            known = (known + sizes @ node.radius.reshape(-1)) * GROWTH
            rest = (rest + sizes @ np.broadcast_to(own, node.shape).reshape(-1)) * GROWTH
        else:
            known, rest = (known + node.charge.of(a)) * GROWTH, (rest + charge.of(a)) * GROWTH
    if not (np.isfinite(known).all() and np.isfinite(rest).all() and (known >= 0).all() and (rest >= 0).all()):
        raise Unbounded("the backward pass gives no finite bound")
    return known * GROWTH, rest * GROWTH


def total(*parts: Any) -> Array | None:
    """The sum of tangents, of which None is nothing."""
    whole: Array | None = None
    for part in parts:
        if part is not None:
            whole = part if whole is None else whole + part
    return whole
