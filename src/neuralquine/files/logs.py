"""Where figures go while a search or a training runs: a file of lines, and a tracker where one is asked for.

A logger is given figures and a step, and does not know what they are of. ``Lines`` is always there and needs nothing;
the trackers are imported when they are asked for. No logger decides or changes anything about a run.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ..errors import NeuralQuineError, QuineFileError, UnknownName, did_you_mean, first_line
from ..solving.solution import TracePoint, finite_or_none
from .folder import METRICS

PROJECT = "neuralquine"  # under which the trackers keep their runs


class Logger(Protocol):
    """What takes figures while something runs."""

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Take named figures of one step; a step may come more than once, with other figures."""

    def close(self) -> None:
        """Nothing more will come."""


class Lines:
    """A file with one JSON object a line, each with its ``run`` and ``step``, written as soon as it is known.

    A line that was written survives the death of the process. A resumed run is appended under the next number of
    ``run``, and a torn last line is dropped. NaN and infinity are written as null.

    Args:
        path: the file.
        resume: go on after what is there; otherwise begin anew.

    Raises:
        QuineFileError: the file cannot be written, or holds something else.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = path.read_bytes() if resume and path.exists() else b""
            kept = kept[: kept.rfind(b"\n") + 1]
            self.run = _last_run(path, kept) + 1 if kept else 0
            self._file = path.open("r+b" if kept else "wb")
            self._file.seek(len(kept))
            self._file.truncate()
        except OSError as error:
            raise QuineFileError(f"cannot write {path}: {error.strerror or error}") from error

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Append one line."""
        line = {"run": self.run, "step": step} | {name: finite_or_none(value) for name, value in figures.items()}
        self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """The file is complete."""
        self._file.close()


def _last_run(path: Path, kept: bytes) -> int:
    try:
        return int(json.loads(kept.splitlines()[-1])["run"])
    except (ValueError, KeyError, TypeError) as error:
        raise QuineFileError(f"{path} is not a file of metrics: start without --resume") from error


class TensorBoard:
    """Event files for ``tensorboard --logdir`` (extra ``tensorboard``).

    Args:
        run: the folder they go to.
        settings: shown as text beside the curves.
    """

    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        _module("tensorboard")  # torch's own message does not name the extra
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run))
        self._writer.add_text("settings", "\n".join(f"    {key}: {value}" for key, value in settings.items()))

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """One point on the curve of every figure."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """The event file is complete."""
        self._writer.close()


class _Tracker:
    """wandb, and trackio, which has the same calls. What they say goes to stderr: stdout is for results."""

    def __init__(self, name: str, run: Path, settings: Mapping[str, Any]) -> None:
        self._module = _module(name)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                self._module.init(project=PROJECT, name=run.name, config=dict(settings))
        except Exception as error:  # whatever it raises where nobody is logged in or the network is away
            raise NeuralQuineError(f"{name} does not start: {first_line(error)}") from error

    def log(self, figures: Mapping[str, float], step: int) -> None:
        with contextlib.redirect_stdout(sys.stderr):
            self._module.log(dict(figures), step=step)

    def close(self) -> None:
        with contextlib.redirect_stdout(sys.stderr):
            self._module.finish()


def _module(name: str) -> Any:
    try:
        module = importlib.import_module(name)
    except ImportError:
        module = None
    if getattr(module, "__file__", None) is None:  # a folder of that name, as wandb leaves one, is no package
        raise NeuralQuineError(f"logging to {name} needs {name}: pip install 'neuralquine[{name}]'")
    return module


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any]], Logger]] = {
    "tensorboard": lambda run, settings: TensorBoard(run.with_name(run.name + ".tensorboard"), settings),
    "wandb": lambda run, settings: _Tracker("wandb", run, settings),
    "trackio": lambda run, settings: _Tracker("trackio", run, settings),
}
"""By name: what a run is called and its settings to a logger."""


class Several:
    """Loggers side by side, as one."""

    def __init__(self, *loggers: Logger) -> None:
        self._loggers = loggers

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """To each of them."""
        for logger in self._loggers:
            logger.log(figures, step)

    def close(self) -> None:
        """Each of them, whatever the others do."""
        with contextlib.ExitStack() as stack:
            for logger in self._loggers:
                stack.callback(logger.close)


def beside(run: Path) -> Path:
    """The file of lines of a run that is still to be saved to the folder ``run``."""
    return run.with_name(f"{run.name}.{METRICS}")


def open_logger(run: Path, tracker: str = "", *, settings: Mapping[str, Any], resume: bool = False) -> Logger:
    """The file of lines beside a run's folder, and a tracker if one is named.

    Args:
        run: the folder that the result will be saved to; it gives the run its name and is not touched.
        tracker: ``tensorboard``, ``wandb``, ``trackio``, or nothing.
        settings: of the run, for the tracker.
        resume: append to the lines that an earlier process left.

    Raises:
        UnknownName: no such tracker.
        NeuralQuineError: the tracker is not installed, or does not start.
        QuineFileError: the file cannot be written.
    """
    if not tracker:
        return Lines(beside(run), resume=resume)
    if tracker not in TRACKERS:
        raise UnknownName(f"no tracker {tracker!r}: {did_you_mean(tracker, list(TRACKERS))}")
    opened = TRACKERS[tracker](run, settings)
    try:
        return Several(Lines(beside(run), resume=resume), opened)
    except QuineFileError:
        opened.close()
        raise


def following(logger: Logger) -> Callable[[TracePoint], None]:
    """A ``progress=`` for :func:`neuralquine.solve` that logs every point of the search."""

    def follow(point: TracePoint) -> None:
        figures = {
            "relative_residual": point.relative_residual,
            "map_evaluations": point.map_evaluations,
            "seconds": point.seconds,
        }
        logger.log(figures, point.step)

    return follow
