"""The registry of worlds. One decorated class is a new world: ``evolution.world`` and ``neuralquine evolve`` list it at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..errors import BadOption
from .life import World

WORLDS: dict[str, type[World]] = {}  # by name, in the order in which `neuralquine recipes` lists them
_W = TypeVar("_W", bound=World)


def world(name: str) -> Callable[[type[_W]], type[_W]]:
    """Register the decorated class, which is constructed with ``seed=``, ``generations=`` and its own options.

    Raises:
        BadOption: the name is taken.
    """

    def registered(made: type[_W]) -> type[_W]:
        if name in WORLDS or not name:
            raise BadOption(f"{name!r} cannot name a world: it is taken or empty")
        WORLDS[name] = made
        return made

    return registered
