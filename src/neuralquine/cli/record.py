"""The recording of a solve: the journal that it can be resumed from, the log of its figures, and the folder at its end.

The journal and the log lie beside the folder that the quine will be written to. They stay there when the search is
killed, interrupted or out of time, so that ``--resume`` finds them, and they go when the search has ended by itself.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import typer

from ..errors import plural

if TYPE_CHECKING:
    from ..files.journal import Journal
    from ..files.logs import Logger
    from ..quines.quine import Quine
    from ..solving.loop import Progress, Stop
    from ..solving.methods import Method
    from ..solving.solution import Solution, TracePoint


_AFTER = 1.0  # seconds after a time limit that verifying and writing may take


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a solve is asked for beside the problem itself.

    Attributes:
        method: the name of the method; empty for the ladder of methods.
        tool: the method of that name, with its options; None for the ladder.
        starts: how many starts are tried side by side; 0 for the method's own number.
        stop: limits and tolerance.
        exact: whether the printed bits must equal the stored ones.
        probes: how many other probes an exact search may try.
    """

    method: str
    tool: Method | None
    starts: int
    stop: Stop
    exact: bool
    probes: int

    def problem(self, quine: Quine) -> dict[str, Any]:
        """Everything that determines the evaluations of this search, ready for JSON: the journal belongs to it."""
        import torch

        limits = {k: v for k, v in asdict(self.stop).items() if k != "time_limit"}  # a resumed search may get more time
        return {
            "recipe": {k: str(v) for k, v in (quine.recipe or {}).items()},
            "method": repr(self.tool),
            "options": [self.starts, limits, self.exact, self.probes],
            "torch": torch.__version__,
        }


class Recording:
    """Writes down a solve while it runs, and its quine at the end. Use it as a context manager.

    Args:
        out: the folder that the quine will be written to; None to write nothing at all.
        quine: the quine that is searched for.
        request: what the solve is asked for.
        tracker: the name of a tracker that the figures go to as well; empty for none.
        resume: go on from the journal and the log that an earlier process left.

    Raises:
        QuineFileError: a file cannot be written, or is not one that this solve left.
        UnknownName: there is no such tracker.
    """

    journal: Journal | None = None
    _logger: Logger | None = None

    def __init__(
        self, out: Path | None, quine: Quine, request: Request, *, tracker: str = "", resume: bool = False
    ) -> None:
        self._out, self._quine, self._request = out, quine, request
        self._started = time.perf_counter()
        self._open = ExitStack()
        if out is None:
            return
        from ..files.journal import Journal
        from ..files.logs import open_logger
        from ..keeping.store import check_target

        check_target(out)
        with ExitStack() as opened:  # which closes the log if the journal is refused
            settings = run_settings(quine, request.method or "ladder")
            logger = open_logger(out, tracker, settings=settings, resume=resume)
            self._logger = opened.enter_context(closing(logger))
            journal = Journal(out.with_name(out.name + ".journal"), request.problem(quine), resume=resume)
            self.journal = opened.enter_context(journal)
            self._open = opened.pop_all()
        if resume:
            typer.echo(f"resuming after {plural(journal.recorded, 'evaluation')} of {journal.path}", err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def following(self, progress: Progress | None) -> Progress | None:
        """Make a progress callback that logs every point of the search and then passes it on to ``progress``."""
        if self._logger is None:
            return progress
        from ..solving.loop import following

        log = following(self._logger)

        def seen(point: TracePoint) -> None:
            log(point)
            if progress is not None:
                progress(point)

        return seen

    def finish(self, solution: Solution) -> None:
        """Log the figures of the solution and write the quine, with its log, to the folder.

        The journal and the log beside the folder are removed, unless the search can still be resumed from them.
        """
        if self._out is None or self._logger is None or self.journal is None:
            return
        from ..files.logs import beside
        from ..keeping.store import save
        from ..solving.solution import Status

        self._logger.log(_last_figures(solution), solution.steps)
        self._open.close()
        save(self._quine, self._out, metrics=beside(self._out), within=self.time_left())
        if solution.status not in (Status.INTERRUPTED, Status.TIME_LIMIT):
            self.journal.discard()
            beside(self._out).unlink(missing_ok=True)

    def time_left(self) -> float | None:
        """Seconds that are left for what comes after the search; None where no time limit was asked for."""
        limit = self._request.stop.time_limit
        return None if limit is None else limit + _AFTER - (time.perf_counter() - self._started)


def run_settings(quine: Quine, method: str) -> dict[str, str]:
    """The settings of a run, as a tracker shows them."""
    recipe = {k: str(v) for k, v in (quine.recipe or {}).items()}
    return recipe | {"method": method, "parameters": str(quine.parameter_count)}


def _last_figures(solution: Solution) -> dict[str, float]:
    """The figures of a log's last line, which were evaluated afresh at the end."""
    names = ("relative_residual", "max_abs_residual", "weight_rms", "differing_weights", "self_sensitivity")
    names += ("spectral_radius", "map_evaluations", "jvps", "seconds")
    return {name: getattr(solution, name) for name in names}
