"""What takes long: solving, listing a zoo, proving. Run in a worker, cancelled by an interrupt."""

from __future__ import annotations

import importlib.util
import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ..checking.verify import verify
from ..errors import NeuralQuineError, QuineFileError, TooLarge
from ..files.strict_json import finite_or_none
from ..healing.kinds import KINDS
from ..keeping.export import export
from ..keeping.store import load, save
from ..quines.quine import Quine
from ..recipes import RECIPES, recipe
from ..recipes.registry import Recipe, options_of
from ..solving.loop import Stop
from ..solving.methods import METHODS
from ..solving.solution import TracePoint
from ..solving.solve import solve as solve_quine
from ..solving.zoo import zoo as list_zoo
from .pictures import plane

Report = Callable[[dict[str, Any]], None]

MOST = 2_000_000  # weights: what is solved and verified while somebody waits
_ANCHOR = 0.1  # beta of an anchored quine: the map contracts well, and what is printed still depends on the weights
_WAIT = 60.0  # seconds for the solves of a zoo
PAUSE = 0.05  # seconds between two points of a chart


def networks() -> list[Recipe]:
    """Return the recipes of the lab's list, in the order of the page."""
    return sorted((r for r in RECIPES.values() if r.small), key=lambda r: r.place)


def warm(report: Report) -> None:
    """Import what the first derivative imports, while the page is being read."""
    verify(recipe(networks()[0].name), tries=1)


def catalog(report: Report) -> dict[str, Any]:
    """Return what can be chosen: networks, methods, damages, and what else this installation can do."""
    return {
        "networks": [
            {"name": r.name, "summary": _summary(r.about), "queried": r.queried, "anchors": "skip" in options_of(r)}
            for r in networks()
        ],
        "methods": [{"name": n, "summary": _summary(inspect.getdoc(type(m)))} for n, m in METHODS.items()],
        "damages": [{"name": k.name, "label": k.label} for k in KINDS.values() if k.pointwise],
        "proofs": True,
        "onnx": _installed("onnx", "onnxruntime"),
    }


def _installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


def _summary(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].replace("``", "").split()).split(": ")[0]


def solve(
    report: Report,
    *,
    folder: str,
    network: str,
    seed: int,
    method: str,
    exact: bool,
    anchored: bool,
    time_limit: float,
) -> dict[str, Any]:
    """Search, judge, and keep what was found, or the best iterate, in the folder."""
    quine = _built(network, seed, anchored)
    due = 0.0

    def watched(point: TracePoint) -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due:
            due = now + PAUSE
            report(_point(point))

    solution = solve_quine(
        quine, method or None, exact=exact, stop=Stop(time_limit=time_limit), throw=False, progress=watched
    )
    if solution.trace:
        report(_point(solution.trace[-1]))
    return {"solution": solution.figures() | {"sentence": solution.sentence}, **kept(quine, folder)}


def _built(network: str, seed: int, anchored: bool) -> Quine:
    quine = recipe(network, seed=seed, skip=_ANCHOR) if anchored else recipe(network, seed=seed)
    if quine.parameter_count > MOST:
        raise TooLarge(f"{network} has {quine.parameter_count} weights, more than the lab's {MOST}")
    return quine


def _point(point: TracePoint) -> dict[str, Any]:
    return point.figures()


def kept(quine: Quine, folder: str) -> dict[str, Any]:
    """Write a quine to its folder; returns what the verification and the network say."""
    return {"verification": save(quine, folder).figures(), "quine": _description(quine)}


def _description(quine: Quine) -> dict[str, Any]:
    """Return what the page says of the network, and what it can do with it."""
    return {
        "recipe": {k: v for k, v in (quine.recipe or {}).items() if isinstance(v, str | int | float | bool)},
        "parameters": quine.parameter_count,
        "code_size": quine.code_size,
        "code_bits": quine.code_bits,
        "code_phase": quine.code_phase,
        "dtype": quine.dtype_name,
        "layers": [[name, list(p.shape)] for name, p in quine.named_weights() if p.numel()],
        "task": hasattr(quine, "outputs"),
    }


def zoo(report: Report, *, file: str, folder: str, starts: int) -> dict[str, Any]:
    """List the other quines of the network in a folder, as points; their weights go to a file.

    The map shows the codes on their two principal axes. A grid is left out: the zoo is that of the smooth map.
    """
    own = load(Path(folder))
    if not own.recipe or own.recipe.get("name") not in {r.name for r in networks()}:
        raise NeuralQuineError("only a network of the lab's list has a zoo here")
    quine = recipe(**own.recipe)
    found = list_zoo(quine, starts=starts, stop=Stop(time_limit=_WAIT), progress=lambda n: report({"found": n}))
    thetas = [q.theta for q in found.quines]
    if thetas:
        save_file({"thetas": torch.stack(thetas)}, file)
    with torch.no_grad():
        points = plane(torch.stack([quine.real_code(theta) for theta in [*thetas, own.theta]]))
    rows = [
        {k: finite_or_none(v) for k, v in q.figures().items()} | {"at": point}
        for q, point in zip(found.quines, points, strict=False)
    ]
    return {
        "quines": rows,
        "own": points[-1],
        "starts": found.starts,
        "seconds": found.seconds,
        "interrupted": found.interrupted,
    }


def adopt(report: Report, *, file: str, index: int, parent: str, folder: str) -> dict[str, Any]:
    """Keep one quine of a zoo in a folder of its own."""
    quine = recipe(**(load(Path(parent)).recipe or {}))
    quine.theta = load_file(file)["thetas"][index]
    return kept(quine, folder)


def reopen(report: Report, *, source: str, folder: str) -> dict[str, Any]:
    """Read a quine that was kept, untrusted, and keep it again with what a new verification says."""
    try:
        quine = load(Path(source))
    except QuineFileError as error:  # the folder's own place means nothing to who uploaded it
        raise NeuralQuineError(str(error).replace(f"{source} ", "the folder ")) from None
    if quine.parameter_count > MOST:
        raise TooLarge(f"it has {quine.parameter_count} weights, more than the lab's {MOST}")
    named = quine.recipe or {}
    options = [f"seed {quine.seed}", "exact" * (quine.code_bits is not None), "anchored" * (quine.skip is not None)]
    title = f"{named.get('name', 'a network of its own')}, {', '.join(filter(None, options))}, opened"
    return {"title": title, **kept(quine, folder)}


def prove(report: Report, *, folder: str) -> dict[str, Any]:
    """Examine portability, where the code has a grid, and write a certificate beside the weights."""
    from ..proving.verbs import certify, portability
    from ..proving.verdicts import NotProved

    bound = portability(folder)
    try:
        claim, proved = certify(folder)["claim"], True
    except NotProved as error:
        claim, proved = str(error), False
    return {"proved": proved, "claim": claim, "portable": bound.proved, "portable_reason": bound.reason}


def onnx(report: Report, *, folder: str, file: str) -> None:
    """Write the quine as a model that checks itself."""
    export(folder, file)


DONE_HERE = (warm, catalog, solve, zoo, adopt, reopen, prove, onnx)
