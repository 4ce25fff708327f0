"""Query tables: the fixed input ``x_i`` with which a network is asked for its weight number i.

Never trained and never stored: a table is made again from its name, its width and a seed, any stretch of rows by itself.

    projection    a one-hot index through a fixed random projection: row i of a Gaussian table
    coordinates   tensor, row and column, each from -1 to 1; a network of one tensor leaves out the first
    one-hot       one-hot tensor, row and column, side by side
    sinusoidal    sines and cosines of the index, at frequencies from one turn to P / 2 turns
    binary        the binary digits of tensor, row and column, as -1 and 1

Source: projection: Chang and Lipson (2018); coordinates and one-hot: Fletcher (2022); binary: Randazzo, Versari and
Mordvintsev (2021); sinusoidal: Vaswani et al. (2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import TrunkError, check_bytes, did_you_mean
from .philox import Stream, dyadic_gaussian

KINDS = ("projection", "coordinates", "one-hot", "sinusoidal", "binary")
_GRID = 2.0**-24  # a grid that is coarse beside the last places of a sine, in which machines differ
_WIDTH = 32  # default width of a table that may have any


class QueryTable:
    """The queries of one network.

    Args:
        kind: one of ``KINDS``.
        shapes: shapes of the printed tensors, in their order.
        width: numbers in a query, for ``projection`` and ``sinusoidal``; the others follow from the shapes.
        scale: factor of every query.
        seed: key of the projection.

    Raises:
        TrunkError: there is no such kind, or the shapes determine another width.
        TooLarge: the table would take more than 2 GiB.
    """

    def __init__(
        self, kind: str, shapes: Sequence[Sequence[int]], *, width: int | None = None, scale: float = 1.0, seed: int = 0
    ) -> None:
        if kind not in KINDS:
            raise TrunkError(f"no queries {kind!r}: {did_you_mean(kind, list(KINDS))}")
        if not 0 < abs(scale) < math.inf:
            raise TrunkError(f"the scale of the queries must be a number other than 0, not {scale}")
        self.kind, self.seed, self.scale = kind, seed, float(scale)
        # A vector is a column, and of a convolution all but the first axis are columns.
        self._shapes = [(s[0], math.prod(s[1:])) if len(s) else (1, 1) for s in shapes]
        self.count = sum(rows * columns for rows, columns in self._shapes)
        own = self._own_width()
        if own is not None and width not in (None, own):
            raise TrunkError(f"{kind} queries of this network are {own} wide, not {width}")
        self.width = own or width or _WIDTH
        if self.width < 1 or (kind == "sinusoidal" and self.width % 2):
            raise TrunkError(f"{kind} queries cannot be {self.width} wide: choose an even width of at least 2")
        check_bytes(
            f"the {self.count} x {self.width} query table",
            8 * self.count * self.width,
            "choose a smaller width",
        )

    def _own_width(self) -> int | None:
        parts = self._extents()
        if self.kind == "coordinates":
            return len(parts)
        if self.kind == "one-hot":
            return sum(parts)
        if self.kind == "binary":
            return sum(_digits(n) for n in parts)
        return None

    def _extents(self) -> list[int]:
        """The numbers of tensors, rows and columns; for a single tensor, of rows and columns only."""
        rows, columns = max(r for r, _ in self._shapes), max(c for _, c in self._shapes)
        return [rows, columns] if len(self._shapes) == 1 else [len(self._shapes), rows, columns]

    def rows(self, start: int = 0, stop: int | None = None) -> NDArray[np.float64]:
        """Queries ``start`` to ``stop``: ``(n, width)``, float64."""
        return self.scale * self._rows(start, stop)

    def _rows(self, start: int, stop: int | None) -> NDArray[np.float64]:
        index = np.arange(start, self.count if stop is None else stop)
        if self.kind == "projection":
            entries = dyadic_gaussian(self.seed, Stream.QUERIES, start * self.width, len(index) * self.width)
            return entries.reshape(len(index), self.width)
        if self.kind == "sinusoidal":
            turns = np.geomspace(1.0, max(self.count / 2, 1.0), self.width // 2)
            angle = 2 * np.pi * np.outer(index, turns) / self.count
            waves = np.stack([np.sin(angle), np.cos(angle)], 2).reshape(len(index), -1)
            return np.round(waves / _GRID) * _GRID
        places, extents = self._places(index), self._extents()
        if self.kind == "coordinates":
            parts = [(2 * p / max(n - 1, 1) - (n > 1))[:, None] for p, n in zip(places, extents, strict=True)]
        elif self.kind == "one-hot":
            parts = [(p[:, None] == np.arange(n)) for p, n in zip(places, extents, strict=True)]
        else:
            parts = [
                2.0 * ((p[:, None] >> np.arange(_digits(n))) & 1) - 1 for p, n in zip(places, extents, strict=True)
            ]
        return np.concatenate(parts, 1).astype(np.float64)

    def _places(self, index: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Tensor, row and column of each weight; for a single tensor, row and column."""
        ends = np.cumsum([r * c for r, c in self._shapes])
        tensor = np.searchsorted(ends, index, side="right")
        inside = index - np.concatenate([[0], ends])[tensor]
        columns = np.array([c for _, c in self._shapes])[tensor]
        places = [inside // columns, inside % columns]
        return places if len(self._shapes) == 1 else [tensor, *places]


def _digits(n: int) -> int:
    return max(1, (n - 1).bit_length())
