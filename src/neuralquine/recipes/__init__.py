"""Named problems: ``nq.recipe("blog", seed=7)`` builds one, unsolved. One short file each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from ..errors import UnknownName, did_you_mean
from ..quine import Quine
from . import blog

RECIPES: dict[str, Callable[..., Quine]] = {
    "blog": blog.part2,
    "blog-part1": blog.part1,
}


def recipe(name: str, *, seed: int = 0, **options: Any) -> Quine:
    """A named problem, unsolved.

    Args:
        name: a name from ``neuralquine recipes``.
        seed: of the initial weights, the probe and the projection.
        options: of that recipe.

    Raises:
        UnknownName: no such recipe or option; the message suggests the nearest.
    """
    if name not in RECIPES:
        raise UnknownName(f"no recipe {name!r}: {did_you_mean(name, list(RECIPES))}")
    known = {p.name: p.default for p in inspect.signature(RECIPES[name]).parameters.values() if p.name != "seed"}
    for option, value in options.items():
        if option not in known:
            raise UnknownName(f"recipe {name} has no option {option!r}: {did_you_mean(option, list(known))}")
        options[option] = _like(known[option], value, f"recipe {name}: {option}")
    quine = RECIPES[name](seed=seed, **options)
    quine.recipe = {"name": name, "seed": seed, **options}
    return quine


def _like(default: Any, value: Any, what: str) -> Any:
    """An option in the type of its default; types of numbers may be named, as on the command line."""
    if isinstance(default, torch.dtype) and isinstance(value, str):
        value = getattr(torch, value, None)
    number = isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
    if not number and type(value) is not type(default):
        raise UnknownName(f"{what} must be a {type(default).__name__.removeprefix('torch.')} like {default}")
    return value
