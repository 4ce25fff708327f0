"""Named problems: ``nq.recipe("blog", seed=7)`` builds one, unsolved. One short file each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from ..errors import BadOption, NeuralQuineError, UnknownName, did_you_mean
from ..quines.kinds import QueryQuine, Quine

# These register their recipes, in the order of `neuralquine recipes`.
from . import blog as blog  # isort: skip
from . import chang_lipson as chang_lipson  # isort: skip
from . import fletcher as fletcher  # isort: skip
from . import convolutional as convolutional  # isort: skip
from . import recurrent as recurrent  # isort: skip
from . import transformer as transformer  # isort: skip
from . import vision as vision  # isort: skip
from . import language as language  # isort: skip
from ..quines.networks.running import moved_to, probe_inputs
from ..quines.options import check_seed
from ..quines.printers.scales import scales_of
from .laws import given_memory
from .problem import Problem
from .registry import RECIPES as RECIPES
from .registry import options_of

SHARED = ("activation_bits", "trunk_dtype")  # options of every recipe whose quine has a code
_MOST = 1 << 20  # largest whole-number option: far above any real one; a forged file may ask for anything


def recipe(name: str, *, seed: int = 0, device: torch.device | str | None = None, **options: Any) -> Quine:
    """Build a named problem, unsolved.

    Args:
        name: a name from ``neuralquine recipes``.
        seed: decides the initial weights, the probe and the projection.
        device: where the network is; by default the CPU. A large one is made there and nowhere else.
        options: the recipe's own options, which ``neuralquine recipes`` lists with their defaults, ``activation_bits`` and
            ``trunk_dtype``.

    Raises:
        UnknownName: there is no such recipe or option; the message suggests the nearest.
        BadOption: an option has a value that the recipe refuses.
    """
    made, place = problem(name, seed=seed, **options), torch.device("cpu" if device is None else device)
    if made.queries is not None:
        quine: Quine = QueryQuine(made.trunk, made.queries, seed, copy=False, **made.options)
    else:
        assert made.probe is not None
        quine = printed_first(made, seed, place) or Quine(made.trunk, made.probe, seed=seed, copy=False, **made.options)
    quine.recipe = {"name": name, "seed": seed, **options}
    return quine if device is None else quine.to(place)


def printed_first(made: Problem, seed: int, device: torch.device) -> Quine | None:
    """The quine of a large trunk whose weights were not drawn: it holds those of the code that its anchor leads to.

    None where they were drawn.
    """
    if made.moments is None or made.probe is None:
        return None
    scales = scales_of(made.moments, [p.numel() for p in made.trunk.parameters()], made.options["code_size"])
    given_memory(made.trunk, scales[0], device)
    probe = moved_to(probe_inputs(made.probe), device)
    quine = Quine(made.trunk, probe, seed=seed, copy=False, scales=scales, prints="code", **made.options)
    quine.install(quine.code().detach())
    return quine


def problem(name: str, *, seed: int = 0, **options: Any) -> Problem:
    """Build the trunk, the probe and the settings of a recipe, not yet put together."""
    if name not in RECIPES:
        raise UnknownName(f"no recipe {name!r}: {did_you_mean(name, list(RECIPES))}")
    shared = {key: value for key in SHARED if (value := options.pop(key, None)) is not None}
    if shared:
        made = problem(name, seed=seed, **options)
        if made.queries is not None:
            raise BadOption(f"recipe {name} has no {min(shared)}: its quine is asked for its weights one by one")
        return replace(made, options=made.options | shared)
    options = checked_options(f"recipe {name}", RECIPES[name], options)
    check_seed(seed)
    try:
        return RECIPES[name](seed=seed, **options)
    except (ValueError, AssertionError, RuntimeError, ArithmeticError) as error:  # the numbers do not fit each other
        if isinstance(error, NeuralQuineError):
            raise
        given = ", ".join(f"{key}={value}" for key, value in options.items())
        raise BadOption(f"recipe {name} cannot be built with {given or 'these options'}: {error}") from error


def checked_options(what: str, make: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a recipe, each in the type of its default.

    Raises:
        UnknownName: there is no such option.
        BadOption: a value has another type than the default, or is a whole number out of range.
    """
    known = options_of(make)
    for option in options:
        if option not in known:
            raise UnknownName(f"{what} has no option {option!r}: {did_you_mean(option, list(known))}")
    return {option: _like(known[option], value, f"{what}: {option}") for option, value in options.items()}


def _like(default: Any, value: Any, what: str) -> Any:
    """Return an option in the type of its default; types of numbers may be named, as on the command line."""
    if isinstance(default, torch.dtype) and isinstance(value, str):
        value = getattr(torch, value, None)
    number = isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)
    if not number and type(value) is not type(default):
        raise BadOption(f"{what} must be a {type(default).__name__.removeprefix('torch.')} like {default}")
    if isinstance(value, int) and not 0 <= value <= _MOST:
        raise BadOption(f"{what} must be from 0 to {_MOST}, not {value}")
    return value
