"""Named worlds: ``evolution.world("soup", seed=7)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import NeuralQuineError, UnknownName, did_you_mean
from ..recipes import checked_options
from .digits import Digits
from .fertility import Fertility
from .life import World
from .soup import Soup

WORLDS: dict[str, Callable[..., World]] = {"soup": Soup, "digits": Digits, "fertility": Fertility}


def world(name: str, *, seed: int = 0, generations: int | None = None, **options: Any) -> World:
    """A named world in its first generation.

    Args:
        name: ``soup``, ``digits`` or ``fertility``.
        seed: of everything that is drawn.
        generations: how many there are to be; by default the world's own number.
        options: of that world.

    Raises:
        UnknownName: no such world or option; the message suggests the nearest.
    """
    if name not in WORLDS:
        raise UnknownName(f"no world {name!r}: {did_you_mean(name, list(WORLDS))}")
    make = WORLDS[name]
    checked = checked_options(f"world {name}", make, options)
    if generations is not None:
        checked["generations"] = generations
    try:
        made = make(seed=seed, **checked)
    except (ValueError, RuntimeError) as error:
        if isinstance(error, NeuralQuineError):
            raise
        raise UnknownName(f"world {name} does not begin with {options}: {error}") from error
    made.problem = {"world": name, "seed": seed, "options": options}
    return made
