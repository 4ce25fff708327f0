"""Weights as heat maps and codes as points, ready for a canvas."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..quines.bits import differing
from ..quines.quine import Quine

_APART = 1e-9  # of the largest number of all codes: distinct quines are farther from each other
ROWS, COLUMNS = 96, 192  # cells of a heat map; larger tensors show the weight of largest modulus of each block


def matrix_shape(tensor: Tensor) -> tuple[int, int]:
    """Return the shape of a tensor as a matrix: vectors lie down, and what comes after the first dimension is flattened."""
    return (1, tensor.numel()) if tensor.dim() < 2 else (tensor.shape[0], tensor.numel() // max(tensor.shape[0], 1))


def blocks(tensor: Tensor) -> tuple[int, int]:
    """Return how many rows and columns of weights one cell shows."""
    rows, columns = matrix_shape(tensor)
    return -(-rows // ROWS), -(-columns // COLUMNS)


def layers(quine: Quine, stored: Tensor, printed: Tensor, scale: Tensor) -> list[dict[str, Any]]:
    """Paint what is stored, what is printed, and the difference, for every tensor.

    Args:
        quine: names and shapes.
        stored, printed: ``(P,)``.
        scale: ``(P,)`` weights whose largest modulus, in each tensor, has the full color.
    """
    named = [quine.tensors(theta) for theta in (stored, printed, scale)]
    made = []
    for name in named[0]:
        held, out, reference = (tensors[name] for tensors in named)
        if held.numel() == 0:
            continue
        gap = out.double() - held.double()
        rows, columns = matrix_shape(held)
        down, across = blocks(held)
        made.append(
            {
                "name": name,
                "shape": list(held.shape),
                "rows": -(-rows // down),
                "columns": -(-columns // across),
                "block": [down, across],
                "count": held.numel(),
                "differing": int(differing(out, held).sum()),
                "limit": _plain(reference.abs().max()),
                "largest": _plain(gap.abs().max()),
                **{key: _cells(t) for key, t in (("stored", held), ("printed", out), ("difference", gap))},
            }
        )
    return made


def _plain(value: Tensor) -> float | None:
    number = float(value)
    return number if abs(number) < float("inf") else None


def _cells(tensor: Tensor) -> str:
    """Encode a tensor as base64 of little-endian float32 cells, row by row; NaN where a block holds one."""
    rows, columns = matrix_shape(tensor)
    down, across = blocks(tensor)
    values = tensor.detach().double().reshape(rows, columns).cpu().numpy()
    if (down, across) != (1, 1):
        padded = np.zeros((-(-rows // down) * down, -(-columns // across) * across))
        padded[:rows, :columns] = values
        grid = padded.reshape(len(padded) // down, down, -1, across).transpose(0, 2, 1, 3)
        grid = grid.reshape(*grid.shape[:2], -1)
        strongest = np.abs(grid).argmax(2)[..., None]  # argmax takes a NaN for the largest
        values = np.take_along_axis(grid, strongest, 2)[..., 0]
    with np.errstate(over="ignore", under="ignore"):
        narrow = values.astype("<f4")
    # A difference too small for float32 is still one: only equal bits are shown as exactly 0.
    narrow = np.where((narrow == 0) & (values != 0), np.copysign(np.float32(1e-38), values), narrow)
    return base64.b64encode(narrow.astype("<f4").tobytes()).decode()


def covered(tensor: Tensor, cells: list[tuple[int, int]]) -> Tensor:
    """Return the weights under some cells of a heat map: a bool tensor of its shape."""
    rows, columns = matrix_shape(tensor)
    down, across = blocks(tensor)
    mask = torch.zeros(rows, columns, dtype=torch.bool)
    for row, column in cells:
        mask[row * down : (row + 1) * down, column * across : (column + 1) * across] = True
    return mask.reshape(tensor.shape)


def plane(codes: Tensor) -> list[tuple[float, float]]:
    """Place codes ``(n, d)`` on their two principal axes, each coordinate from -1 to 1 of one common scale."""
    centered = codes.double() - codes.double().mean(0)
    axes = torch.linalg.svd(centered, full_matrices=False).Vh[:2]
    flat = torch.zeros(len(codes), 2, dtype=torch.float64)
    flat[:, : len(axes)] = centered @ axes.mT
    # Codes that differ by round-off alone are one place.
    flat /= torch.maximum(flat.abs().max(), _APART * codes.double().abs().max()).clamp_min(1e-300)
    return [(float(x), float(y)) for x, y in flat]
