"""The registry of recipes. One decorated function is a new recipe: ``nq.recipe``, the commands and the lab list it at once.

from neuralquine.recipes.problem import Problem, drawn, numbers
from neuralquine.recipes.registry import recipe

@recipe("wide", small=True)
def wide(seed: int = 0, width: int = 40) -> Problem:
    \"""A wide perceptron (P = 3,640).\"""
    with drawn(seed):
        trunk = ...
    return Problem(trunk, numbers(seed, 1, 8), {"code_size": 20})
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from ..errors import BadOption
from .problem import Problem

_LAST = 1 << 30  # the place of a recipe that names none: after all that do, in the order of registration


class Recipe:
    """A registered recipe; call it with ``seed=`` and options for its :class:`Problem`.

    Attributes:
        name: what ``nq.recipe`` and the commands call it.
        about: one line that describes it; by default the first line of its docstring.
        small: whether the lab lists it, because it is solved while somebody waits before a page.
        place: where the lab's list shows it, the lowest first; those of this package are ten apart.
        queried: whether its quine is a queried one, which has no grid of codes.
    """

    def __init__(
        self, make: Callable[..., Problem], name: str, *, about: str, small: bool, place: int, queried: bool
    ) -> None:
        functools.update_wrapper(self, make)  # gives it the signature and the docstring of the function
        self._make = make
        self.name, self.small, self.place, self.queried = name, small, place, queried
        self.about = about or (inspect.getdoc(make) or name).splitlines()[0]
        self.__doc__ = self.__doc__ or self.about

    def __call__(self, *, seed: int = 0, **options: Any) -> Problem:
        return self._make(seed=seed, **options)


RECIPES: dict[str, Recipe] = {}  # by name, in the order in which `neuralquine recipes` lists them


def recipe(
    name: str, *, about: str = "", small: bool = False, place: int = _LAST, queried: bool = False
) -> Callable[[Callable[..., Problem]], Callable[..., Problem]]:
    """Register the decorated function as a recipe; the arguments are the attributes of :class:`Recipe`.

    Raises:
        BadOption: the name is taken.
    """

    def registered(make: Callable[..., Problem]) -> Callable[..., Problem]:
        if name in RECIPES or not name:
            raise BadOption(f"{name!r} cannot name a recipe: it is taken or empty")
        RECIPES[name] = Recipe(make, name, about=about, small=small, place=place, queried=queried)
        return make

    return registered


def options_of(make: Callable[..., Any]) -> dict[str, Any]:
    """Return the options of a recipe, task or world with their defaults; the seed is none of them."""
    return {p.name: p.default for p in inspect.signature(make).parameters.values() if p.name != "seed"}
