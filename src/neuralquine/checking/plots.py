"""Pictures of a quine: how it was found, what it holds and prints, and its eigenvalues (extra ``plot``)."""

from __future__ import annotations

import math
from decimal import ROUND_UP, Context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..files.atomic import replace_file
from ..quines.bits import differing
from ..quines.measure import measure, round_off
from ..quines.quine import Quine
from .spectrum import spectrum

_ROWS = 6  # tensors on one page
_MAX_CELLS = 512  # cells of a heat map in either direction; larger tensors show their first ones
_INK, _ACCENT, _QUIET, _EXACT = "#222222", "#b3541e", "#8a8a8a", "#74c476"
_NONE = float(np.finfo(np.float64).max)  # drawn where what is printed is not a number: as far off as can be
_DRAWN = 1e300  # largest number that is drawn as it is; larger ones are shrunk, so that their differences are finite
_PAGE = 10.0  # inches that a page is wide
# Left end and width, in inches: stored, printed, their scale, the difference, its scale.
_COLUMNS = ((0.12, 2.8), (3.07, 2.8), (5.92, 0.12), (6.62, 2.75), (9.42, 0.12))
_REACH = 3.0  # standard deviations of weights printed at random that the color scale reaches at least: few lie beyond
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_CURRENT = {"color": "#d9a886", "linewidth": 0.8, "label": "current iterate"}
_BEST = {"color": _ACCENT, "linewidth": 1.4, "drawstyle": "steps-post", "label": "best so far"}


def plot(quine: Quine, folder: str | Path, *, trace: list[dict[str, Any]] | None = None, words: str = "") -> list[Path]:
    """Write every figure of a quine as PNG.

    Args:
        quine: holds the weights; they are printed afresh.
        folder: where the files go.
        trace: points of the search, with the keys of :class:`~neuralquine.solving.solution.TracePoint`; by default
            those of the last solve.
        words: the verdict on the quine (converged, bit-exact, ...), shown in the titles.

    Returns:
        The files written.
    """
    if trace is None:
        trace = [vars(point) for point in quine.solution.trace] if quine.solution else []
    figures = [("spectrum.png", eigenvalue_figure(quine, words))]
    figures += [(f"weights-{i + 1}.png", figure) for i, figure in enumerate(weight_figures(quine, words))]
    if trace:
        figures.append(("residual.png", residual_figure(trace, round_off(quine.dtype))))
    written = []
    for name, figure in figures:
        written.append(write_figure(figure, Path(folder) / name))
    return written


def _new_figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    options: dict[str, Any] = {"layout": "none"}  # to search for a layout takes as long as to draw it
    return Figure(figsize=(width, height), **options)


def _placed(figure: Any, column: tuple[float, float], bottom: float, height: float) -> Any:
    """An axis at a place in inches, without ticks: to search for such a layout takes as long as to draw it."""
    width, whole = figure.get_size_inches()
    axis = figure.add_axes((column[0] / width, bottom / whole, column[1] / width, height / whole))
    axis.set_xticks([])
    axis.set_yticks([])
    return axis


def residual_figure(trace: list[dict[str, Any]], floor: float) -> Any:
    """Draw the residual against steps: the current one, light, and the best so far, which can only fall.

    The relative residual is on the left and ``||F(theta) - theta||^2``, the loss of a training loop, on the right. Of a
    trace that holds the best relative residual alone, as older folders do, there is one panel.
    """
    absolute = any(_number(point.get("current_squared_residual")) for point in trace)
    panels = [("relative_residual", "relative residual  ‖F(θ) - θ‖ / ‖θ‖")]
    panels += [("squared_residual", "squared residual  ‖F(θ) - θ‖²")] if absolute else []
    width, height = 9.0 if absolute else 5.6, 3.6
    figure = _new_figure(width, height)
    room = {"left": 0.8 / width, "right": 1 - 0.15 / width, "bottom": (0.8 if absolute else 0.5) / height, "top": 0.89}
    axes = figure.subplots(1, len(panels), gridspec_kw=room | {"wspace": 0.25})
    for axis, (key, label) in zip(np.atleast_1d(axes), panels, strict=True):
        for name, style in ((f"current_{key}", _CURRENT), (key, _BEST)):
            points = [(point["step"], point[name]) for point in trace if _number(point.get(name))]
            if points:
                axis.semilogy(*zip(*points, strict=True), **style)
        axis.set_xlabel("step")
        axis.set_ylabel(label)
        axis.yaxis.set_major_formatter(_power)
        axis.grid(alpha=0.25)
    first = figure.axes[0]
    first.axhline(floor, color=_QUIET, linestyle="--", linewidth=1)
    first.annotate("round-off", (0.02, floor), xycoords=("axes fraction", "data"), va="bottom", color=_QUIET)
    if absolute:
        figure.legend(*first.get_legend_handles_labels(), loc="lower center", ncols=2, fontsize=8)
    last = trace[-1]
    best = rounded_up(last["relative_residual"], 3)
    figure.suptitle(f"Best residual {best} after {last['seconds']:.2f} s", color=_INK)
    return figure


def _power(value: float, _: int) -> str:
    """A power of ten as text: a formula would be set by a parser that takes as long as the rest of the figure."""
    return "10" + str(round(math.log10(value))).translate(_RAISED)


def _number(value: Any) -> bool:
    """Whether a figure of a trace has a place on a logarithmic axis."""
    return isinstance(value, int | float) and 0 < value < float("inf")


def write_figure(figure: Any, path: Path) -> Path:
    """Write a figure as a PNG, in one step."""
    with replace_file(path) as partial:
        figure.savefig(partial, dpi=130)
    return path


def weight_figures(quine: Quine, words: str = "", *, most: int | None = None) -> list[Any]:
    """Draw stored | printed | difference of every tensor and bias; a difference of exactly zero has its own color.

    Args:
        quine: holds the weights; they are printed afresh.
        words: the verdict, for the titles.
        most: draw that many tensors only, the largest.
    """
    theta, figures = quine.theta, measure(quine)
    stored, printed = quine.tensors(theta), quine.tensors(quine.printed())
    spread = quine.tensors(_REACH * quine.printer.gain * quine.code_size**0.5)
    names = [name for name, tensor in stored.items() if tensor.numel()]
    if most is not None:
        largest = sorted(names, key=lambda name: -stored[name].numel())[:most]
        names = [name for name in names if name in largest]
    pages = []
    for first in range(0, len(names), _ROWS):
        page = names[first : first + _ROWS]
        heights = [0.55 if min(_matrix(stored[n]).shape) == 1 else 1.6 for n in page]
        figure = _new_figure(_PAGE, sum(heights) + 0.45 * len(page) + 0.6)
        top = figure.get_figheight() - 0.4
        for name, height in zip(page, heights, strict=True):
            row = [_placed(figure, column, top - 0.3 - height, height) for column in _COLUMNS]
            _weight_row(row, name, stored[name], printed[name], float(spread[name].abs().max()))
            top -= height + 0.45
        title = f"stored | printed | difference:  relative residual {figures.relative_residual:.1e}, "
        title += f"{figures.differing_weights} of {theta.numel()} weights differ in bits"
        figure.suptitle(
            title + (f"  ({words})" if words else ""), color=_INK, fontsize=10, y=1 - 0.15 / figure.get_figheight()
        )
        pages.append(figure)
    return pages


def _matrix(tensor: Tensor) -> np.ndarray:
    flat = tensor.detach().double().reshape(tensor.shape[0], -1) if tensor.dim() > 1 else tensor.double().reshape(1, -1)
    return np.nan_to_num(flat[:_MAX_CELLS, :_MAX_CELLS].cpu().numpy(), nan=_NONE)  # no number is no equal number either


def _weight_row(row: Any, name: str, stored: Tensor, printed: Tensor, spread: float) -> None:
    """One tensor, on a scale that reaches at least as far as weights printed at random do: a zero quine is pale."""
    from matplotlib import colormaps

    difference = _matrix(printed.double() - stored.double())
    limit = max(float(np.nan_to_num(float(stored.abs().max()), nan=_NONE)), min(spread, _NONE)) or 1.0
    largest = float(np.abs(difference).max())
    count = int(differing(printed, stored).sum())
    palette = colormaps["RdBu_r"].with_extremes(bad=_EXACT)
    left, middle, scale, right, scale_of_difference = row
    panels = (
        (left, _matrix(stored), limit, f"{name} {tuple(stored.shape)}"),
        (middle, _matrix(printed), limit, "printed"),
        (
            right,
            np.ma.masked_equal(difference, 0.0),
            largest or 1.0,
            _difference_title(largest, count, stored.numel()),
        ),
    )
    for axis, values, bound, title in panels:
        drawn = min(bound, _DRAWN)
        shown = {"cmap": palette, "vmin": -drawn, "vmax": drawn, "aspect": "auto", "interpolation": "nearest"}
        axis.imshow(values * (drawn / bound), **shown)
        axis.set_title(title, fontsize=8, color=_INK)
    _draw_scale(scale, limit, palette)
    if largest > 0:
        _draw_scale(scale_of_difference, largest, palette)
    else:
        scale_of_difference.remove()


def _draw_scale(axis: Any, bound: float, palette: Any) -> None:
    axis.set_label("<colorbar>")
    axis.imshow(np.linspace(-1, 1, 256)[:, None], cmap=palette, aspect="auto", origin="lower", extent=(0, 1, -1, 1))
    axis.yaxis.tick_right()
    axis.set_yticks([-1, 0, 1], [f"-{_end(bound)}", "0", _end(bound)], fontsize=6)


def _difference_title(largest: float, differing_count: int, count: int) -> str:
    if differing_count == 0:
        return "difference: exactly 0 everywhere"
    return f"difference ≤ {rounded_up(largest, 2)}, 0 in {count - differing_count} of {count} (green)"


def _end(bound: float) -> str:
    """An end of a scale, rounded up, without an exponent where it is short."""
    text = rounded_up(bound, 2)
    return f"{float(text):g}" if 1e-2 <= bound < 100 else text


def rounded_up(bound: float, digits: int = 1) -> str:
    """A bound to so many digits, never below what it bounds."""
    return f"{Context(prec=digits, rounding=ROUND_UP).create_decimal(bound):.{digits - 1}e}"


def eigenvalue_figure(quine: Quine, words: str = "") -> Any:
    """Draw the non-zero eigenvalues of the self-map's derivative, with the unit circle."""
    local = spectrum(quine)
    values = local.eigenvalues.cpu().numpy()
    figure = _new_figure(5.6, 6.2)
    axis = figure.subplots(gridspec_kw={"left": 0.12, "right": 0.98, "bottom": 0.165, "top": 0.915})
    angle = torch.linspace(0, 2 * torch.pi, 400).numpy()
    axis.plot(
        np.cos(angle), np.sin(angle), color=_QUIET, linewidth=1, label="unit circle: regeneration attracts inside"
    )
    axis.plot([1], [0], marker="+", color=_INK, linestyle="", label="1: Newton is singular here")
    real, imaginary, inside = np.real(values), np.imag(values), np.abs(values) < 1
    for chosen, color, label in ((inside, "#2b6a99", "inside"), (~inside, _ACCENT, "outside")):
        if chosen.any():
            axis.scatter(real[chosen], imaginary[chosen], s=22, color=color, label=f"{chosen.sum()} {label}", zorder=3)
    reach = 1.1 * max(1.0, float(np.nanmax(np.abs(values)))) if np.isfinite(values).any() else 1.1
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="real part", ylabel="imaginary part", aspect="equal")
    axis.grid(alpha=0.25)
    figure.legend(fontsize=8, loc="lower center", ncols=2)
    title = f"eigenvalues of the self-map: spectral radius {local.spectral_radius:.3g}\n"
    title += f"self-sensitivity {local.self_sensitivity:.3g}" + (f", {words}" if words else "")
    figure.suptitle(
        title, fontsize=10, color=_INK
    )  # a title of the axis would be cut: its aspect is set after the layout
    return figure
