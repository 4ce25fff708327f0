"""One generation after the other, written down so that neither Ctrl-C nor ``kill -9`` costs more than seconds.

A world is a deterministic program: what happens in generation ``k`` is drawn from a generator of its own, seeded with
``(seed, k)``. So the tensors of a world are its whole state, and one that is read back goes on as if nothing had happened.

    state.safetensors   the newest state; its one metadata key names the world, its seed and its options
    *.parquet           what happened, one row for each individual and generation, ... (extra `sweep`)
    *.png               figures (extra `plot`)
    result.json         what came out
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import NeuralQuineError, QuineFileError, first_line, needed
from ..files.atomic import replace_file
from ..files.folder import METADATA_KEY
from ..files.strict_json import canonical
from ..solving.solution import environment

STATE, RESULT = "state.safetensors", "result.json"
EVERY = 5.0  # seconds between two states that are written
_HISTORY = "history."
_OLDEST = 1 << 40  # generations: nothing lives so long, and products with it are still whole numbers
_NEEDS = "evolution needs"


class World(ABC):
    """A population, and the history of its generations.

    Args:
        seed: decides everything that is drawn.
        generations: how many there are to be.

    Attributes:
        age: the number of generations lived.
        history: for each name, one tensor a generation (``(n, ...)``); they become the rows of tables.
    """

    def __init__(self, seed: int, generations: int) -> None:
        self.seed, self.generations, self.age = seed, generations, 0
        self.problem: dict[str, Any] = {}
        self.history: dict[str, list[Tensor]] = {}

    def generator(self, generation: int) -> torch.Generator:
        """Return the generator of what is drawn in one generation."""
        return torch.Generator().manual_seed((self.seed * 0x9E3779B97F4A7C15 + generation) % 2**63)

    def record(self, **columns: Tensor) -> None:
        """Keep a generation's columns ``(n, ...)``."""
        for name, values in columns.items():
            self.history.setdefault(name, []).append(values.detach().clone())

    def column(self, name: str) -> Tensor:
        """Return all generations of a column, one below the other."""
        return torch.cat(self.history[name])

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return the tensors of the living, by name."""

    @abstractmethod
    def restore(self, state: dict[str, Tensor]) -> None:
        """Take the living from :meth:`state`; names, shapes and types have been checked against it."""

    @abstractmethod
    def step(self) -> None:
        """Live one generation, drawn from ``self.generator(self.age + 1)``; ends in :meth:`record`."""

    @abstractmethod
    def status(self) -> str:
        """Say where the world stands, for one line on a terminal."""

    @abstractmethod
    def tables(self) -> dict[str, dict[str, Any]]:
        """Return the columns of each Parquet table."""

    @abstractmethod
    def figures(self) -> dict[str, Any]:
        """Draw a matplotlib figure for each PNG."""

    @abstractmethod
    def result(self, out: Path) -> dict[str, Any]:
        """Return what came out, ready for JSON; may write quines below ``out``."""


@dataclass(frozen=True)
class Life:
    """What :func:`live` did with a world.

    Attributes:
        out: the folder that was written.
        generations: how many were lived, all runs together.
        finished: whether that is as many as were asked for.
        seconds: the time that this run took.
        result: what came out of the world.
        files: the names of the files that were written.
    """

    out: Path
    generations: int
    finished: bool
    seconds: float
    result: dict[str, Any]
    files: tuple[str, ...]

    def figures(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return vars(self) | {"out": str(self.out), "files": list(self.files), "environment": environment()}


def live(
    world: World,
    out: str | Path,
    *,
    time_limit: float | None = None,
    resume: bool = False,
    progress: Callable[[World], None] | None = None,
) -> Life:
    """Let a world live, and write down what happened.

    Args:
        world: new, as :func:`~neuralquine.evolution.worlds.world` makes it.
        out: folder of its files.
        time_limit: seconds after which no generation is begun any more.
        resume: go on from the state in ``out``, which must be of this very world; otherwise begin anew.
        progress: called after every generation.

    Raises:
        NeuralQuineError: pyarrow or matplotlib is missing, or ``out`` cannot be written.
        QuineFileError: the state is damaged or another world's.
    """
    for module in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):  # before the clock runs
        needed(module, "plot", _NEEDS)
    write_table = _table_writer()
    out = Path(out)
    started = time.monotonic()
    try:
        out.mkdir(parents=True, exist_ok=True)
        if resume:
            _read(world, out / STATE)
        else:
            _write(world, out / STATE)
        _lived(world, out / STATE, None if time_limit is None else started + time_limit, progress)
        files = [STATE, *_recorded(world, out, write_table), RESULT]
        finished = world.age >= world.generations
        life = Life(out, world.age, finished, time.monotonic() - started, world.result(out), tuple(files))
        with replace_file(out / RESULT) as path:
            text = json.dumps(life.figures() | world.problem, indent=1, allow_nan=False)
            path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        if out.is_file():
            raise NeuralQuineError(f"{out} is a file: choose a folder") from error
        raise NeuralQuineError(f"cannot write {out}: {error.strerror or error}") from error
    return life


def _lived(world: World, state: Path, end: float | None, progress: Callable[[World], None] | None) -> None:
    """Live one generation after the other until a time, and write the state now and then, and at the end."""
    written = time.monotonic()
    while world.age < world.generations and (end is None or time.monotonic() < end):
        world.step()
        world.age += 1
        if progress is not None:
            progress(world)
        if time.monotonic() - written > EVERY:
            _write(world, state)
            written = time.monotonic()
    _write(world, state)


def _recorded(world: World, out: Path, write_table: Callable[[dict[str, Any], Path], None]) -> list[str]:
    """Write the tables and the figures; returns their names."""
    files = []
    for name, columns in world.tables().items():
        files.append(f"{name}.parquet")
        with replace_file(out / files[-1]) as path:
            write_table(columns, path)
    for name, figure in world.figures().items():
        files.append(f"{name}.png")
        with replace_file(out / files[-1]) as path:
            figure.savefig(path, dpi=130)
    return files


def _table_writer() -> Callable[[dict[str, Any], Path], None]:
    """Import pyarrow before a world lives for hours, rather than after."""
    parquet, arrow = needed("pyarrow.parquet", "sweep", _NEEDS), needed("pyarrow", "sweep", _NEEDS)
    return lambda columns, path: parquet.write_table(arrow.table(columns), path)


def _write(world: World, path: Path) -> None:
    tensors = {name: t.contiguous() for name, t in world.state().items()}
    tensors |= {_HISTORY + name: world.column(name) for name in world.history}
    tensors["age"] = torch.tensor(world.age)
    with replace_file(path) as new:
        save_file(tensors, new, metadata={METADATA_KEY: canonical(world.problem)})


def _read(world: World, path: Path) -> None:
    """Every name, type and shape is compared with the new world's before a tensor is read."""
    now = world.state()
    if not path.is_file():
        raise QuineFileError(f"{path} is not a state that can be resumed: there is no such file")
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get(METADATA_KEY) != canonical(world.problem):
                raise QuineFileError(f"{path} is of another world, seed or options: start without --resume")
            expected = now | {"age": torch.tensor(0)}
            kept = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            if set(kept) != set(expected) | {_HISTORY + n for n in world.history}:
                raise QuineFileError(f"{path} is damaged: start without --resume")
            if any(kept[n].get_shape() != list(t.shape) for n, t in expected.items()):
                raise QuineFileError(f"{path} is damaged: start without --resume")
            age = _age(file.get_tensor("age"), path)
            for name, (first, *_) in world.history.items():  # the same number of rows in every generation
                if kept[_HISTORY + name].get_shape() != [len(first) * (age + 1), *first.shape[1:]]:
                    raise QuineFileError(f"{path} does not hold {age} generations: start without --resume")
            state = {name: file.get_tensor(name) for name in now}
            history = {n: file.get_tensor(_HISTORY + n) for n in world.history}
            columns = {n: first for n, (first, *_) in world.history.items()}
            if any(a[n].dtype != t.dtype for a, b in ((state, now), (history, columns)) for n, t in b.items()):
                raise QuineFileError(f"{path} holds numbers of another type: start without --resume")
    except (SafetensorError, OSError, ValueError) as error:
        raise QuineFileError(f"{path} is not a state that can be resumed: {first_line(error)}") from error
    world.restore(state)
    world.age, world.history = age, {n: [t] for n, t in history.items()}
    try:
        world.tables()
    except (LookupError, ValueError, OverflowError) as error:  # before more is lived than can be written down
        raise QuineFileError(f"{path} holds a history that no world has: start without --resume") from error


def _age(stored: Tensor, path: Path) -> int:
    if stored.dtype != torch.int64 or not 0 <= int(stored) < _OLDEST:
        raise QuineFileError(f"{path} is damaged: start without --resume")
    return int(stored)
