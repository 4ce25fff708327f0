"""A network whose activations may be rounded to a grid: then it is a staircase, and its derivative is that of the slope below."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .trunk import Trunk


class Stairs:
    """What a quine says of the grid of its trunk's activations."""

    _trunk: Trunk

    @property
    def activation_bits(self) -> int | None:
        """k, where the trunk's activations are rounded to multiples of ``2^-k``; None where they are not."""
        return self._trunk.activation_bits

    @property
    def trunk_dtype(self) -> torch.dtype | None:
        """The type in which the trunk runs, where it is wider than that of its weights; None where it is not."""
        return self._trunk.wide

    @contextmanager
    def smooth(self) -> Iterator[None]:
        """Leave that grid out while this lasts, as derivatives do."""
        with self._trunk.turn:
            bits, self._trunk.activation_bits = self._trunk.activation_bits, None
            try:
                yield
            finally:
                self._trunk.activation_bits = bits
