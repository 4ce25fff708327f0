"""Weights as small pictures: one pixel for each weight, as PNG files inside the page."""

from __future__ import annotations

import numpy as np

from ...quines.png import address

_EXACT = (116, 196, 118)  # what is exactly 0 in a difference
_NEGATIVE, _POSITIVE = np.array((33, 102, 172)), np.array((178, 24, 43))
_MIDDLE = {"light": np.array((250, 250, 249)), "dark": np.array((38, 38, 42))}  # the panels' own colors: 0 is no ink


def heat(values: np.ndarray, limit: float, theme: str, *, green: bool = False) -> str:
    """Paint a matrix, blue below 0 and red above, as the address of a PNG.

    Args:
        values: ``(rows, columns)``; NaN is left as the panel.
        limit: the modulus that has the full color.
        theme: "light" or "dark".
        green: paint what is exactly 0 green.
    """
    share = np.clip(np.nan_to_num(values) / (limit or 1.0), -1, 1)[..., None]
    middle = _MIDDLE[theme]
    bright = 1.0 if theme == "light" else 1.25  # the two inks are dark ones
    ink = np.clip(np.where(share < 0, _NEGATIVE, _POSITIVE) * bright, 0, 255)
    pixels = np.rint(middle + np.abs(share) ** 0.7 * (ink - middle)).astype(np.uint8)
    if green:
        pixels[values == 0] = _EXACT
    pixels[np.isnan(values)] = middle
    return address(pixels)
