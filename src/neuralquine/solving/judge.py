"""Deciding whether a search succeeded, on a fresh, undamped evaluation of the full network.

The opinions of the method and of the loop play no part.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from ..checking.spectrum import Spectrum, glance, local_spectrum
from ..errors import NotSolved
from ..quines.derivatives import DENSE
from ..quines.known import known_once
from ..quines.measure import CONSTANT_SENSITIVITY, Measurement, measure, round_off
from ..quines.quine import Quine
from .course import course, sentence
from .loop import Search, Stop
from .maps import FullMap, ReducedMap
from .prospect import determinant, prospect
from .search import Found, map_of
from .solution import Solution, Status

_FINAL = (Status.ZERO_QUINE, Status.CONSTANT_QUINE, Status.NOT_EXACT)  # statuses that a small residual does not refute

_QUICK = 3_000_000  # entries of the code's derivative up to which it takes a fraction of a second
_PRODUCTS = 150  # products that the eigenvalues and the norm of a large derivative take
_GRACE = 1.0  # seconds beyond the time limit that a judgement may take: some for it, as many for what is written after

_LATE = 0.5  # seconds beyond the time limit from which on the last iterate is not evaluated beside the best one
_NOWHERE = (Status.MAX_STEPS, Status.TIME_LIMIT, Status.STALLED, Status.CYCLE, Status.INTERRUPTED)  # no word on the end


def finish(quine: Quine, found: Found, stop: Stop, seed: int, *, throw: bool) -> Solution:
    """Judge what a search found, keep the solution with the quine, and raise if it is no quine and ``throw`` is set."""
    solution = judge(quine, found, stop, seed)
    quine.solution = solution
    if throw and not solution.converged:
        raise NotSolved(solution.failure, solution)
    return solution


def judge(quine: Quine, found: Found, stop: Stop, seed: int) -> Solution:
    """Store the best weights found and measure them on a fresh evaluation of the network."""
    f, seconds = found.f, found.trace.seconds()
    method, search, row = _chosen(found.results, stop.tolerance(quine.dtype))
    late = stop.time_limit is not None and seconds > stop.time_limit + _LATE
    last_theta, last = (None, None) if late else _last(quine, f, search, row)
    f.install(search.best[row])
    with quine.turn, known_once():  # nothing changes from here on
        theta, figures = _copy(quine), _measured(quine, f)
        local = _looked_at(quine, stop, found, near=figures.relative_residual <= stop.tolerance(quine.dtype))
    f.jvps += local.jvps
    asked, answers = quine.question()
    last = figures if last is None else last
    known = not late or torch.equal(search.last[row], search.best[row])
    status = _verdict(search.status[row], figures, local, stop.tolerance(quine.dtype), exact=found.exact)
    course, words = _course(status, search, row, round_off(quine.dtype))
    expected = determinant(local)
    sought = quine.roundable and status is Status.CONVERGED and figures.differing_weights > 0 and not found.exact
    return Solution(
        **vars(figures),
        status=status,
        course=course,
        course_in_words=words,
        theta=theta,
        last_theta=theta if last_theta is None else last_theta,
        parameters=quine.parameter_count,
        last_relative_residual=last.relative_residual if known else math.nan,
        last_squared_residual=last.squared_residual if known else math.nan,
        bit_exact=figures.differing_weights == 0,
        self_sensitivity=local.self_sensitivity,
        bound=local.bound,
        spectral_radius=local.spectral_radius,
        determinant=expected,
        prospect=prospect(map_of(quine).n, local.spectral_radius, expected) if sought else "",
        map_evaluations=f.evaluations,
        jvps=f.jvps,
        steps=sum(other.steps for _, other in found.results),
        seconds=seconds,
        method=method,
        code_bits=quine.code_bits,
        code_phase=quine.code_phase,
        detail=found.detail,
        asked=asked,
        answers=answers,
        seed=seed,
        dtype=quine.dtype_name,
        trace=tuple(found.trace.points),
    )


def _looked_at(quine: Quine, stop: Stop, found: Found, *, near: bool) -> Spectrum:
    """The derivative at the best weights; where the time limit leaves no time for it, a lower bound of its norm.

    Nothing is computed of weights that are no fixed point (``near`` is false) and were found after the limit.
    """
    if stop.time_limit is None or quine.parameter_count * quine.code_size <= _QUICK:
        return local_spectrum(quine)
    over = any(Status.TIME_LIMIT in search.status for _, search in found.results)
    if not near and (over or found.trace.seconds() > stop.time_limit):
        return Spectrum(torch.zeros(0, dtype=torch.complex128), math.nan, complete=False)
    if quine.in_place:
        return local_spectrum(quine)
    started = time.perf_counter()
    with quine.turn:
        local = glance(quine)
    price = (time.perf_counter() - started) * (quine.code_size if quine.code_size <= DENSE else _PRODUCTS)
    if found.trace.seconds() + price <= stop.time_limit + _GRACE or not local.self_sensitivity > CONSTANT_SENSITIVITY:
        return local_spectrum(quine)
    return local


def _chosen(results: list[tuple[str, Search]], rtol: float) -> tuple[str, Search, int]:
    """The method, the search and its row with the smallest residual; where no start converged and most collapsed, one of those."""
    method, search = min(results, key=lambda result: float(result[1].residuals.min()))
    row = int(search.residuals.argmin())
    ends = [status for _, other in results for status in other.status]
    if not float(search.residuals[row]) <= rtol and ends.count(Status.ZERO_QUINE) > len(ends) / 2:
        method, search = next((m, s) for m, s in results if Status.ZERO_QUINE in s.status)
        row = search.status.index(Status.ZERO_QUINE)
    return method, search, row


def _course(status: Status, search: Search, row: int, floor: float) -> tuple[str, str]:
    """The course of a search that ended nowhere, as a word and as a sentence; both empty where it is not asked for."""
    if status not in _NOWHERE or search.tail is None:
        return "", ""
    residuals = search.tail[:, row].tolist()
    name = course(residuals, floor)
    return name, sentence(name, residuals)


def _last(quine: Quine, f: FullMap | ReducedMap, search: Search, row: int) -> tuple[Tensor | None, Measurement | None]:
    """The weights and the figures of the last iterate, where it is finite and another point than the best one."""
    last = search.last[row]
    if torch.equal(last, search.best[row]) or not bool(torch.isfinite(last).all()):
        return None, None
    f.install(last)
    return _copy(quine), _measured(quine, f)


def _measured(quine: Quine, f: FullMap | ReducedMap) -> Measurement:
    """One fresh evaluation, counted like those of the search."""
    f.evaluations += 1
    return measure(quine)


def _verdict(status: Status, figures: Measurement, local: Spectrum, rtol: float, *, exact: bool) -> Status:
    """The status of a search whose best start ended with ``status``, by the figures of its best weights.

    A search for exact bits keeps whatever failure it named: the weights it leaves then may well be a quine, but not
    one of the kind that was asked for.
    """
    claimed = status is Status.CONVERGED
    if status in _FINAL or (exact and not claimed):
        return status
    if figures.relative_residual <= rtol and (figures.differing_weights == 0 or not exact):
        return Status.CONSTANT_QUINE if local.self_sensitivity < CONSTANT_SENSITIVITY else Status.CONVERGED
    if exact:
        return Status.NOT_EXACT
    return Status.STALLED if claimed else status


def _copy(quine: Quine) -> Tensor | None:
    """The weights for the solution; None where a copy would be large."""
    return None if quine.in_place else quine.theta
