"""The fixed points that an exact search makes its trials at: found round by round, with their price in work.

Where evaluations are dear, curves are followed in float32, which costs less than half, and the points at their ends are
refined in the type of the network. A network of more than a million weights has one start after the other: another start
beside it costs as much again, and Broyden's method learns the Jacobian of a small code in some tens of evaluations.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import NeuralQuineError
from ..quines.together import together
from .enumerate import SAME, costly, fixed_points, keep
from .grids import grids
from .loop import Search, Trace, affordable_starts, iterate, starting_points
from .maps import ReducedMap
from .methods import Broyden, Homotopy
from .search import Request
from .solution import Status

ROUNDS = ("race", "race", "race", "all", "race", "race", "all", "thorough", "thorough")
"""How the fixed points of each round are found: the first of 16 starts, all of 32, or all of 40 with Newton's method."""
_WIDTHS = {"race": 16, "all": 32, "thorough": 40}
_CURVED_RACE = (
    8  # starts of a race along curves: the first was at a fixed point after 90 steps, the first of four after 120
)
_CURVES = 12  # starts of a round that follows curves in float32: one to three of them end at fixed points
_CURVE = 300  # steps of each; of 72 curves of six transformers 11 ended in so many, and 13 in 400
_SIDE_BY_SIDE = 1 << 20  # weights up to which starts side by side are cheaper than one after the other
_SINGLE = (Broyden(), Broyden(), Homotopy(), Broyden(), Broyden(), Homotopy())  # the starts of a round above that
_SHARE = 0.05  # of a step of the finest grid, in Euclidean norm: how near the fixed point of such a network is found
_APART = 100.0  # times that, two of them are different points: the inverse of I - J lies between
_WEIGHTS = 16  # weights that an evaluation gets through while the lattice search looks at one partial vector


class Harvest:
    """Finds the fixed points of a quine's unrounded map, more of them round by round.

    Attributes:
        f: the map of the network, whose ``evaluations`` count those of its copies in other types, too.
        smooth: the map whose fixed points are sought: of the same network in float32, where the weights are narrower, and
            without a grid of activations. A map in bfloat16 or on such a grid is a staircase itself; its trials are made
            around the fixed points of the smooth one.
        best: the point ``(d,)`` of the smallest relative residual that a race or a curve came to; None before the first.
    """

    def __init__(self, f: ReducedMap, request: Request, trace: Trace, generator: torch.Generator) -> None:
        self.f, self._request, self._trace, self._generator = f, request, trace, generator
        quine = f.quine
        self.smooth = smooth_map(f)
        if self.smooth is not f:
            self.smooth.together = together(self.smooth.quine)
        self._rough: ReducedMap | None = None
        if costly(quine) and not quine.in_place and self.smooth.dtype == torch.float64:
            try:
                self._rough = map_in(f, torch.float32)
            except NeuralQuineError:  # a trunk that runs in its own type only
                self._rough = None
        self.best: Tensor | None = None
        self._least = math.inf
        self._trapped = False
        self._single = quine.in_place or quine.parameter_count > _SIDE_BY_SIDE
        self._spent = 0

    @property
    def work(self) -> float:
        """What all rounds have cost, in partial vectors of the lattice search."""
        return self._spent * self.f.quine.parameter_count / _WEIGHTS

    @property
    def price(self) -> float:
        """What a fixed point has cost on average, in partial vectors of the lattice search."""
        return self.work / max(1, len(self.smooth.known))

    def more(self, turn: int) -> list[Status]:
        """Add the fixed points of one round to ``smooth.known``; returns how the starts ended."""
        maps = [m for m in (self.smooth, self._rough) if m is not None and m is not self.f]
        before, others = self.f.evaluations, sum(m.evaluations for m in maps)
        if self._single:
            ends = self._one_by_one(own=turn == 0)
        else:
            ends = self._by_curves(own=turn == 0) if self._rough else self._by_kind(ROUNDS[turn], own=turn == 0)
        self.f.evaluations += sum(m.evaluations for m in maps) - others
        self._spent += self.f.evaluations - before
        return ends

    def _by_kind(self, kind: str, *, own: bool) -> list[Status]:
        f, stop = self.smooth, self._request.stop
        width = self._request.starts or _WIDTHS[kind]
        if kind != "race":
            thorough = kind == "thorough"
            return fixed_points(f.together, f, width, self._generator, stop, self._trace, own=own, thorough=thorough)
        curved = self._trapped or costly(f.quine)
        if self._trapped:
            width, stop = min(width, _CURVED_RACE), replace(stop, max_steps=stop.max_steps or _CURVE)
        points = starting_points(f, affordable_starts(f.together, width), self._generator, own=own)
        found = iterate(f, Homotopy() if curved else Broyden(), points, stop, self._trace)
        keep(f, found.best, found.status)
        self._note(found)
        # A map that nearly has a fixed point elsewhere traps every start of Broyden's method, 31 of 32 once; no curve ends there.
        self._trapped = Status.CONVERGED not in found.status
        return found.status

    def _one_by_one(self, *, own: bool) -> list[Status]:
        """Search from one start after the other, until one ends at a fixed point that is not known yet.

        Round-off of a large network in float32 is near the tolerance of a solution; a grid needs no such accuracy.
        """
        f, stop = self.smooth, self._request.stop
        near = _SHARE * 2.0 ** -grids(f.quine)[-1] / math.sqrt(f.n)
        rtol = max(near, stop.tolerance(f.dtype)) if stop.rtol is None else stop.rtol
        before, ends = len(f.known), list[Status]()
        for start in range(self._request.starts or len(_SINGLE)):
            method = _SINGLE[start % len(_SINGLE)]
            points = starting_points(f, 1, self._generator, own=own and start == 0)
            most = stop.max_steps or (_CURVE if isinstance(method, Homotopy) else None)
            found = iterate(f, method, points, replace(stop, rtol=rtol, max_steps=most), self._trace)
            ends += found.status
            self._note(found)
            keep(f, found.best, found.status, same=max(SAME, _APART * rtol))
            if len(f.known) > before or found.status[0] in (Status.INTERRUPTED, Status.TIME_LIMIT):
                break
        return ends

    def _by_curves(self, *, own: bool) -> list[Status]:
        """Follow curves of the network in float32, then Broyden's method in its own type from their ends."""
        f, rough, stop = self.smooth, self._rough, self._request.stop
        assert rough is not None
        width = affordable_starts(f.quine, self._request.starts or _CURVES)
        points = starting_points(f, width, self._generator, own=own).to(rough.dtype)
        curves = replace(stop, max_steps=stop.max_steps or _CURVE, rtol=None)
        found = iterate(rough, Homotopy(step_limit=0.8, tolerance=0.1), points, curves, self._trace, every=True)
        self._note(found)
        ends = torch.tensor([s is Status.CONVERGED for s in found.status])
        if not bool(ends.any()):
            return found.status
        refined = iterate(f, Broyden(), found.best[ends].to(f.dtype), stop, self._trace, every=True)
        keep(f, refined.best, refined.status)
        self._note(refined)
        return [*found.status, *refined.status]

    def _note(self, found: Search) -> None:
        row = int(found.residuals.argmin())
        if float(found.residuals[row]) < self._least:
            self._least, self.best = float(found.residuals[row]), found.best[row].to(self.f.dtype)


def smooth_map(f: ReducedMap) -> ReducedMap:
    """The map of the same network in the type of its code and without a grid of activations; the map itself where it is that."""
    quine = f.quine
    stairs = quine.dtype != quine.code_dtype or quine.activation_bits is not None
    return map_in(f, quine.code_dtype) if stairs and not quine.in_place else f


def map_in(f: ReducedMap, dtype: torch.dtype) -> ReducedMap:
    """The map of the same network in another type, without a grid of activations, with the same journal."""
    quine = f.quine
    dropped = ("means", "gains", "code_phase", "code_bits", "activation_bits", "trunk_dtype")
    kept = {k: v for k, v in quine.settings().items() if k not in dropped}
    copy = type(quine)(
        quine.trunk,
        quine.inputs,
        scales=(quine.means, quine.gains),
        dtype=dtype,
        select=quine.select,
        print_frozen=quine.print_frozen,
        **kept,
    )
    other = ReducedMap(copy)
    other.journal, other.late = f.journal, f.late
    return other
