"""``solve`` for queried quines: starts of several kinds, each followed by one method, as many at once as there are cores.

Where the starts come from, and what follows them, says :mod:`.queried_ladder`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from itertools import islice
from threading import Lock

import torch
from torch import Tensor

from ..errors import QuineFileError, plural
from ..files.journal import Journal
from ..quines.derivatives import continuum
from ..quines.interrupts import interrupt_here
from ..quines.itself import SelfQuine
from ..quines.queried import QueryQuine
from ..quines.threads import available
from ..quines.together import together
from .enumerate import fixed_points, keep
from .loop import Progress, Search, Stop, Trace, iterate
from .methods import KrylovLM, Method, name_of
from .queried_exact import Rounded, noise
from .queried_ladder import TOGETHER, Rung, ladder, most_starts, of_method
from .queried_map import QueryMap
from .search import Found, Request, search
from .solution import Status
from .trace import Residuals

_EXACT_STARTS = 12  # with --exact: several fixed points, as most repel, in no more than minutes
_ON_ACCELERATOR = 2  # searches at once there: one computes while the other waits for a figure; more wait for Python
_LOOK = 0.1  # seconds between two looks whether a search that waits for others was interrupted
_ENDS = list(Status)


@search.register(QueryQuine)
def _search(quine: QueryQuine, request: Request) -> Found:
    """Find weights that answer themselves."""
    return search_all_weights(quine, request)


def search_all_weights(quine: QueryQuine | SelfQuine, request: Request) -> Found:
    """Search P equations in P unknowns: follow starts of the ladder or of one method until one gives a quine.

    Where bits are asked for, fixed points are searched until regeneration on a grid settles near one of them.
    """
    method, stop = request.method, request.stop
    exact = request.exact or quine.code_bits is not None
    f = QueryMap(quine, together(quine) if exact else None)
    trace = _SharedTrace(f, request.progress)
    f.late = stop.clock(trace)
    generator = torch.Generator().manual_seed(request.seed % 2**63)
    rungs = ladder(f, stop, generator, exact=exact) if method is None else of_method(f, method, stop, generator)
    most = request.starts or (most_starts(f) if method is None else method.starts)
    results: list[tuple[str, Search]] = []
    ended: Status | None = None
    rounded = Rounded(f, request.seed, lambda: _over(stop, trace) is not None)
    if exact:
        most = request.starts or _EXACT_STARTS
    try:
        timely = _timely(islice(rungs, most), stop, trace)
        with closing(_searched(f, timely, trace, request.journal)) as searched:
            for tool, one in searched:
                results.append((name_of(tool), one))
                if one.status[0] is Status.CONVERGED:
                    if not put_aside(f, one):
                        found = rounded.near(one.best[0]) if exact else one.best[0]
                        if found is not None:
                            one.best[0] = found
                            one.last[0] = found  # on the grid now, where the search had no point
                            break
                        continue
                    trace.forget(min(float(other.residuals.min()) for _, other in results))
        ended = _over(stop, trace)
    except KeyboardInterrupt:
        ended = _over(stop, trace) or Status.INTERRUPTED
        if not results:  # it came before the first start was made
            own = quine.theta[None]
            unknown = torch.full((1,), torch.inf, dtype=own.dtype, device=own.device)
            results.append((name_of(method or KrylovLM()), Search(own, unknown, own, [ended], 0)))
    reached = rounded.found if exact else results[-1][1].status[0] is Status.CONVERGED
    if ended is not None and not reached:
        for _, one in results:
            if one.status[0] not in (Status.ZERO_QUINE, Status.CONSTANT_QUINE):  # these say more than the limit does
                one.status = [ended]
    tried = f"{plural(len(results), 'start')} tried"
    if not exact:
        return Found(f, results, trace, tried)
    if rounded.found:  # by the last start
        results = results[-1:]
    if not rounded.found and (narrow := noise(quine)):
        return Found(f, results, trace, f"{tried}; {narrow}", exact=True)
    detail = rounded.detail or "none of which came to a fixed point, near which a grid could be met"
    return Found(f, results, trace, f"{tried}, {detail}", exact=True)


@fixed_points.register(QueryQuine)
def followed_once(
    quine: QueryQuine | SelfQuine,
    f: QueryMap,
    starts: int,
    generator: torch.Generator,
    stop: Stop,
    trace: Trace,
    *,
    progress: Callable[[int], None] | None = None,
) -> list[Status]:
    """Add to ``f.known`` the fixed points that ``starts`` starts of the ladder lead to, followed once each."""
    status: list[Status] = []
    try:
        timely = _timely(ladder(f, stop, generator), stop, trace)
        with closing(_searched(f, timely, trace, None)) as found:
            for _, one in islice(found, starts):
                if one.status[0] is Status.CONVERGED:
                    put_aside(f, one)
                keep(f, one.best, one.status)
                status = one.status
                if progress is not None:
                    progress(len(f.known))
    except KeyboardInterrupt:
        status = [Status.INTERRUPTED]
    f.cancelled.clear()  # the searches that ran ahead have ended
    return status


def put_aside(f: QueryMap, found: Search) -> bool:
    """Set aside a solution that lies on a line of fixed points (dead units and a bias answer any constant).

    Returns:
        Whether the solution lies on such a line.
    """
    theta = found.best[0]
    derivative = f.local(theta)
    if derivative.written_out:
        line = continuum(derivative.eigenvalues()[0], theta.dtype) is not None
    else:
        line = derivative.fixed_direction() is not None
    if not line:
        return False
    found.status, found.residuals = [Status.CONSTANT_QUINE], torch.full_like(found.residuals, torch.inf)
    return True


def _timely(rungs: Iterable[Rung], stop: Stop, trace: Trace) -> Iterator[Rung]:
    """Yield rungs as long as there is time; the first in any case, or there would be nothing to judge."""
    for number, rung in enumerate(rungs):
        if number and _over(stop, trace):
            return
        yield rung


def _over(stop: Stop, trace: Trace) -> Status | None:
    """The limit of the whole search that was reached, if any."""
    late = trace.f.late  # which may say so a little earlier: what it then refuses to compute is no outcome
    if stop.time_limit is not None and (trace.seconds() >= stop.time_limit or (late is not None and late())):
        return Status.TIME_LIMIT
    return (
        Status.MAX_STEPS if stop.max_evaluations is not None and trace.f.evaluations >= stop.max_evaluations else None
    )


class _SharedTrace(Trace):
    """One trace of several searches at once."""

    def __init__(self, f: QueryMap, progress: Progress | None) -> None:
        super().__init__(f, progress)
        self._lock = Lock()

    def record(self, now: Residuals) -> None:
        with self._lock:
            super().record(now)

    def forget(self, honest: float) -> None:
        """Drop the points of a search whose solution was set aside."""
        with self._lock:
            self.points = [point for point in self.points if point.relative_residual >= honest]
            self.best = honest
            self.best_squared = self.points[-1].squared_residual if self.points else math.nan


def _searched(
    f: QueryMap, rungs: Iterator[Rung], trace: Trace, journal: Journal | None
) -> Generator[tuple[Method, Search]]:
    """Yield every rung's search in order; some run ahead on other cores, and closing the iterator cancels those."""
    workers = available() if f.written_out is not None and f.n > TOGETHER else 1
    device = f.known.device
    if device.type != "cpu":
        workers = min(workers, _ON_ACCELERATOR)
        # Torch loads the library for this at the first call, which two threads must not make at once.
        torch.linalg.inv_ex(torch.eye(2, device=device))
    threads = torch.get_num_threads()
    known = 0 if journal is None else journal.recorded
    running: deque[tuple[Method, Tensor, Future[Search] | None]] = deque()
    with ThreadPoolExecutor(workers, initializer=lambda: torch.set_num_threads(threads if workers == 1 else 1)) as pool:
        try:
            torch.set_num_threads(threads if workers == 1 else 1)
            index = 0
            while True:
                try:
                    for method, start, limits in islice(rungs, workers - len(running)):
                        recorded = index < known
                        future = None if recorded else pool.submit(_followed, f, method, start, limits, trace)
                        running.append((method, start, future))
                        index += 1
                    if not running:
                        return
                    method, start, future = running[0]
                    interrupt_here()
                    if future is not None:
                        while not wait((future,), _LOOK).done:
                            interrupt_here()
                    if journal is None:
                        assert future is not None
                        found = future.result()
                    else:
                        found = _written(journal, start, future)
                except KeyboardInterrupt:  # what was under way has its best points, too
                    f.cancelled.set()
                    for tool, _, ended in running:
                        if ended is not None:
                            yield tool, ended.result()
                    raise
                running.popleft()
                yield method, found
        finally:
            f.cancelled.set()
            torch.set_num_threads(threads)


def _followed(f: QueryMap, method: Method, start: Tensor, limits: Stop, trace: Trace) -> Search:
    """The search from one start ``(n,)``, or of a race ``(B, n)`` the row that came nearest."""
    all_ = iterate(f, method, start.reshape(-1, f.n), limits, trace)
    row = int(all_.residuals.argmin())
    one, tail = slice(row, row + 1), all_.tail
    return Search(
        all_.best[one],
        all_.residuals[one],
        all_.last[one],
        all_.status[one],
        all_.steps,
        all_.broken_step,
        tail if tail is None else tail[:, one],
    )


def _written(journal: Journal, start: Tensor, future: Future[Search] | None) -> Search:
    """Yield the result of every search, recorded in the journal as one vector or read back from it."""

    def packed() -> Tensor:
        assert future is not None
        found = future.result()
        if found.status[0] is Status.INTERRUPTED:
            raise KeyboardInterrupt  # an interrupted search is not recorded
        end = torch.tensor([float(found.residuals[0]), _ENDS.index(found.status[0]), found.steps])
        return torch.cat([found.best[0].double(), found.last[0].double(), end.double().to(found.best.device)])

    n = start.shape[-1]
    row = journal(b"s", start, packed, (2 * n + 3,), torch.float64)
    if not bool(torch.isfinite(row[-2:]).all()) or not 0 <= int(row[-2]) < len(_ENDS):
        raise QuineFileError(f"{journal.path} holds a search that ended in no known way: start without --resume")
    best, last = (part[None].to(start.dtype) for part in (row[:n], row[n:-3]))
    residual, end, steps = row[-3:].tolist()
    return Search(best, torch.tensor([residual], dtype=start.dtype), last, [_ENDS[int(end)]], int(steps))
