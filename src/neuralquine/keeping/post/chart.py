"""Charts as SVG inside the page: every step of a curve is drawn, and the colors follow the page's theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

_SIZES = {"wide": (880, 330, 13), "narrow": (360, 270, 11)}  # width, height and text of the two that a page holds
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 42
_MOST_TICKS = 7
_FLAT = 1.6  # powers of ten below which an axis shows more than powers of ten


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        name: in the legend.
        style: a class of the page's style: "now", "best", "ours" or "other".
        x, y: the points; those without a place on a logarithmic axis are left out.
        stairs: whether a value holds until the next point.
    """

    name: str
    style: str
    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    stairs: bool = False


def best_so_far(line: np.ndarray) -> np.ndarray:
    """The lowest value up to every point."""
    return np.minimum.accumulate(line)


def chart(lines: list[Line], *, x_name: str, y_name: str, log_x: bool = False, floor: float | None = None) -> str:
    """Draw curves on a logarithmic axis, once for wide and once for narrow pages, with a legend.

    Args:
        lines: the curves.
        x_name, y_name: what the axes show.
        log_x: whether the other axis is logarithmic too.
        floor: where to draw a line that is named round-off.
    """
    legend = "".join(f'<span class="key {line.style}">{escape(line.name)}</span>' for line in lines)
    drawn = "".join(_draw(lines, size, x_name, y_name, log_x, floor) for size in _SIZES)
    return f'<div class="chart"><p class="axis">{escape(y_name)}</p>{drawn}<p class="legend">{legend}</p></div>'


def _draw(lines: list[Line], size: str, x_name: str, y_name: str, log_x: bool, floor: float | None) -> str:
    width, height, text = _SIZES[size]
    right, bottom = width - _RIGHT, height - _BOTTOM
    points = [_placed(line, log_x) for line in lines]
    xs = np.concatenate([x for x, _ in points] or [np.zeros(0)])
    ys = np.concatenate([y for _, y in points] + ([np.log10([floor])] if floor else []))
    x_low, x_high = (float(xs.min()), float(xs.max())) if len(xs) else (0.0, 1.0)
    y_low, y_high, y_ticks = _y_axis(ys)
    x_high = max(x_high, x_low + 1e-9)

    def px(x: np.ndarray | float) -> np.ndarray | float:
        return _LEFT + (x - x_low) / (x_high - x_low) * (right - _LEFT)

    def py(y: np.ndarray | float) -> np.ndarray | float:
        return _TOP + (y_high - y) / (y_high - y_low) * (bottom - _TOP)

    parts = [f'<svg class="{size}" viewBox="0 0 {width} {height}" font-size="{text}" role="img">']
    parts.append(f"<title>{escape(y_name)} against {escape(x_name)}</title>")
    for at, name in y_ticks:
        parts.append(f'<path class="grid" d="M{_LEFT} {py(at):.1f}H{right}"/>')
        parts.append(f'<text x="{_LEFT - 7}" y="{py(at) + text / 3:.1f}" text-anchor="end">{name}</text>')
    ticks = _x_ticks(x_low, x_high, log_x, 3 if size == "narrow" else 6)
    for k, (at, name) in enumerate(ticks):
        anchor = "start" if k == 0 and px(at) < _LEFT + 9 else "end" if px(at) > right - 20 else "middle"
        parts.append(f'<text x="{px(at):.1f}" y="{bottom + text + 5}" text-anchor="{anchor}">{name}</text>')
    parts.append(f'<text x="{right}" y="{height - 5}" text-anchor="end">{escape(x_name)}</text>')
    if floor:
        parts.append(f'<path class="floor" d="M{_LEFT} {py(math.log10(floor)):.1f}H{right}"/>')
        parts.append(f'<text x="{_LEFT + 5}" y="{py(math.log10(floor)) - 5:.1f}">round-off</text>')
    for line, (x, y) in zip(lines, points, strict=True):
        if len(x):
            path = _path(np.asarray(px(x)), np.asarray(py(y)), line.stairs)
            parts.append(f'<path class="line {line.style}" d="{path}"/>')
    return "".join(parts) + "</svg>"


def _placed(line: Line, log_x: bool) -> tuple[np.ndarray, np.ndarray]:
    """The points that have a place, with logarithms where the axes are logarithmic."""
    x, y = np.asarray(line.x, dtype=float), np.asarray(line.y, dtype=float)
    kept = np.isfinite(y) & (y > 0) & ((x > 0) if log_x else np.isfinite(x))
    return (np.log10(x[kept]) if log_x else x[kept]), np.log10(y[kept])


def _path(x: np.ndarray, y: np.ndarray, stairs: bool) -> str:
    """A path through the points; of those that fall on one column of pixels the first, lowest, highest and last."""
    columns = np.round(x).astype(int)
    starts = np.flatnonzero(np.diff(columns, prepend=columns[0] - 1))
    kept = []
    for begin, end in zip(starts, [*starts[1:], len(x)], strict=True):
        part = y[begin:end]
        kept += sorted({begin, begin + int(part.argmin()), begin + int(part.argmax()), end - 1})
    steps = [f"M{x[kept[0]]:.1f} {y[kept[0]]:.1f}"]
    for i in kept[1:]:
        steps.append(f"H{x[i]:.1f}V{y[i]:.1f}" if stairs else f"L{x[i]:.1f} {y[i]:.1f}")
    return "".join(steps)


def _y_axis(ys: np.ndarray) -> tuple[float, float, list[tuple[float, str]]]:
    """The ends of the logarithmic axis and its ticks: powers of ten, or 1, 2 and 5 times those where the curves are flat."""
    low, high = (float(ys.min()), float(ys.max())) if len(ys) else (-1.0, 0.0)
    if high - low > _FLAT:
        first, last = math.floor(low), math.ceil(high)
        step = max(1, -(-(last - first) // _MOST_TICKS))
        return first, last, [(power, _power(power)) for power in range(first, last + 1, step)]
    low, high = low - 0.12, high + 0.12
    numbers = [k * 10.0**p for p in range(math.floor(low), math.ceil(high) + 1) for k in (1, 1.5, 2, 3, 5, 7)]
    return low, high, [(math.log10(n), f"{n:g}") for n in numbers if low <= math.log10(n) <= high]


def _x_ticks(low: float, high: float, log_x: bool, most: int) -> list[tuple[float, str]]:
    if log_x:
        first, last = math.ceil(low - 1e-9), math.floor(high + 1e-9)
        return [(p, _power(p)) for p in range(first, last + 1, max(1, -(-(last - first) // most)))]
    rough = (high - low) / most
    unit = 10 ** math.floor(math.log10(max(rough, 1e-9)))
    unit *= next(k for k in (1, 2, 5, 10) if k * unit >= rough)
    unit = max(unit, 1)
    count = int((high - low) / unit + 1e-9)
    return [(low + k * unit, f"{low + k * unit:,.0f}") for k in range(count + 1)]


def _power(power: int) -> str:
    if power in (0, 1, 2):
        return str(10**power)
    return f'10<tspan dy="-4" font-size="75%">{str(power).replace("-", "−")}</tspan>'
