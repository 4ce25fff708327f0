"""Artificial life: populations of self-printing networks, generation by generation, kept so that they can be continued."""

from .life import Life as Life
from .life import World as World
from .life import live as live
from .worlds import WORLDS as WORLDS
from .worlds import world as world

__all__ = ["WORLDS", "Life", "World", "live", "world"]
