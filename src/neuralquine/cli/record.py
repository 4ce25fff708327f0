"""What a solve writes while it runs: the journal it can be resumed from, and the log of its figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..files.journal import Journal
    from ..files.logs import Logger
    from ..quines.quine import Quine
    from ..solving.loop import Progress, Stop
    from ..solving.solution import Solution, TracePoint


@contextmanager
def logger_of(out: Path | None, quine: Quine, tracker: str, method: str, resume: bool) -> Iterator[Logger | None]:
    """Beside the folder that is to be written, and in it once it is there."""
    if out is None:
        yield None
        return
    from ..files.logs import open_logger

    settings = {k: str(v) for k, v in (quine.recipe or {}).items()}
    settings |= {"method": method or "ladder", "parameters": str(quine.parameter_count)}
    logger = open_logger(out, tracker, settings=settings, resume=resume)
    try:
        yield logger
    finally:
        logger.close()


def seen_by(progress: Progress | None, logger: Logger | None) -> Progress | None:
    """A search's points go to the terminal and to the log."""
    if logger is None:
        return progress
    from ..files.logs import following

    follow = following(logger)

    def seen(point: TracePoint) -> None:
        follow(point)
        if progress is not None:
            progress(point)

    return seen


def last_figures(solution: Solution) -> dict[str, float]:
    """What was measured afresh at the end."""
    names = ("relative_residual", "max_abs_residual", "weight_rms", "differing_weights", "self_sensitivity")
    names += ("spectral_radius", "map_evaluations", "jvps", "seconds")
    return {name: getattr(solution, name) for name in names}


def journal_of(
    out: Path | None, quine: Quine, method: Any, starts: int, stop: Stop, exact: bool, probes: int, resume: bool
) -> AbstractContextManager[Journal | None]:
    """Beside the folder that is to be written; it goes when the folder is there."""
    from dataclasses import asdict

    import torch

    from ..files.journal import Journal

    if out is None:
        return nullcontext(None)
    limits = {k: v for k, v in asdict(stop).items() if k != "time_limit"}  # a resumed search may be given more time
    problem = {
        "recipe": {k: str(v) for k, v in (quine.recipe or {}).items()},
        "method": repr(method),
        "options": [starts, limits, exact, probes],
        "torch": torch.__version__,
    }
    return Journal(out.with_name(out.name + ".journal"), problem, resume=resume)
