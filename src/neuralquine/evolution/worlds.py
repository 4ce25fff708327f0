"""Named worlds: ``evolution.world("soup", seed=7)``."""

from __future__ import annotations

from typing import Any

from ..errors import BadOption, NeuralQuineError, UnknownName, did_you_mean
from ..recipes import checked_options
from .life import World

# These register their worlds, in the order of `neuralquine recipes`.
from . import soup as soup  # isort: skip
from . import digits as digits  # isort: skip
from . import fertility as fertility  # isort: skip
from .registry import WORLDS as WORLDS


def world(name: str, *, seed: int = 0, generations: int | None = None, **options: Any) -> World:
    """Build a named world in its first generation.

    Args:
        name: a name from ``WORLDS``, such as ``soup``.
        seed: decides everything that is drawn.
        generations: how many there are to be; by default the world's own number.
        options: the world's own options.

    Raises:
        UnknownName: there is no such world or option; the message suggests the nearest.
        BadOption: an option has a value that the world refuses.
    """
    if name not in WORLDS:
        raise UnknownName(f"no world {name!r}: {did_you_mean(name, list(WORLDS))}")
    make = WORLDS[name]
    checked = checked_options(f"world {name}", make, options)
    if generations is not None:
        checked["generations"] = generations
    try:
        made = make(seed=seed, **checked)
    except (ValueError, RuntimeError) as error:  # numbers that do not go together
        if isinstance(error, NeuralQuineError) and not isinstance(error, BadOption):
            raise
        given = ", ".join(f"{key}={value}" for key, value in options.items())
        raise BadOption(f"world {name} refuses {given or 'these options'}: {error}") from error
    made.problem = {"world": name, "seed": seed, "options": options}
    return made
