"""Deciding whether a search succeeded, on a fresh, undamped evaluation of the full network.

What the method or the loop believed plays no part.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..checking.spectrum import local_spectrum
from ..quines.measure import CONSTANT_SENSITIVITY, measure, round_off
from ..quines.quine import Quine
from .loop import Search, Stop, Trace
from .maps import FullMap, ReducedMap
from .solution import Solution, Status


def judge(
    quine: Quine,
    f: FullMap | ReducedMap,
    results: list[tuple[str, Search]],
    stop: Stop,
    trace: Trace,
    seed: int,
    *,
    detail: str = "",
) -> Solution:
    """Store the best weights found and measure them on a fresh evaluation of the network."""
    seconds = trace.seconds()
    method, search = min(results, key=lambda result: float(result[1].residuals.min()))
    row = int(search.residuals.argmin())
    ends = [status for _, other in results for status in other.status]
    status = search.status[row]
    if status is not Status.CONVERGED and ends.count(Status.ZERO_QUINE) > len(ends) / 2:
        status = Status.ZERO_QUINE
        method, search = next((m, s) for m, s in results if Status.ZERO_QUINE in s.status)
        row = search.status.index(Status.ZERO_QUINE)
    last, last_residual = None, None
    if not torch.equal(search.last[row], search.best[row]) and bool(torch.isfinite(search.last[row]).all()):
        f.install(search.last[row])
        last_residual = measure(quine).relative_residual
        last = _copy(quine)
    f.install(search.best[row])
    theta = _copy(quine)
    figures = measure(quine)
    rtol = stop.rtol if stop.rtol is not None else round_off(quine.dtype)
    local = local_spectrum(quine)
    f.jvps += local.jvps
    if status not in (Status.ZERO_QUINE, Status.CONSTANT_QUINE, Status.NOT_EXACT):
        if figures.relative_residual <= rtol:
            constant = local.self_sensitivity < CONSTANT_SENSITIVITY
            status = Status.CONSTANT_QUINE if constant else Status.CONVERGED
        elif status is Status.CONVERGED:
            status = Status.STALLED
    return Solution(
        status=status,
        theta=theta,
        last_theta=theta if last is None else last,
        parameters=quine.parameter_count,
        relative_residual=figures.relative_residual,
        max_abs_residual=figures.max_abs_residual,
        last_relative_residual=figures.relative_residual if last_residual is None else last_residual,
        weight_rms=figures.weight_rms,
        differing_weights=figures.differing_weights,
        bit_exact=figures.differing_weights == 0,
        self_sensitivity=local.self_sensitivity,
        spectral_radius=local.spectral_radius,
        map_evaluations=f.evaluations + 1,
        jvps=f.jvps,
        steps=sum(other.steps for _, other in results),
        seconds=seconds,
        method=method,
        code_bits=quine.code_bits,
        detail=detail,
        seed=seed,
        dtype=str(quine.dtype).removeprefix("torch."),
        trace=tuple(trace.points),
    )


def _copy(quine: Quine) -> Tensor | None:
    """The weights for the solution; None where a copy would be large."""
    return None if quine.in_place else quine.theta
