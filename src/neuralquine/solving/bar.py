"""A line on stderr for a search in Python: it appears when the search lasts, and goes with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .solution import TracePoint
from .trace import Progress

_PATIENCE = 0.5  # seconds after which a person wonders whether something is still going on


class _Line:
    """Shows the points of a search; nothing is imported before the first that is late."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None

    def __call__(self, point: TracePoint) -> None:
        if point.seconds < _PATIENCE:
            return
        text = (
            f"step {point.step:,}, {point.map_evaluations:,} evaluations, relative residual "
            f"{point.current_relative_residual:.1e}, best {point.relative_residual:.1e}"
        )
        if point.trials_in_words:
            text = f"exact: {point.trials_in_words}, {point.map_evaluations:,} evaluations"
        bar = self._bar or self._start()
        bar.update(self._task, description=text)

    def _start(self) -> Any:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=None)
        self._bar.start()
        return self._bar

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def shown(progress: Progress | bool | None) -> Iterator[Progress | None]:
    """Yield the callback of a search: somebody's own, a line on stderr, or none.

    Args:
        progress: a callback; True for the line, False for nothing, None for the line where stderr is a terminal.
    """
    if not isinstance(progress, bool) and progress is not None:
        yield progress
        return
    if progress is False or (progress is None and not sys.stderr.isatty()):
        yield None
        return
    line = _Line()
    try:
        yield line
    finally:
        line.close()
