"""The last result that went to no folder: one small file in the user's cache, of which ``neuralquine keep DIR`` makes the folder.

The file holds the weights and what the problem was, not the network: ``keep`` builds it again, and refuses if the weights
then print something else than they did. So keeping costs a search no time. The file is bounded, replaced in one step and
read through one handle: searches that end at the same moment leave one of their results, whole.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import NeuralQuineError, QuineFileError, first_line
from .options import AsJson, TrunkOption, app
from .report import print_json, report_kept

if TYPE_CHECKING:
    from torch import Tensor

    from ..quines.quine import Quine
    from ..solving.solution import Solution

_LARGEST = 64 << 20  # bytes of weights that are kept unasked: every recipe that is solved in seconds has far fewer
_LONGEST = 16 << 20  # bytes of the description, above which only its figures are kept and not the course of the search
_KEY = "neuralquine-last"
_DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
_TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list}


def place() -> Path:
    """The file: in ``$NQ_CACHE_DIR`` if that is set, else where the system keeps what may be deleted."""
    if root := os.environ.get("NQ_CACHE_DIR"):
        return Path(root) / "last.safetensors"
    if root := os.environ.get("XDG_CACHE_HOME"):
        return Path(root) / "neuralquine" / "last.safetensors"
    if sys.platform == "win32" and (root := os.environ.get("LOCALAPPDATA")):
        return Path(root) / "neuralquine" / "last.safetensors"
    home = Path.home()
    caches = home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
    return caches / "neuralquine" / "last.safetensors"


def remember(quine: Quine, solution: Solution, *, probes: int) -> bool:
    """Keep a result; False where it is too large, where its problem cannot be made again, or where nothing can be written.

    Args:
        quine: the network with the weights that were found.
        solution: its figures.
        probes: how many other probes were allowed. With any, the network may have another probe than its recipe's.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from ..files.atomic import replace_file

    size = quine.parameter_count * quine.dtype.itemsize
    if probes or quine.recipe is None or size > _LARGEST:
        return False
    told = {
        "recipe": {k: str(v).removeprefix("torch.") if _is_type(v) else v for k, v in quine.recipe.items()},
        "code_bits": quine.code_bits,
        "code_phase": quine.code_phase,
        "folder": str(Path.cwd()),
        "solve": solution.figures(),
        "environment": solution.environment,
        "trace": [point.figures() for point in solution.trace],
    }
    text = json.dumps(told, allow_nan=False)
    if len(text) > _LONGEST:
        text = json.dumps(told | {"trace": []}, allow_nan=False)
    try:
        with replace_file(place()) as path:
            save_file({"theta": quine.theta.detach().cpu().contiguous()}, path, metadata={_KEY: text})
    except (OSError, SafetensorError, RuntimeError):  # no home, no space: the result is on the screen all the same
        return False
    return True


def _is_type(value: Any) -> bool:
    return type(value).__name__ == "dtype"


@app.command()
def keep(
    folder: Annotated[Path, typer.Argument(help="The folder to write, such as quines/blog.", metavar="FOLDER")],
    trunk: TrunkOption = "",
    as_json: AsJson = False,
) -> None:
    """Write the last result that has no folder to one.

    That is the result of the last `neuralquine solve` without --out, in any window of yours. A network of your own is made
    again by your function, which --trunk names.
    """
    if not place().is_file():
        raise NeuralQuineError("there is no last result: `neuralquine solve` without --out leaves one")
    from ..keeping.store import check_target, save

    target = folder.resolve() if not folder.name else folder
    check_target(target)
    quine, solution = recalled(place(), trunk)
    quine.solution = solution
    save(quine, target)
    if as_json:
        print_json({"recipe": (quine.recipe or {})["name"], **solution.figures(), "out": str(target)})
        return
    made = quine.recipe or {}
    typer.echo(f"{made['name']}, seed {made['seed']}: {solution.sentence}")
    report_kept(target)


def recalled(path: Path, own: str = "") -> tuple[Quine, Solution]:
    """Build the network of the kept result again, with its weights.

    Args:
        path: the file.
        own: the function that may be run to make it. What a file names is never run for that.

    Raises:
        QuineFileError: the file is damaged, or its weights print something else than they did when they were found.
    """
    import torch
    from safetensors import SafetensorError

    from ..quines.measure import measure, round_off
    from ..quines.quine import check_grid
    from ..recipes.own import is_own, recipe_or_own

    try:
        told, theta = _read(path)
        made, said = dict(told["recipe"]), dict(told["solve"])
        name, seed, where = str(made.pop("name")), _typed(made.pop("seed"), "int"), str(told["folder"])
        solution = _solution(said, told, theta)
        check_grid(*(_typed(told[key], kind) for key, kind in (("code_bits", "int | None"), ("code_phase", "int"))))
    except (SafetensorError, NeuralQuineError, *_DAMAGED) as error:
        raise QuineFileError(f"{path} is damaged: {first_line(error)}; delete it") from error
    if is_own(name) and name != own:
        raise QuineFileError(
            f"the last result is one of {name}, made in {where}, and no file may run code: add --trunk {name}"
        )
    try:
        if not is_own(name):
            _check_size(name, seed, made, theta)
        quine = recipe_or_own(name, seed=seed, **made)
    except NeuralQuineError as error:
        raise QuineFileError(f"the last result is one of {name}, made in {where}: {error}") from error
    if theta.shape != (quine.parameter_count,) or theta.dtype != quine.dtype:
        raise QuineFileError(f"{name} makes another network now than the one that was solved in {where}")
    quine.code_bits, quine.code_phase = told["code_bits"], told["code_phase"]
    with torch.no_grad():
        quine.theta = theta
    found = measure(quine)
    # Twice, and round-off: another number of threads may sum in another order.
    if not found.relative_residual <= 2 * solution.relative_residual + round_off(quine.dtype):
        raise QuineFileError(
            f"{name} prints something else now than when it was solved in {where}: relative residual "
            f"{found.relative_residual:.1e}, then {solution.relative_residual:.1e}"
        )
    return quine, solution


def _read(path: Path) -> tuple[dict[str, Any], Tensor]:
    """What is told, and the weights, of one and the same file: ``safe_open`` would open it by its name once for each."""
    from safetensors.torch import load

    with path.open("rb") as file:
        data = file.read(_LARGEST + 2 * _LONGEST)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return json.loads(header["__metadata__"][_KEY]), load(data)["theta"]


def _typed(value: Any, kind: str) -> Any:
    """A value of a file, if it is of the type that an annotation names.

    Raises:
        TypeError: it is not.
    """
    if value is None and "None" in kind:
        return value
    first = kind.partition(" ")[0].partition("[")[0]
    if type(value) is not _TYPES.get(first, dict) and not (first == "float" and type(value) is int):
        raise TypeError(f"{str(value)[:40]!r} where {first} is expected")
    return value


def _check_size(name: str, seed: Any, made: dict[str, Any], theta: Tensor) -> None:
    """Refuse a recipe that would take far more memory than the weights of the file do, before it is built.

    Raises:
        TooLarge: it would.
    """
    import torch

    from ..quines.networks.cost import Allowance, counted_parameters
    from ..recipes import problem

    allowance = Allowance.of(theta.nbytes, theta.numel())
    with torch.device("meta"), counted_parameters(allowance):
        shell = problem(name, seed=seed, **made).trunk
    allowance.check(name, sum(p.nbytes for p in shell.parameters()))


def _solution(said: dict[str, Any], told: dict[str, Any], theta: Any) -> Solution:
    """The figures as they were found."""
    import math

    from ..solving.solution import Solution, Status, TracePoint

    lost = {"last_theta": None, "theta": theta, "environment": told["environment"]}
    points: list[dict[str, Any]] = [
        {k: math.nan if v is None else _typed(v, "float") for k, v in p.items()} for p in _typed(told["trace"], "list")
    ]
    lost["trace"] = tuple(TracePoint(**point) for point in points)
    lost["status"] = Status[str(said["status"]).upper()]
    kept: dict[str, Any] = {}
    for field in fields(Solution):
        optional = field.default is not MISSING or field.default_factory is not MISSING
        if field.name in lost:
            kept[field.name] = lost[field.name]
        elif said.get(field.name) is not None:
            kept[field.name] = _typed(said[field.name], str(field.type))
        elif not optional:
            kept[field.name] = 0 if field.type == "int" else math.nan
    return Solution(**kept)
