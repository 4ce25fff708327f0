"""Many solves in one table: recipes x seeds x options, over processes, continued where they stopped.

Within a job the starts are evaluated side by side (``vmap``); jobs run over processes (joblib) or a cluster (Ray). Every
finished job is appended to ``jobs.jsonl`` at once, so a killed sweep loses the jobs that were running and no other; when
all are done they become one Parquet table.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadOption, NeuralQuineError, did_you_mean, first_line, needed
from ..files.atomic import replace_file
from ..files.strict_json import canonical

JOBS, TABLE = "jobs.jsonl", "sweep.parquet"
_MOST_JOBS = 1_000_000  # most jobs of a sweep: the table of more would not fit in memory at the end


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and value >= 0  # NaN is not at least 0


_AXES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "recipe": (_is_text, "a name"),
    "seed": (_is_count, "a whole number of at least 0"),
    "method": (_is_text, "a name"),
    "exact": (lambda value: isinstance(value, bool), "true or false"),
    "starts": (_is_count, "a whole number of at least 0"),
    "time_limit": (_is_seconds, "a number of seconds of at least 0"),
}
"""What a sweep may vary, each with the test of its values and the words for what they have to be."""


@dataclass(frozen=True)
class Spec:
    """The jobs of a sweep: every combination of its values is one.

    Attributes:
        jobs: the jobs in the order of the table.
    """

    jobs: tuple[dict[str, Any], ...]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(canonical({"jobs": list(self.jobs)}).encode()).hexdigest()


def read_spec(path: Path) -> Spec:
    """Read a sweep from a TOML file.

    ::

        recipe = ["blog", "cnn"]
        seed = "0-99"                # or a list
        exact = [false, true]        # also: method, starts, time_limit
        [options]                    # of the recipes
        skip = [0.0, 0.1]

    Raises:
        NeuralQuineError: the file is not readable, or has a key that a sweep does not know.
        BadOption: a value is of the wrong type or out of range.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NeuralQuineError(
            f"{path} is not a readable TOML file: {getattr(error, 'strerror', None) or first_line(error)}"
        ) from error
    for key in data:
        if key not in (known := [*_AXES, "options"]):
            raise NeuralQuineError(f"{path} has no use for {key!r}: {did_you_mean(key, known)}")
    if "recipe" not in data:
        raise NeuralQuineError(f"{path} names no recipe: recipe = [...]")
    options = data.pop("options", {})
    if not isinstance(options, dict):
        raise NeuralQuineError(f"{path}: options must be a table")
    axes = {"seed": [0]} | {key: _values(key, value, path) for key, value in data.items()}
    inner = {key: value if isinstance(value, list) else [value] for key, value in options.items()}
    count = 1
    for values in [*axes.values(), *inner.values()]:
        count *= len(values)
    if not 0 < count <= _MOST_JOBS:
        raise NeuralQuineError(f"{path} describes {count} jobs, not between 1 and {_MOST_JOBS}")
    names = ["recipe", *(k for k in axes if k != "recipe")]
    jobs = []
    for choice in itertools.product(*(axes[n] for n in names)):
        for inside in itertools.product(*inner.values()):
            jobs.append(dict(zip(names, choice, strict=True)) | {"options": dict(zip(inner, inside, strict=True))})
    return Spec(tuple(jobs))


def _values(key: str, value: Any, path: Path) -> list[Any]:
    if key == "seed" and isinstance(value, str):
        first, dash, last = value.partition("-")
        if not (dash and first.isdigit() and last.isdigit() and int(last) - int(first) < _MOST_JOBS):
            raise NeuralQuineError(f"{path}: seed must be a list or a range such as '0-99', not {value!r}")
        return list(range(int(first), int(last) + 1))
    values = value if isinstance(value, list) else [value]
    allowed, kind = _AXES[key]
    for one in values:
        if not allowed(one):
            raise BadOption(f"{path}: {key} must be {kind}, not {one!r}")
    return values


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Solve one job. A failure of any kind is a row too, never the end of a sweep."""
    import torch

    from ..recipes.own import recipe_or_own
    from .loop import Stop
    from .solve import solve

    torch.set_num_threads(1)  # the processes share the cores
    row = {k: v for k, v in job.items() if k != "options"} | job["options"]
    try:
        quine = recipe_or_own(job["recipe"], seed=job["seed"], **job["options"])
        stop = Stop(time_limit=job.get("time_limit") or None)
        solution = solve(
            quine,
            job.get("method") or None,
            starts=job.get("starts") or None,
            exact=bool(job.get("exact")),
            stop=stop,
            throw=False,
            progress=False,
        )
        return solution.figures() | row | {"error": None}
    except Exception as error:
        return row | {"status": "error", "converged": False, "error": first_line(error)}


def sweep(
    spec: Spec | str | Path,
    out: str | Path,
    *,
    processes: int = 0,
    ray: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Run the jobs that are not done yet and write the table.

    Args:
        spec: the jobs, or the TOML file that describes them.
        out: folder of the sweep; one that holds a part of this very sweep is continued.
        processes: how many jobs run at once; 0 for one on each core.
        ray: over the Ray cluster that this machine belongs to (extra ``ray``) instead.
        progress: called with the jobs done and the jobs in all.

    Returns:
        The Parquet file.

    Raises:
        NeuralQuineError: the folder holds another sweep, or a library is missing.
    """
    pyarrow, parquet = _needed("pyarrow"), _needed("pyarrow.parquet")
    spec = spec if isinstance(spec, Spec) else read_spec(Path(spec))
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if (out / JOBS).exists() and not (out / JOBS).is_file():  # opening a pipe would wait for ever
        raise NeuralQuineError(f"cannot write {out / JOBS}: it is not a file")
    rows = _read_rows(out / JOBS, spec)
    todo = [i for i in range(len(spec.jobs)) if i not in rows]
    with (out / JOBS).open("a", encoding="utf-8") as log:
        if log.tell() == 0:
            _append(log, {"sweep": spec.fingerprint})
        for index, row in (_over_ray if ray else _over_processes)(spec, todo, processes):
            rows[index] = row
            _append(log, {"job": index, "row": row})
            if progress is not None:
                progress(len(rows), len(spec.jobs))
    keys = list(dict.fromkeys(key for i in sorted(rows) for key in rows[i]))
    table = pyarrow.table({key: _column([rows[i].get(key) for i in sorted(rows)]) for key in keys})
    with replace_file(out / TABLE) as path:
        parquet.write_table(table, path)
    return out / TABLE


def _column(values: list[Any]) -> list[Any]:
    """Values of one column, which a table can only hold in one type: mixed ones are numbers, or else text as in JSON."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) < 2:
        return values
    number = kinds <= {int, float}
    return [v if v is None else float(v) if number else v if isinstance(v, str) else json.dumps(v) for v in values]


def _over_processes(spec: Spec, todo: list[int], processes: int) -> Iterator[tuple[int, dict[str, Any]]]:
    joblib = _needed("joblib")
    count = min(processes or os.cpu_count() or 1, max(1, len(todo)))
    tasks = (joblib.delayed(_numbered)(i, spec.jobs[i]) for i in todo)
    yield from joblib.Parallel(n_jobs=count, return_as="generator_unordered")(tasks)


def _over_ray(spec: Spec, todo: list[int], processes: int) -> Iterator[tuple[int, dict[str, Any]]]:
    ray = _needed("ray", "ray")
    ray.init(num_cpus=processes or None, ignore_reinit_error=True, log_to_driver=False)
    remote = ray.remote(_numbered)
    waiting = [remote.remote(i, spec.jobs[i]) for i in todo]
    while waiting:
        done, waiting = ray.wait(waiting)
        yield from ray.get(done)


def _numbered(index: int, job: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return index, run_job(job)


def _needed(module: str, extra: str = "sweep") -> Any:
    return needed(module, extra, "sweeps need")


def _append(log: Any, entry: dict[str, Any]) -> None:
    log.write(json.dumps(entry, allow_nan=False) + "\n")
    log.flush()
    os.fsync(log.fileno())


def _read_rows(path: Path, spec: Spec) -> dict[int, dict[str, Any]]:
    """Rows of an earlier run; a torn last line is cut off."""
    if not path.exists():
        return {}
    rows: dict[int, dict[str, Any]] = {}
    whole = 0
    data = path.read_bytes()
    for number, line in enumerate(data.splitlines(keepends=True)):
        if not line.endswith(b"\n"):
            break
        try:
            entry = json.loads(line)
            if number == 0 and entry.get("sweep") != spec.fingerprint:
                raise NeuralQuineError(f"{path} belongs to another sweep: choose another folder")
            if number:
                rows[int(entry["job"])] = dict(entry["row"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NeuralQuineError(f"{path} is damaged in line {number + 1}: choose another folder") from error
        whole += len(line)
    if whole < len(data):
        os.truncate(path, whole)
    return rows
