"""Making a quine of a folder's files, which are untrusted: names and shapes are compared before memory is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from ..errors import NeuralQuineError, QuineFileError, first_line
from ..files.folder import kind_of
from ..files.names import CONFIG, WEIGHTS
from ..quines.bits import all_finite
from ..quines.kinds import KINDS, Quine
from ..quines.networks.cost import Allowance, counted_parameters
from ..quines.networks.description import build, parameters_on_meta
from ..quines.networks.models import built_model, is_model
from ..quines.networks.running import Inputs
from ..quines.networks.taking import copied, in_type, restore_extra_states, stored_tensors
from ..quines.trunk import modular
from ..recipes import RECIPES, problem
from .reckoned import FLOATS, INTEGERS, Header, check_cost

_MAPPED = 1 << 20  # numbers in a tensor above which it stays where the file is mapped


def rebuilt(folder: Path, config: dict[str, Any], trunk: nn.Module | None) -> Quine:
    """The quine of a folder.

    Args:
        folder: holds the weights.
        config: its checked configuration, with the user's own ``select`` where it was made with one.
        trunk: the user's module, where the file could not describe it.

    Raises:
        NeuralQuineError: the files do not fit each other, or make no quine.
    """
    if trunk is not None:
        trunk = modular(trunk)
    kind = KINDS.get(kind_of(config))
    if kind is None:
        raise QuineFileError(f"{folder} holds a quine of kind {kind_of(config)[:40]!r}, which nobody registered")
    of_recipe, of_model = trunk is None and config["trunk"] is None, trunk is None and is_model(config["trunk"])

    def made() -> nn.Module:
        if of_recipe:
            return _of_recipe(folder, config)
        return built_model(config["trunk"]) if of_model else build(config["trunk"])

    header = Header.of(folder / WEIGHTS)
    allowance = Allowance.of(header.weights, len(header.shapes))
    with torch.device("meta"), counted_parameters(allowance):
        shell = trunk or made()
    _check_shapes(folder, config, shell, header)
    check_cost(config, shell, header, allowance, own=trunk is not None)
    tensors = _read(folder / WEIGHTS, header, {f"trunk.{name}" for name, _ in shell.named_parameters()})
    state = {name.removeprefix("trunk."): t for name, t in tensors.items() if name.startswith("trunk.")}
    probe = _probe(config, tensors)
    del tensors
    dtype = getattr(torch, config["dtype"])
    if of_recipe or of_model:  # its sizes are known to fit; made anew for the buffers that no file holds
        with parameters_on_meta():
            shell = made()
    elif trunk is not None:
        shell = in_type(copied(trunk), dtype)
    _assign(shell, state)
    restore_extra_states(shell, state)
    for name, parameter in shell.named_parameters():
        parameter.requires_grad_(name not in config["kept"])
    options = {"dtype": dtype, "select": config["select"], "print_frozen": not config["kept"]}
    try:
        quine = kind.rebuilt(shell, probe, config, **options)
    except NeuralQuineError as error:
        raise QuineFileError(f"{folder} holds no usable quine: {error}") from error
    except Exception as error:  # whatever torch says of numbers that do not go together
        raise QuineFileError(f"{folder} holds no usable quine: {first_line(error)}") from error
    quine.recipe = config["recipe"]
    return quine


def _check_shapes(folder: Path, config: dict[str, Any], shell: nn.Module, header: Header) -> None:
    """Refuse weights that are not those of the shell, before any of them is read."""
    weights, wanted = folder / WEIGHTS, _expected(shell)
    if config["tensors"] != [[n, list(p.shape)] for n, p in shell.named_parameters() if n not in config["kept"]]:
        raise QuineFileError(f"{folder / CONFIG} lists other weights than its trunk has")
    parameters = {n for n, _ in shell.named_parameters()}
    if not {*config["kept"]} <= parameters:
        raise QuineFileError(f"{folder / CONFIG} keeps weights that its trunk does not have")
    found = {name.removeprefix("trunk."): s for name, s in header.shapes.items() if name.startswith("trunk.")}
    shapes = {name: tuple(t.shape) for name, t in wanted.items()}
    if found != shapes:
        odd = next(iter(set(found.items()) ^ set(shapes.items())))[0]
        raise QuineFileError(f"{weights} does not fit its trunk: {odd} has another shape or is missing")
    for name, tensor in wanted.items():
        kind = header.types[f"trunk.{name}"]
        fits = kind in (FLOATS.values() if tensor.is_floating_point() else INTEGERS)
        if not fits or (name in parameters and kind != FLOATS[config["dtype"]]):
            raise QuineFileError(f"{weights} holds {name} as {kind}")
    for name in _probe_names(config):
        if header.types.get(f"probe.{name}", "F64") not in (*FLOATS.values(), *INTEGERS):
            raise QuineFileError(f"{weights} holds the probe {name!r} as {header.types[f'probe.{name}']}")
    _check_probe(config, header, weights)


def _read(weights: Path, header: Header, printed: set[str]) -> dict[str, Tensor]:
    """The tensors of the weights file, if those that are weights are numbers."""
    with safe_open(weights, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in header.shapes}
    weights_of = (n for n in tensors if n in printed)  # a mask among the buffers and probes may hold infinity
    bad = next((n for n in weights_of if not all_finite(tensors[n])), None)
    if bad is not None:
        raise QuineFileError(f"{weights} holds NaN or infinity in {bad}")
    return tensors


def _of_recipe(folder: Path, config: dict[str, Any]) -> nn.Module:
    """The trunk of one of this package's recipes, where the file cannot describe its module."""
    made = config["recipe"] or {}
    name, seed = made.get("name"), made.get("seed")
    if name not in RECIPES or type(seed) is not int or not 0 <= seed < 2**63:
        kind = config["trunk_class"].rpartition(".")[2][:80]
        if "undescribed" in config:
            kind += f" with {config['undescribed'].rpartition(': ')[2]}"
        raise QuineFileError(
            f"{folder} holds a {kind}, which no file can describe: pass trunk= to load (--trunk on the command line)"
        )
    try:
        return problem(name, seed=seed, **{k: v for k, v in made.items() if k not in ("name", "seed")}).trunk
    except NeuralQuineError as error:
        raise QuineFileError(f"{folder} names a recipe that does not build: {error}") from error
    except Exception as error:  # whatever a model library says of forged options
        raise QuineFileError(f"{folder} names a recipe that does not build: {first_line(error)}") from error


def _assign(shell: nn.Module, state: dict[str, Tensor]) -> None:
    """Put the stored tensors in; a large one stays where its file is mapped, and shared ones stay shared."""
    # Small ones are copied: in the file they lie at odd addresses, where sums may round differently.
    state = {name: t if t.numel() > _MAPPED else t.clone() for name, t in state.items()}
    tensors = dict(shell.named_parameters()) | dict(shell.named_buffers(remove_duplicate=False))
    if not any(t.is_meta for t in tensors.values()):
        with torch.no_grad():
            for name in tensors.keys() & state.keys():
                held = tensors[name]
                (torch.view_as_real(held) if held.is_complex() else held).copy_(state[name])
    elif len(dict(shell.named_parameters())) == len(dict(shell.named_parameters(remove_duplicate=False))):
        shell.load_state_dict(state, assign=True, strict=False)
    else:
        for name in tensors.keys() & state.keys():
            held = nn.Parameter(state[name]) if isinstance(tensors[name], nn.Parameter) else state[name]
            torch.utils.swap_tensors(tensors[name], held)


def _expected(shell: nn.Module) -> dict[str, Tensor]:
    """The tensors that a file of this module holds, shared ones once."""
    return stored_tensors(shell)


def _probe_names(config: dict[str, Any]) -> list[str]:
    return config["probe"] if isinstance(config["probe"], list) else [str(i) for i in range(config["probe"])]


def _check_probe(config: dict[str, Any], header: Header, where: Path) -> None:
    missing = [n for n in _probe_names(config) if f"probe.{n}" not in header.shapes]
    if missing:
        raise QuineFileError(f"{where} lacks the probe {missing[0]!r}")


def _probe(config: dict[str, Any], tensors: dict[str, Tensor]) -> Inputs:
    names = _probe_names(config)
    values = [tensors[f"probe.{n}"] for n in names]
    return dict(zip(names, values, strict=True)) if isinstance(config["probe"], list) else tuple(values)
