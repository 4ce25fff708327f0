"""Loggers: they write down the figures of a search or a training while it runs.

A logger is given named figures and a step, and does not know what they describe. ``Lines`` writes them to a file and
needs no other library; a tracker (TensorBoard, wandb, trackio) is imported when it is asked for. No logger decides or
changes anything about a run.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from ..errors import NeuralQuineError, QuineFileError, UnknownName, did_you_mean, first_line, needed
from .names import METRICS
from .strict_json import finite_or_none

PROJECT = "neuralquine"  # the project that a tracker files the runs under


class Logger(Protocol):
    """An object that takes figures while something runs."""

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Take the named figures of one step. A step may come more than once, with other figures."""

    def close(self) -> None:
        """Finish: no more figures will come."""


class Lines:
    """A file of JSON objects, one for each call of ``log``, with the keys ``run`` and ``step`` beside the figures.

    A line is written at once and survives the death of the process. A resumed run is appended under the next number of
    ``run``, and a last line that was cut off is dropped. NaN and infinity are written as null.

    Args:
        path: the file, made with its folder where it is missing.
        resume: append to the lines of an earlier run; otherwise they are overwritten.

    Raises:
        QuineFileError: the file cannot be written, or holds something other than such lines.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self.path = path
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise QuineFileError(f"cannot write {path}: it is not a file")
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
        """Close the file."""
        self._file.close()


def _last_run(path: Path, kept: bytes) -> int:
    """The number of the run that wrote the last line."""
    try:
        return int(json.loads(kept.splitlines()[-1])["run"])
    except (ValueError, KeyError, TypeError) as error:
        raise QuineFileError(f"{path} is not a file of metrics: start without --resume") from error


class TensorBoard:
    """Event files for ``tensorboard --logdir`` (extra ``tensorboard``).

    Args:
        run: the folder that the event files are written to.
        settings: the settings of the run, shown as text beside the curves.

    Raises:
        NeuralQuineError: TensorBoard is not installed.
    """

    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        _tracker("tensorboard")  # torch's own message does not name the extra
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run))
        self._writer.add_text("settings", "\n".join(f"    {key}: {value}" for key, value in settings.items()))

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Add one point to the curve of every figure."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class _Tracker:
    """A run of wandb, or of trackio, which has the same calls. What they print goes to stderr: stdout is for results."""

    def __init__(self, name: str, run: Path, settings: Mapping[str, Any]) -> None:
        self._module = _tracker(name)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                self._module.init(project=PROJECT, name=run.name, config=dict(settings))
        except Exception as error:  # the trackers raise anything where nobody is logged in or the network is down
            raise NeuralQuineError(f"{name} does not start: {first_line(error)}") from error

    def log(self, figures: Mapping[str, float], step: int) -> None:
        with contextlib.redirect_stdout(sys.stderr):
            self._module.log(dict(figures), step=step)

    def close(self) -> None:
        with contextlib.redirect_stdout(sys.stderr):
            self._module.finish()


def _tracker(name: str) -> Any:
    return needed(name, name, f"logging to {name} needs")


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any]], Logger]] = {
    "tensorboard": lambda run, settings: TensorBoard(run.with_name(run.name + ".tensorboard"), settings),
    "wandb": lambda run, settings: _Tracker("wandb", run, settings),
    "trackio": lambda run, settings: _Tracker("trackio", run, settings),
}
"""Trackers by name: each makes a logger of a run's folder and its settings."""


class Several:
    """Several loggers that act as one."""

    def __init__(self, *loggers: Logger) -> None:
        self._loggers = loggers

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Give the figures to each of them."""
        for logger in self._loggers:
            logger.log(figures, step)

    def close(self) -> None:
        """Close each of them, even if another fails to close."""
        with contextlib.ExitStack() as stack:
            for logger in self._loggers:
                stack.callback(logger.close)


def beside(run: Path) -> Path:
    """Name the file of lines of a run whose result will be saved to the folder ``run``."""
    return run.with_name(f"{run.name}.{METRICS}")


def open_logger(run: Path, tracker: str = "", *, settings: Mapping[str, Any], resume: bool = False) -> Logger:
    """Open the file of lines beside a run's folder, and a tracker if one is named.

    Args:
        run: the folder that the result will be saved to; it gives the run its name and is not touched.
        tracker: the name of a tracker from ``TRACKERS``; empty for the file of lines alone.
        settings: the settings of the run, which a tracker shows.
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
