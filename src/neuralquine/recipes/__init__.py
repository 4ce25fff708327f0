"""Named problems: ``nq.recipe("blog", seed=7)`` builds one, unsolved. One short file each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

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
    known = [p for p in inspect.signature(RECIPES[name]).parameters if p != "seed"]
    for option in options:
        if option not in known:
            raise UnknownName(f"recipe {name} has no option {option!r}: {did_you_mean(option, known)}")
    quine = RECIPES[name](seed=seed, **options)
    quine.recipe = {"name": name, "seed": seed, **options}
    return quine
