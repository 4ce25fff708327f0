"""Named problems: ``nq.recipe("blog", seed=7)`` builds one, unsolved. One short file each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from ..errors import NeuralQuineError, UnknownName, did_you_mean
from ..quines.queried import QueryQuine
from ..quines.quine import Quine
from . import blog, chang_lipson, fletcher, language, recurrent, transformer, vision
from .problem import Problem

RECIPES: dict[str, Callable[..., Problem]] = {
    "blog": blog.part2,
    "blog-part1": blog.part1,
    "chang-lipson": chang_lipson.chang_lipson,
    "queried-121": chang_lipson.queried_121,
    "queried-441": chang_lipson.queried_441,
    "queried-2601": chang_lipson.queried_2601,
    "fletcher-coords": fletcher.coords,
    "fletcher-onehot": fletcher.onehot,
    "fletcher-rnn": fletcher.rnn,
    "elman": fletcher.elman,
    "cnn": vision.cnn,
    "rnn": recurrent.rnn,
    "gru": recurrent.gru,
    "lstm": recurrent.lstm,
    "transformer": transformer.transformer,
    "resnet18": vision.resnet18,
    "vit-b16": vision.vit_b16,
    "gpt2": language.gpt2,
    "gpt2-xl": language.gpt2_xl,
    "llama-8b": language.llama_8b,
}
_MOST = 1 << 20  # of any whole-number option: nothing real comes near, and a forged file may ask for anything


def recipe(name: str, *, seed: int = 0, **options: Any) -> Quine:
    """A named problem, unsolved.

    Args:
        name: a name from ``neuralquine recipes``.
        seed: of the initial weights, the probe and the projection.
        options: of that recipe.

    Raises:
        UnknownName: no such recipe or option; the message suggests the nearest.
    """
    made = problem(name, seed=seed, **options)
    if made.queries is not None:
        quine: Quine = QueryQuine(made.trunk, made.queries, seed, copy=False, **made.options)
    else:
        assert made.probe is not None
        quine = Quine(made.trunk, made.probe, seed=seed, copy=False, **made.options)
    quine.recipe = {"name": name, "seed": seed, **options}
    return quine


def problem(name: str, *, seed: int = 0, **options: Any) -> Problem:
    """The trunk, the probe and the settings of a recipe, not yet put together."""
    if name not in RECIPES:
        raise UnknownName(f"no recipe {name!r}: {did_you_mean(name, list(RECIPES))}")
    options = checked_options(f"recipe {name}", RECIPES[name], options)
    try:
        return RECIPES[name](seed=seed, **options)
    except (ValueError, AssertionError, RuntimeError, ArithmeticError) as error:  # numbers that do not go together
        if isinstance(error, NeuralQuineError):
            raise
        given = ", ".join(f"{key}={value}" for key, value in options.items())
        raise UnknownName(f"recipe {name} does not build with {given or 'these options'}: {error}") from error


def checked_options(what: str, make: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """The options of a recipe, each in the type of its default.

    Raises:
        UnknownName: there is no such option, or its value is of another kind.
    """
    known = {p.name: p.default for p in inspect.signature(make).parameters.values() if p.name != "seed"}
    for option in options:
        if option not in known:
            raise UnknownName(f"{what} has no option {option!r}: {did_you_mean(option, list(known))}")
    return {option: _like(known[option], value, f"{what}: {option}") for option, value in options.items()}


def _like(default: Any, value: Any, what: str) -> Any:
    """An option in the type of its default; types of numbers may be named, as on the command line."""
    if isinstance(default, torch.dtype) and isinstance(value, str):
        value = getattr(torch, value, None)
    number = isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
    if not number and type(value) is not type(default):
        raise UnknownName(f"{what} must be a {type(default).__name__.removeprefix('torch.')} like {default}")
    if isinstance(value, int) and not 0 <= value <= _MOST:
        raise UnknownName(f"{what} must be from 0 to {_MOST}, not {value}")
    return value
