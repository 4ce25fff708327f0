"""Does the recipe that a quine names make again everything that stands outside of its weights?

Then nothing stands there but the recipe's name, its seed and options, and the grid that a search put the code on. The name
is a file's word and is never believed: the recipe is built, and all of it is compared, bit for bit. It must be one of this
package's, because somebody else's function may hold any numbers itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..files.strict_json import canonical
from ..quines.networks.cost import Allowance, counted_parameters
from ..quines.networks.description import describe
from ..quines.networks.running import named
from ..quines.quine import Quine
from ..recipes import RECIPES, problem, recipe
from .outside import module_tree, outside_numbers

SOUGHT = (
    "code_bits",
    "code_phase",
)  # settings that a search finds and no recipe says: these are counted, and not compared
_LARGEST = 1 << 24  # weights up to which a recipe is built again, which takes a second at most
_SEEDS = 1 << 63  # as torch takes them


def options_of_recipe(quine: Quine) -> dict[str, Any] | None:
    """The options of the recipe that makes again all that stands outside of a quine's weights; None where none does."""
    said = quine.recipe if isinstance(quine.recipe, dict) else {}
    name, seed = said.get("name"), said.get("seed")
    options = {key: value for key, value in said.items() if key not in ("name", "seed")}
    if not isinstance(name, str) or type(seed) is not int or not 0 <= seed < _SEEDS or not _ours(name):
        return None
    if quine.parameter_count > _LARGEST:
        return None
    try:
        if not _fits(quine, name, seed, options):
            return None
        made = recipe(name, seed=seed, **options)
        return options if _same(quine, made) else None
    except Exception:  # whatever a library of models says of forged options
        return None


def _ours(name: str) -> bool:
    """Whether a recipe is a function of this package."""
    make: Any = getattr(RECIPES.get(name), "__wrapped__", None)
    home = str(getattr(make, "__module__", ""))
    ours = home.partition(".")[0] == __name__.partition(".")[0]
    return ours and getattr(sys.modules.get(home), make.__qualname__, None) is make


def _fits(quine: Quine, name: str, seed: int, options: dict[str, Any]) -> bool:
    """Whether a recipe has the quine's sizes, found without taking memory for them."""
    parameters = dict(quine.trunk.named_parameters())
    size = sum(p.numel() * p.element_size() for p in parameters.values())
    with torch.device("meta"), counted_parameters(Allowance.of(size, len(parameters))):
        made = problem(name, seed=seed, **options)
    shapes = {key: p.shape for key, p in made.trunk.named_parameters()}
    return shapes == {key: p.shape for key, p in parameters.items()} and (
        made.queries is not None or made.options.get("code_size") == quine.code_size
    )


def _same(quine: Quine, made: Quine) -> bool:
    """Whether two quines have the same bits everywhere but in the weights that are printed."""
    settings = [{k: v for k, v in q.settings().items() if k not in SOUGHT} for q in (quine, made)]
    plain = [
        (type(q), type(q.trunk), q.dtype, q.select, q.print_frozen, [n for n, _ in q.named_weights()])
        for q in (quine, made)
    ]
    if canonical(settings[0]) != canonical(settings[1]) or plain[0] != plain[1]:
        return False
    spec = describe(quine.trunk)
    if spec != describe(made.trunk) or not _equal(named(quine.inputs), named(made.inputs)):
        return False
    if not _equal(*(dict(_unprinted(q)) for q in (quine, made))):
        return False
    return spec is not None or all(
        a == b and _bits(s, t) for (a, s), (b, t) in zip(outside_numbers(quine), outside_numbers(made), strict=True)
    )


def _unprinted(quine: Quine) -> Iterator[tuple[str, Tensor]]:
    """Buffers, and parameters that are not printed."""
    printed = {id(p) for p in quine.weights}
    for name, module in module_tree(quine.trunk):
        for key, tensor in {**vars(module)["_buffers"], **vars(module)["_parameters"]}.items():
            if tensor is not None and id(tensor) not in printed:
                yield f"{name}.{key}", tensor


def _equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return list(a) == list(b) and all(_bits(a[name], b[name]) for name in a)


def _bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are the same numbers in every bit."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    flat = [t.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for t in (a, b)]
    return torch.equal(*flat)
