"""Could the answer be stored outside of the weights? Counted: bits that stand outside, and bits that the answer has.

A look-up must hold the answer somewhere. Where fewer bits stand outside of the weights than the answer has, there is no
room for it, whatever the network does with them. What stands outside is counted from above: every number at its full
width, a number that repeats once with the places where it stands, sizes and options in a code that ends by itself. The
answer is counted from below. What a seed makes again, and was compared with what it makes, costs the seed alone; where a
recipe of this package makes everything again, nothing is counted but its name, its seed, its options and the code's grid.

Everything outside is known of a network whose code can be read: torch's own layers and those of this package. Of code that
somebody else wrote, nobody knows all that it reads: there the count is of what was found.
"""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial, singledispatch
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..quines.bias_tape import BiasTapeQuine
from ..quines.itself import SelfQuine
from ..quines.networks.description import build, describe, parameters_on_meta
from ..quines.networks.running import named
from ..quines.printers.tape import sign_images
from ..quines.quine import Quine
from ..quines.tables.philox import Stream, dyadic_gaussian, words
from ..quines.taped import TaskQuine
from .outside import module_tree, outside_numbers
from .remade import SOUGHT, options_of_recipe

_SEED = 64  # bits
_WIDTH = 64  # bits of a number whose width is not known, as Python's floats have it
_CHOICE = 8  # bits of a name or a class: none of the lists that they are chosen from has more than 256 entries
_SORTED = 1 << 22  # numbers of a tensor up to which the distinct ones are counted; above, all at full width
_COPIED = 1 << 24  # weights up to which a twin is built with weights of its own first, which takes a second at most
_NAMED = 8  # places that a sentence lists, the largest first
_READABLE = ("torch", "neuralquine")  # packages whose code is known

Places = list[tuple[str, int]]


@dataclass(frozen=True)
class Count:
    """What stands outside of the weights, and what the answer needs.

    Attributes:
        places: names and bits; of foreign code, those that were found.
        answer: bits of the answer, at least.
        foreign: the network runs code that cannot be read here.
    """

    places: tuple[tuple[str, int], ...]
    answer: int
    foreign: bool


@torch.no_grad()
def count(quine: Quine) -> Count:
    """Count the bits outside of a quine's weights, and those of its answer."""
    foreign = runs_foreign_code(quine)
    recipe = options_of_recipe(quine)
    places = _places(quine, foreign) if recipe is None else _of_recipe(quine, recipe)
    return Count(tuple((name, bits) for name, bits in places if bits), answer_bits(quine), foreign)


def counted(places: tuple[tuple[str, int], ...], answer: int, foreign: bool) -> str:
    """Say in a sentence what a count means."""
    outside = sum(bits for _, bits in places)
    if foreign:
        return f"{outside} bits were found, the answer has {answer}; it ran code that cannot be read: best effort"
    if outside < answer:
        return f"{outside} bits, the answer has {answer}: it cannot be stored there"
    largest = sorted(places, key=lambda place: -place[1])
    named = ", ".join(f"{name}: {bits}" for name, bits in largest[:_NAMED])
    named += f", {len(places) - _NAMED} more" if len(places) > _NAMED else ""
    return f"{outside} bits ({named}), the answer has {answer}: there is room for it"


# -- the answer -----------------------------------------------------------------------------------------------------


@singledispatch
def answer_bits(quine: Quine) -> int:
    """Bits of the code from below: as many for each number as the grid, or the type of the weights, has places."""
    return quine.code_size * (_precision(quine) if quine.code_bits is None else quine.code_bits)


@answer_bits.register
def _(quine: SelfQuine) -> int:
    """Those of the coordinates in the subspace that the module's outputs lie in."""
    return (quine.code_size if quine.subspace is None else quine.subspace.rank) * _precision(quine)


@answer_bits.register
def _(quine: TaskQuine) -> int:
    return quine.code_size  # signs


@answer_bits.register
def _(quine: BiasTapeQuine) -> int:
    return quine.code_size * _precision(quine)


def _precision(quine: Quine) -> int:
    """Bits of the mantissa, 52 in float64."""
    return round(-math.log2(torch.finfo(quine.dtype).eps))


# -- what stands outside --------------------------------------------------------------------------------------------


def _of_recipe(quine: Quine, options: dict[str, Any]) -> Places:
    """What is left where a recipe makes the rest: one of its list, by name, with its options, and what a search found."""
    sought = [(name, _options(value, set())) for name, value in quine.settings().items() if name in SOUGHT]
    return [("recipe", _CHOICE + sum(_CHOICE + _spelled(v) for v in options.values())), ("seed", _SEED), *sought]


def _spelled(value: Any) -> int:
    """Bits of a recipe's option; a text may say anything, but for the name of a type, as which a type comes back."""
    if isinstance(value, str) and isinstance(getattr(torch, value.removeprefix("torch."), None), torch.dtype):
        return _CHOICE
    if isinstance(value, str):
        return _CHOICE * (1 + len(value.encode("utf-8", "surrogatepass")))
    return _CHOICE if isinstance(value, torch.dtype) else _options(value, set())


def _places(quine: Quine, foreign: bool) -> Places:
    """Everything outside, each at its own width."""
    settings = {k: v for k, v in quine.settings().items() if k not in ("seed", "means", "gains")}
    places: Places = [("seed", _SEED), ("settings", _options(settings, set())), *_scales(quine)]
    places.append(("layers and sizes", _plan(quine.trunk, foreign)))
    held = _numbers(quine) if foreign or describe(quine.trunk) is None else _tensors(quine)
    return [*places, *_probe(quine), *held]


def _options(value: Any, floats: set[float]) -> int:
    """Bits of plain data: whole numbers in a code that ends by itself, the same floating-point number once."""
    if value is None or isinstance(value, bool):
        return 2
    if isinstance(value, int):
        return 2 * value.bit_length() + 2
    if isinstance(value, float):
        again = value in floats
        floats.add(value)
        return _CHOICE + (0 if again else _WIDTH)
    if isinstance(value, str):
        return _CHOICE
    parts = value.values() if isinstance(value, Mapping) else value
    return sum(_options(part, floats) for part in parts)


def _plan(trunk: nn.Module, foreign: bool) -> int:
    """Bits of the trunk's layers: their kinds, sizes and options."""
    spec = None if foreign else describe(trunk)
    if spec is not None:
        return _options(spec, set())
    floats: set[float] = set()
    plain = (bool, int, float, str)
    found = (v for _, m in module_tree(trunk) for k, v in vars(m).items() if not k.startswith("_"))
    kinds = sum(_CHOICE for _ in module_tree(trunk))
    return kinds + sum(_options(v, floats) for v in found if type(v) in plain)


def _scales(quine: Quine) -> Places:
    """Means and gains; those of a network that is asked for every weight are printed nowhere, and searches start at them."""
    return [
        (f"{len(scales)} {name}", _distinct(torch.tensor(scales, dtype=torch.float64)))
        for name, scales in (("means", quine.means), ("gains", quine.gains))
    ]


def _probe(quine: Quine) -> Iterator[tuple[str, int]]:
    stored = quine.stored_inputs()
    for name, tensor in named(stored).items():
        shape = _options(list(tensor.shape), set())
        yield f"probe {name}", shape + (0 if _made_again(tensor, quine) else _distinct(tensor))


def _made_again(tensor: Tensor, quine: Quine) -> bool:
    """Whether a probe is one that the quine's seed gives, as recipes and tapes draw them."""
    if tensor.numel() == 0 or tensor.numel() > _SORTED:
        return False
    found = tensor.detach().cpu()
    if not found.is_floating_point():
        tokens = torch.from_numpy(words(quine.seed, Stream.RECIPE_PROBE, 0, found.numel()).astype("int64"))
        kinds = {m.num_embeddings for _, m in module_tree(quine.trunk) if isinstance(m, nn.Embedding)}
        return any(torch.equal((tokens % kind).reshape(found.shape), found) for kind in kinds)
    drawn = torch.from_numpy(dyadic_gaussian(quine.seed, Stream.RECIPE_PROBE, 0, found.numel())).reshape(found.shape)
    return any(torch.equal(t.to(found.dtype), found) for t in (drawn, sign_images(quine.seed, *found.shape)))


def _tensors(quine: Quine) -> Iterator[tuple[str, int]]:
    """Buffers, and parameters that are not printed, of a network in which there are no other numbers."""
    printed = {id(p) for p in quine.weights}
    for name, module in module_tree(quine.trunk):
        for key, tensor in {**vars(module)["_buffers"], **vars(module)["_parameters"]}.items():
            if tensor is not None and id(tensor) not in printed:
                printed.add(id(tensor))
                yield f"{name}.{key}" if name else key, _distinct(tensor.detach())


def _numbers(quine: Quine) -> Iterator[tuple[str, int]]:
    """All numbers that a search through the trunk finds."""
    probes = {f"probe {name}" for name in named(quine.inputs)}
    return ((name, _distinct(values)) for name, values in outside_numbers(quine) if name not in probes)


def _distinct(tensor: Tensor) -> int:
    """Bits of a tensor: each of its distinct numbers once, and which of them stands at each place."""
    size, width = tensor.numel(), tensor.element_size() * 8
    if size == 0 or size > _SORTED or tensor.is_complex():
        return size * width
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    bits = flat.view({1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[flat.element_size()])
    different = len(np.unique(bits.numpy()))
    return min(size * width, different * width + size * math.ceil(math.log2(different)))


# -- whose code is it? ----------------------------------------------------------------------------------------------


def runs_foreign_code(quine: Quine) -> bool:
    """Whether the trunk does anything that the code of torch and of this package does not say.

    A trunk that has a description is built again from it, and must answer with the same bits.
    """
    try:
        modules = [module for _, module in module_tree(quine.trunk)]
        hooks = nn.modules.module
        if callable(quine.select) or hooks._global_forward_hooks or hooks._global_forward_pre_hooks:
            return True
        if not all(_readable(type(module)) for module in modules) or any(map(_altered, modules)):
            return True
        spec = describe(quine.trunk)
        return spec is not None and not _answers_as(quine, spec)
    except Exception:  # whatever a module raises that does not want to be looked at
        return True


def _readable(cls: type) -> bool:
    """Whether a class is torch's or ours: it stands where it says that it stands."""
    home = sys.modules.get(cls.__module__)
    return cls.__module__.partition(".")[0] in _READABLE and getattr(home, cls.__qualname__, None) is cls


def _altered(module: nn.Module) -> bool:
    """Whether a module of a known class does something else than its class: by hooks, or by functions of its own."""
    held = vars(module)
    if held.get("_forward_hooks") or held.get("_forward_pre_hooks"):
        return True
    for name, value in held.items():
        if callable(getattr(type(module), name, None)):
            return True  # a method that was replaced
        foreign = isinstance(value, types.FunctionType) and value.__module__.partition(".")[0] not in _READABLE
        if foreign or isinstance(value, types.MethodType | partial):
            return True
    return False


def _answers_as(quine: Quine, spec: dict[str, Any]) -> bool:
    """Whether the network that a description gives answers with the same bits; it borrows the tensors."""
    room = parameters_on_meta() if quine.parameter_count > _COPIED else nullcontext()
    with torch.random.fork_rng(devices=[]), room:
        twin = build(spec)
    twin.load_state_dict(quine.trunk.state_dict(), assign=True, strict=False)
    twin = twin.to(quine.trunk_device, quine.dtype).eval()
    names: dict[int, str] = {}  # weights that are shared are shared in the twin, which no description says
    for name, parameter in quine.trunk.named_parameters(remove_duplicate=False):
        first = names.setdefault(id(parameter), name)
        owner, _, key = name.rpartition(".")
        setattr(twin.get_submodule(owner), key, twin.get_parameter(first).requires_grad_(parameter.requires_grad))
    return quine.answers_as(twin)
