"""A line on stderr for a search: with the share that is done and the time left, where it is known how far it goes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .solution import TracePoint
from .trace import Progress

_PATIENCE = 0.5  # seconds after which a person wonders whether something is still going on


class _Line:
    """Shows the points of a search; nothing is imported before the first that is late.

    Args:
        title: what is being done.
        steps: the step limit, of which the line shows the share done and the time left; None where a search usually
            ends long before any limit.
    """

    def __init__(self, title: str, steps: int | None) -> None:
        self._title, self._steps = title, steps
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, point: TracePoint) -> None:
        if point.seconds < _PATIENCE:
            return
        of = f" of {self._steps:,}" if self._steps else ""
        now, best = point.current_relative_residual, point.relative_residual
        text = f"step {point.step:,}{of}, relative residual {now:.1e}, best {best:.1e}"
        if point.trials_in_words:
            text = f"exact: {point.trials_in_words}, {point.map_evaluations:,} evaluations"
        done = min(point.step, self._steps) if self._steps else point.step
        bar = self._bar or self._start()
        bar.update(self._task, description=f"{self._title}: {text}" if self._title else text, completed=done)

    def _start(self) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed
        from rich.progress import TimeRemainingColumn as Remaining

        share = [BarColumn(20), TaskProgressColumn()] if self._steps else []
        left = [TextColumn("left"), Remaining()] if self._steps else []
        columns = [SpinnerColumn(), TextColumn("{task.description}"), *share, Elapsed(), *left]
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=self._steps)
        self._bar.start()
        return self._bar

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def shown(progress: Progress | bool | None, *, title: str = "", steps: int | None = None) -> Iterator[Progress | None]:
    """Yield the callback of a search: somebody's own, a line on stderr, or none.

    Args:
        progress: a callback; True for the line, False for nothing, None for the line where stderr is a terminal.
        title: what the line begins with.
        steps: the step limit of a search that goes as far as it may.
    """
    if not isinstance(progress, bool) and progress is not None:
        yield progress
        return
    if progress is False or (progress is None and not sys.stderr.isatty()):
        yield None
        return
    line = _Line(title, steps)
    try:
        yield line
    finally:
        line.close()
