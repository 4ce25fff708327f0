"""Keeping a quine as a folder: weights, configuration, figures and a model card.

    model.safetensors   the weights, buffers and probe; its one metadata key holds the configuration once more
    config.json         what is needed to run it, and the SHA-256 of model.safetensors
    solution.json       what the solver and the verification said when it was saved (never believed on reading)
    README.md           the model card
    metrics.jsonl       the figures that were logged while it was sought, if they were

Files are untrusted. Nothing is unpickled or imported, names and shapes are compared with the file's header before
memory is taken, the two configurations must agree and the hash must fit. A folder is written beside its place and
moved there in one step.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..checking.verify import Verification, verify
from ..errors import NeuralQuineError, QuineFileError, first_line
from ..files.atomic import replace_folder
from ..files.folder import (
    CARD,
    CERTIFICATE,
    CONFIG,
    FORMAT,
    FUNCTION,
    METADATA_KEY,
    METRICS,
    SOLUTION,
    WEIGHTS,
    read_config,
    sha256,
)
from ..files.strict_json import canonical, read_json
from ..quines.bias_tape import BiasTapeQuine
from ..quines.bits import differing
from ..quines.networks.bodies import Taped
from ..quines.networks.description import build, describe, parameters_on_meta
from ..quines.queried import QueryQuine
from ..quines.quine import Quine
from ..quines.taped import TaskQuine
from ..recipes import RECIPES, problem
from ..version import __version__
from .card import model_card
from .hub import check_repository, download, is_address, upload

_OPTIONS = ("code_size", "code_bits", "seed", "normalize", "eps", "select", "skip", "expansion")
_MAPPED = 1 << 20  # numbers of a tensor above which it stays where the file is mapped
_OURS = {WEIGHTS, CONFIG, SOLUTION, CARD, METRICS, "figures", CERTIFICATE}


def save(quine: Quine, path: str | Path, *, metrics: Path | None = None) -> Verification:
    """Write a quine, or the best iterate of a failed search, to a folder.

    Args:
        quine: verified afresh; the figures go into the model card.
        path: a new folder, or one that holds an older quine, which is replaced in one step.
        metrics: a file of figures that were logged, to be copied into the folder as ``metrics.jsonl``.

    Returns:
        The verification that the model card shows.

    Raises:
        QuineFileError: the folder holds files of other origin, or cannot be written.
    """
    target = check_target(path)
    config = _config(quine)
    verification = verify(quine)
    report = {"verification": verification.figures(), "solve": None}
    if quine.solution is not None:
        report["solve"] = quine.solution.figures() | {
            "environment": quine.solution.environment,
            "trace": [vars(point) for point in quine.solution.trace],
        }
    try:
        with replace_folder(target) as folder:
            weights = folder / WEIGHTS
            save_file(_tensors(quine), weights, metadata={METADATA_KEY: canonical(config)})
            _write_json(folder / CONFIG, config | {"weights_sha256": sha256(weights)})
            _write_json(folder / SOLUTION, report)
            card = model_card(quine, verification, quine.solution, missing=_missing(config))
            (folder / CARD).write_text(card, encoding="utf-8")
            if metrics is not None:
                shutil.copyfile(metrics, folder / METRICS)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise QuineFileError(f"cannot write {target}: {reason}") from error
    return verification


def push(quine: Quine, repo_id: str, *, private: bool | None, token: str | None, message: str) -> str:
    """Save a quine and upload its folder to a repository of the Hugging Face Hub; returns the address of the commit.

    Raises:
        BadOption: the repository is not named as ``owner/name``.
        NeuralQuineError: the Hub refuses the files, or cannot be reached.
    """
    check_repository(repo_id)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "quine"
        save(quine, folder)
        return upload(folder, repo_id, private=private, token=token, message=message)


def check_target(path: str | Path) -> Path:
    """Refuse a place that :func:`save` would refuse, before hours are spent on what is to be saved."""
    target = Path(path)
    foreign = sorted(f.name for f in target.iterdir() if f.name not in _OURS) if target.is_dir() else []
    if foreign:
        raise QuineFileError(f"{target} holds files that are not a quine's ({foreign[0]}): choose another folder")
    if target.exists() and not target.is_dir():
        raise QuineFileError(f"{target} is a file: choose a folder")
    return target


def load(path: str | Path, *, trunk: nn.Module | None = None, select: Callable[[Any], Tensor] | None = None) -> Quine:
    """Read a quine back, bit for bit.

    Args:
        path: a folder written by :func:`save`, or one on the Hugging Face Hub: ``hf:owner/name[@revision]`` (extra ``hub``).
        trunk: the module, where the file could not describe it; its weights are replaced by the stored ones.
        select: the function that says what is read of the trunk's output, where the quine was made with one.

    Raises:
        QuineFileError: missing, truncated, altered or foreign files, in one line.
    """
    folder = download(path) if is_address(path) else Path(path)
    config = read_config(folder)
    if (config["select"] == FUNCTION) != (select is not None):
        raise QuineFileError(
            f"{folder} was made with a function as select=: pass the same to nq.load"
            if select is None
            else f"{folder} says itself what is read of its trunk's output: leave select= out"
        )
    try:
        return _assemble(folder, config | ({"select": select} if select else {}), trunk)
    except QuineFileError:
        raise
    except NeuralQuineError as error:
        raise QuineFileError(f"{folder} holds no usable quine: {error}") from error


# -- writing --------------------------------------------------------------------------------------------------------


def _config(quine: Quine) -> dict[str, Any]:
    spec = describe(quine.trunk)
    if spec is not None and not _rebuilds(quine, spec):
        spec = None
    names = list(quine.inputs) if isinstance(quine.inputs, Mapping) else len(quine.inputs)
    return {
        "format": FORMAT,
        "neuralquine": __version__,
        "library_name": "neuralquine",
        "parameters": quine.parameter_count,
        "dtype": str(quine.dtype).removeprefix("torch."),
        "trunk": spec,
        "tensors": [[name, list(p.shape)] for name, p in quine.named_weights()],
        "kept": [] if quine.print_frozen else [n for n, p in quine.trunk.named_parameters() if not p.requires_grad],
        "trunk_class": f"{type(quine.trunk).__module__}.{type(quine.trunk).__qualname__}",
        "probe": 0 if _named_queries(quine) else names,
        "queries": (quine.queries or "table") if isinstance(quine, QueryQuine) else None,
        "width": quine.width if isinstance(quine, QueryQuine) else None,
        "scale": quine.scale if isinstance(quine, QueryQuine) else 1.0,
        "tape": {"kind": quine.kind, "repeats": quine.repeats} if isinstance(quine, TaskQuine) else None,
        "code_size": quine.code_size,
        "code_bits": quine.code_bits,
        "seed": quine.seed,
        "normalize": quine.normalize,
        "eps": quine.eps,
        "skip": quine.skip,
        "expansion": quine.expansion,
        "means": quine.means,
        "gains": quine.gains,
        "select": FUNCTION if callable(quine.select) else quine.select,
        "recipe": {k: _plain(v) for k, v in quine.recipe.items()} if quine.recipe else None,
    }


def _plain(value: Any) -> Any:
    return str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else value


def _named_queries(quine: Quine) -> bool:
    """Whether the inputs are a query table that is made again from its name, its width and the seed."""
    return isinstance(quine, QueryQuine) and quine.queries is not None


def _missing(config: dict[str, Any]) -> list[str]:
    """What :func:`load` must be given beside the folder."""
    own = config["trunk"] is None and not config["recipe"]
    return [name for name, absent in (("trunk", own), ("select", config["select"] == FUNCTION)) if absent]


def _rebuilds(quine: Quine, spec: dict[str, Any]) -> bool:
    """Whether the described module prints the same bits: hooks, parametrizations and the like do not survive."""
    try:
        twin = build(spec).to(quine.trunk_device, quine.dtype).eval()
        if [n for n, _ in twin.named_parameters()] != [n for n, _ in quine.trunk.named_parameters()]:
            return False  # shared weights: a description does not say which
        twin.load_state_dict(quine.trunk.state_dict())
        original, quine.trunk = quine.trunk, twin
        try:
            with torch.no_grad():
                copied = quine.code(quine.theta)
        finally:
            quine.trunk = original
        with torch.no_grad():
            return not bool(differing(copied, quine.code(quine.theta)).any())
    except (QuineFileError, RuntimeError):
        return False


def _tensors(quine: Quine) -> dict[str, Tensor]:
    """Weights (shared ones once), persistent buffers and the probe, by name."""
    weights = {f"trunk.{n}": p.detach().contiguous().cpu() for n, p in quine.trunk.named_parameters()}
    parameters = {n for n, _ in quine.trunk.named_parameters(remove_duplicate=False)}
    state = quine.trunk.state_dict()
    buffers = {
        f"trunk.{n}": b.contiguous().cpu() for n, b in state.items() if n not in parameters and isinstance(b, Tensor)
    }
    if _named_queries(quine):
        return weights | buffers
    inputs = quine.inputs.items() if isinstance(quine.inputs, Mapping) else enumerate(quine.inputs)
    return weights | buffers | {f"probe.{name}": t.contiguous().cpu() for name, t in inputs}


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")


# -- reading --------------------------------------------------------------------------------------------------------


def _assemble(folder: Path, config: dict[str, Any], trunk: nn.Module | None) -> Quine:
    weights = folder / WEIGHTS
    options = {key: config[key] for key in _OPTIONS}
    options["scales"] = (config["means"], config["gains"])
    own_recipe = trunk is None and config["trunk"] is None
    with torch.device("meta"):
        shell = trunk or (_of_recipe(folder, config) if own_recipe else build(config["trunk"]))
    with safe_open(weights, framework="pt") as file:
        header = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        shapes = {name: tuple(piece.get_shape()) for name, piece in header.items()}
        wanted = _expected_shapes(shell)
        found = {name.removeprefix("trunk."): shape for name, shape in shapes.items() if name.startswith("trunk.")}
        if config["tensors"] != [[n, list(p.shape)] for n, p in shell.named_parameters() if n not in config["kept"]]:
            raise QuineFileError(f"{folder / CONFIG} lists other weights than its trunk has")
        if found != wanted:
            odd = next(iter(set(found.items()) ^ set(wanted.items())))[0]
            raise QuineFileError(f"{weights} does not fit its trunk: {odd} has another shape or is missing")
        tensors = {name: file.get_tensor(name) for name in shapes}
    bad = next((n for n, t in tensors.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())), None)
    if bad is not None:
        raise QuineFileError(f"{weights} holds NaN or infinity in {bad}")
    state = {name.removeprefix("trunk."): t for name, t in tensors.items() if name.startswith("trunk.")}
    probe = _probe(config, tensors, weights)
    del tensors
    if own_recipe:  # its sizes are known to fit; made anew for the buffers that no file holds
        with parameters_on_meta():
            shell = _of_recipe(folder, config)
    elif trunk is not None:
        shell = deepcopy(trunk).to(getattr(torch, config["dtype"]))
    _assign(shell, state)
    for name, parameter in shell.named_parameters():
        parameter.requires_grad_(name not in config["kept"])
    options["print_frozen"] = not config["kept"]
    dtype = getattr(torch, config["dtype"])
    if config["tape"] is not None:
        quine: Quine = _taped(shell, probe, dtype, config, options, folder)
    elif config["queries"] is None:
        quine = Quine(shell, probe, dtype=dtype, copy=False, **options)
    else:
        quine = _queried(shell, probe, dtype, config, options, folder)
    quine.recipe = config["recipe"]
    return quine


def _queried(
    shell: nn.Module,
    probe: dict[str, Tensor] | tuple[Tensor, ...],
    dtype: torch.dtype,
    config: dict[str, Any],
    options: dict[str, Any],
    folder: Path,
) -> QueryQuine:
    kept = {key: options[key] for key in ("seed", "scales", "select", "print_frozen")}
    own = config["queries"] == "table"
    if own != (len(probe) == 1) or not isinstance(probe, tuple):
        raise QuineFileError(f"{folder} holds {len(probe)} probes for its queries")
    queries = probe[0] if own else config["queries"]
    shape = {} if own else {"width": config["width"], "scale": config["scale"]}
    quine = QueryQuine(shell, queries, dtype=dtype, copy=False, **shape, **kept)
    if quine.code_size != config["code_size"]:
        raise QuineFileError(f"{folder} has a malformed 'code_size'")
    return quine


def _taped(
    shell: nn.Module,
    probe: dict[str, Tensor] | tuple[Tensor, ...],
    dtype: torch.dtype,
    config: dict[str, Any],
    options: dict[str, Any],
    folder: Path,
) -> TaskQuine:
    if not isinstance(shell, Taped):
        raise QuineFileError(f"{folder} has a tape, and its trunk has none")
    if len(probe) != 1 or not isinstance(probe, tuple):
        raise QuineFileError(f"{folder} holds {len(probe)} probes, a task quine has one")
    kept = {key: options[key] for key in ("seed", "scales", "code_size")}
    kind = {family.kind: family for family in (TaskQuine, BiasTapeQuine)}[config["tape"]["kind"]]
    return kind(shell, probe[0], dtype=dtype, repeats=config["tape"]["repeats"], copy=False, **kept)


def _of_recipe(folder: Path, config: dict[str, Any]) -> nn.Module:
    """The trunk of a recipe of ours, where the file holds a module that it cannot describe."""
    made = config["recipe"] or {}
    name, seed = made.get("name"), made.get("seed")
    if name not in RECIPES or not isinstance(seed, int):
        kind = config["trunk_class"].rpartition(".")[2][:80]
        raise QuineFileError(
            f"{folder} holds a {kind}, which no file can describe: pass trunk= to load (--trunk on the command line)"
        )
    try:
        return problem(name, seed=seed, **{k: v for k, v in made.items() if k not in ("name", "seed")}).trunk
    except NeuralQuineError:
        raise
    except Exception as error:  # whatever a model library says of forged options
        raise QuineFileError(f"{folder} names a recipe that does not build: {first_line(error)}") from error


def _assign(shell: nn.Module, state: dict[str, Tensor]) -> None:
    """Put the stored tensors in; a large one stays where its file is mapped, and shared ones stay shared."""
    # Small ones are copied: in the file they lie at odd addresses, where sums may round differently.
    state = {name: t if t.numel() > _MAPPED else t.clone() for name, t in state.items()}
    tensors = dict(shell.named_parameters()) | dict(shell.named_buffers())
    if not any(t.is_meta for t in tensors.values()):
        with torch.no_grad():
            for name in tensors.keys() & state.keys():
                tensors[name].copy_(state[name])
    elif len(tensors) == len(dict(shell.named_parameters(remove_duplicate=False))) + len(dict(shell.named_buffers())):
        shell.load_state_dict(state, assign=True, strict=False)
    else:
        for name in tensors.keys() & state.keys():
            held = nn.Parameter(state[name]) if isinstance(tensors[name], nn.Parameter) else state[name]
            torch.utils.swap_tensors(tensors[name], held)


def _expected_shapes(shell: nn.Module) -> dict[str, tuple[int, ...]]:
    shared = {n for n, _ in shell.named_parameters(remove_duplicate=False)} - {n for n, _ in shell.named_parameters()}
    return {n: tuple(t.shape) for n, t in shell.state_dict().items() if n not in shared and isinstance(t, Tensor)}


def _probe_names(config: dict[str, Any]) -> list[str]:
    return config["probe"] if isinstance(config["probe"], list) else [str(i) for i in range(config["probe"])]


def _probe(config: dict[str, Any], tensors: dict[str, Tensor], where: Path) -> dict[str, Tensor] | tuple[Tensor, ...]:
    names = _probe_names(config)
    missing = [n for n in names if f"probe.{n}" not in tensors]
    if missing:
        raise QuineFileError(f"{where} lacks the probe {missing[0]!r}")
    values = [tensors[f"probe.{n}"] for n in names]
    return dict(zip(names, values, strict=True)) if isinstance(config["probe"], list) else tuple(values)


# -- what was said when it was saved --------------------------------------------------------------------------------


def saved_trace(folder: Path) -> list[dict[str, Any]]:
    """The search's trace, for drawing; empty if there is none or it is malformed."""
    solve = _read_report(folder).get("solve")
    trace = solve.get("trace") if isinstance(solve, dict) else None
    keys = ("step", "seconds", "relative_residual")
    points = trace if isinstance(trace, list) else []
    return [p for p in points if isinstance(p, dict) and all(isinstance(p.get(k), int | float) for k in keys)]


def false_claims(folder: Path, verification: Verification) -> list[str]:
    """Claims of ``solution.json`` that the recomputed figures deny."""
    claimed = _read_report(folder).get("verification")
    if not isinstance(claimed, dict):
        return []
    found = verification.figures()
    words = ("is_quine", "converged", "bit_exact", "portable", "proved")
    lies = [f"{w} is claimed, and is not so" for w in words if claimed.get(w) is True and found[w] is not True]
    said, seen = claimed.get("relative_residual"), verification.relative_residual
    if isinstance(said, int | float) and seen > 10 * max(said, 1e-15):
        lies.append(f"relative residual {said:.1e} is claimed, {seen:.1e} is found")
    return lies


def _read_report(folder: Path) -> dict[str, Any]:
    return read_json(folder / SOLUTION) if (folder / SOLUTION).exists() else {}
