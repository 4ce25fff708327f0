"""Keeping a quine as a folder: weights, configuration, figures and a model card.

    model.safetensors   the weights, buffers and probe; its one metadata key holds the configuration once more
    config.json         what is needed to run it, and the SHA-256 of model.safetensors
    solution.json       the figures of the solver and of the verification at saving (never believed on reading)
    README.md           the model card
    metrics.jsonl       the figures that the search or the training logged, if it did

Files are untrusted. Nothing is unpickled or imported, names and shapes are compared with the file's header before
memory is taken, the two configurations must agree and the hash must fit. A folder is written beside its place and
moved there in one step.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from ..checking.verify import Verification, verify
from ..errors import NeuralQuineError, QuineFileError, first_line
from ..files.atomic import replace_folder
from ..files.folder import FORMAT, FUNCTION, METADATA_KEY, read_config, sha256
from ..files.names import CARD, CERTIFICATE, CONFIG, METRICS, SOLUTION, WEIGHTS
from ..files.strict_json import canonical
from ..quines.networks.description import build, describe, same_settings, undescribed
from ..quines.networks.models import built_model, described_model, is_model
from ..quines.networks.running import named
from ..quines.networks.taking import stored_tensors
from ..quines.quine import Quine
from ..version import __version__
from .card import missing_arguments, model_card
from .dress import dress
from .examples import located
from .hub import check_repository, download, is_address, require_token, upload
from .hurried import verified_within
from .rebuild import rebuilt

_OURS = {WEIGHTS, CONFIG, SOLUTION, CARD, METRICS, "figures", CERTIFICATE}
_FIRST_HOMES = {
    "neuralquine.quines.networks.bodies": "neuralquine.bodies",
    "neuralquine.quines.networks.causal": "neuralquine.causal",
    "neuralquine.quines.networks.normalize": "neuralquine.printers.normalize",
    "neuralquine.quines.networks.sequence": "neuralquine.printers.sequence",
}
_ABSENT = {"queries": None, "width": None, "scale": 1.0, "tape": None}  # settings that not every kind has
_DESCRIBED = 1 << 27  # weights of a model up to which another one is built, to see that its description is whole
_NAMED = 200  # characters of the place and class of a layer that is not described
_KINDS = ("coded", "queried", "signs", "bias")  # kinds of format 1, known by their settings


def save(
    quine: Quine,
    path: str | Path,
    *,
    metrics: Path | None = None,
    test_accuracy: float | None = None,
    within: float | None = None,
) -> Verification:
    """Write a quine, or the best iterate of a failed search, to a folder.

    Args:
        quine: the network; it is verified afresh, and the figures go into the model card.
        path: a new folder, or one that holds an older quine, which is replaced in one step.
        metrics: a file of figures that were logged, to be copied into the folder as ``metrics.jsonl``.
        within: seconds that the verification may take, for a search with a time limit; what there is no time for is not
            examined, and the card says so. By default it takes the time that it needs.
        test_accuracy: the share of test examples that a network which has learned a task answers rightly, for the card.

    Returns:
        The verification that the model card shows.

    Raises:
        QuineFileError: the folder holds files of other origin, or cannot be written.
    """
    target = check_target(path)
    config = _config(quine)
    verification = verify(quine) if within is None else verified_within(quine, within)
    report: dict[str, Any] = {"verification": verification.figures(), "solve": None}
    if test_accuracy is not None:
        report["test_accuracy"] = float(test_accuracy)
    if quine.solution is not None:
        report["solve"] = quine.solution.figures() | {
            "environment": quine.solution.environment,
            "trace": [point.figures() for point in quine.solution.trace],
        }
    try:
        with replace_folder(target) as folder:
            weights = folder / WEIGHTS
            save_file(_tensors(quine), weights, metadata={METADATA_KEY: canonical(config)})
            _write_json(folder / CONFIG, config | {"weights_sha256": sha256(weights)})
            _write_json(folder / SOLUTION, report)
            missing = missing_arguments(config)
            card = model_card(quine, verification, quine.solution, missing=missing, test_accuracy=test_accuracy)
            (folder / CARD).write_text(card, encoding="utf-8")
            _keep_certificate(target, folder)
            if metrics is not None:
                shutil.copyfile(metrics, folder / METRICS)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise QuineFileError(f"cannot write {target}: {reason}") from error
    return verification


def push(quine: Quine, repo_id: str, *, private: bool | None, token: str | None, message: str) -> str:
    """Save a quine and upload its folder to a repository of the Hugging Face Hub; returns the address of the commit.

    Raises:
        BadOption: the repository is not named as ``owner/name``.
        NeuralQuineError: there is no token, or the Hub refuses the files or cannot be reached.
    """
    check_repository(repo_id)
    require_token(token)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "quine"
        dress(folder, quine, save(quine, folder), search=quine.solution, repo_id=repo_id, license=None)
        return upload(folder, repo_id, private=private, token=token, message=message)


def check_target(path: str | Path) -> Path:
    """Refuse a place that :func:`save` would refuse, before hours are spent on what is to be saved."""
    target = Path(path)
    foreign = sorted(f.name for f in target.iterdir() if f.name not in _OURS) if target.is_dir() else []
    if foreign:
        raise QuineFileError(f"{target} holds files that are not a quine's ({foreign[0]}): choose another folder")
    there = Path(os.path.realpath(target))
    if os.path.lexists(there) and not there.is_dir():  # a file, a pipe, a link that leads in a circle
        raise QuineFileError(f"{target} is a file: choose a folder")
    if target.suffix == Path(WEIGHTS).suffix and not there.exists():
        raise QuineFileError(
            f"{target} is the name of a file, and a quine is kept in a folder: name one, such as {target.stem}/"
        )
    _check_place(target, there.parent)
    return target


def _check_place(target: Path, place: Path) -> None:
    """Refuse a target beside which no folder can be made: permissions are asked of the system by making one."""
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    try:
        os.rmdir(tempfile.mkdtemp(prefix=f".{target.name[:40]}.asked-", dir=place))
    except OSError as error:
        raise QuineFileError(f"cannot write {target}: {place}: {error.strerror or first_line(error)}") from error


def load(path: str | Path, *, trunk: nn.Module | None = None, select: Callable[[Any], Tensor] | None = None) -> Quine:
    """Read a quine back, bit for bit.

    Args:
        path: a folder written by :func:`save`; one on the Hugging Face Hub, ``hf:owner/name[@revision]`` (extra ``hub``);
            or one that is installed with the package, such as ``example:blog-exact``.
        trunk: the module, where the file could not describe it; its weights are replaced by the stored ones.
        select: the function that says what is read of the trunk's output, where the quine was made with one.

    Raises:
        QuineFileError: files are missing, truncated, altered or foreign; the message is one line.
        UnknownName: no such quine is installed; the message lists those that are.
    """
    folder = download(path) if is_address(path) else located(path)
    try:
        return _load(folder, trunk, select)
    except QuineFileError:
        raise
    except NeuralQuineError as error:
        raise QuineFileError(f"{folder} holds no usable quine: {error}") from error
    except Exception as error:  # no memory, no permission, a name too long, or what no check here has foreseen
        raise QuineFileError(f"{folder} cannot be read: {first_line(error)}") from error


def _load(folder: Path, trunk: nn.Module | None, select: Callable[[Any], Tensor] | None) -> Quine:
    config = read_config(folder)
    if (config["select"] == FUNCTION) != (select is not None):
        raise QuineFileError(
            f"{folder} was made with a function as select=: pass the same to nq.load"
            if select is None
            else f"{folder} says itself what is read of its trunk's output: leave select= out"
        )
    return rebuilt(folder, config | ({"select": select} if select else {}), trunk)


def load_pretrained(
    path: str | PathLike[str], *, trunk: nn.Module | None, revision: str | None, token: str | None
) -> Quine:
    """:func:`load` under the Hub's conventions: a folder that is there, or ``owner/name`` on the Hub."""
    folder = Path(path)
    return load(folder if folder.is_dir() else download(str(path), revision=revision, token=token), trunk=trunk)


# -- what is written --------------------------------------------------------------------------------------------------


def _config(quine: Quine) -> dict[str, Any]:
    spec = describe(quine.trunk)
    if spec is None and quine.recipe is None and quine.parameter_count <= _DESCRIBED:
        spec = described_model(quine.trunk)  # a recipe says itself which one it is
    if spec is not None and not _rebuilds(quine, spec):
        spec = None
    stored = quine.stored_inputs()
    settings = _ABSENT | quine.settings() | ({} if quine.kind in _KINDS else {"kind": quine.kind})
    strange = undescribed(quine.trunk) if spec is None else None
    settings |= {"undescribed": strange[:_NAMED]} if strange is not None and strange[:_NAMED].isprintable() else {}
    return {
        "format": FORMAT,
        "neuralquine": __version__,
        "library_name": "neuralquine",
        "parameters": quine.parameter_count,
        "dtype": quine.dtype_name,
        "trunk": spec,
        "tensors": [[name, list(p.shape)] for name, p in quine.named_weights()],
        "kept": [] if quine.print_frozen else [n for n, p in quine.trunk.named_parameters() if not p.requires_grad],
        "trunk_class": _class_of(quine.trunk),
        "probe": list(stored) if isinstance(stored, Mapping) else len(stored),
        "select": FUNCTION if callable(quine.select) else quine.select,
        "recipe": {k: _plain(v) for k, v in quine.recipe.items()} if quine.recipe else None,
        **settings,
    }


def _class_of(trunk: nn.Module) -> str:
    """The name of the trunk's class; classes of this package keep the name they had when the format was made."""
    cls = type(trunk)
    return f"{_FIRST_HOMES.get(cls.__module__, cls.__module__)}.{cls.__qualname__}"


def _plain(value: Any) -> Any:
    return str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else value


def _rebuilds(quine: Quine, spec: dict[str, Any]) -> bool:
    """Whether the described module prints the same bits: hooks, parametrizations and the like do not survive."""
    try:
        twin = (built_model(spec) if is_model(spec) else build(spec)).to(quine.trunk_device, quine.dtype).eval()
        if [n for n, _ in twin.named_parameters()] != [n for n, _ in quine.trunk.named_parameters()]:
            return False  # a description does not say which weights are shared
        if not same_settings(twin, quine.trunk):
            return False
        twin.load_state_dict(quine.trunk.state_dict())
        for copied, original in zip(twin.parameters(), quine.trunk.parameters(), strict=True):
            copied.requires_grad_(original.requires_grad)  # what is frozen may not be printed
        return quine.answers_as(twin)
    except (NeuralQuineError, RuntimeError):
        return False


def _tensors(quine: Quine) -> dict[str, Tensor]:
    """Weights (shared ones once), persistent buffers, extra states and the probe, by name."""
    tensors = {f"trunk.{name}": t for name, t in stored_tensors(quine.trunk).items()}
    tensors |= {f"probe.{name}": t for name, t in named(quine.stored_inputs()).items()}
    written: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():  # a file holds each by itself, also where they share memory
        tensor = tensor.contiguous().cpu()
        place = tensor.untyped_storage().data_ptr()
        written[name] = tensor.clone() if place in taken else tensor
        taken.add(place)
    return written


def _keep_certificate(target: Path, folder: Path) -> None:
    """Take the certificate along if it is of the very weights that are written again; no other holds for them."""
    old = target / WEIGHTS
    if (target / CERTIFICATE).is_file() and old.is_file() and sha256(old) == sha256(folder / WEIGHTS):
        shutil.copyfile(target / CERTIFICATE, folder / CERTIFICATE)


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
