"""The pictures of the README: what a quine stores and prints, and how one heals.

    python benchmarks/pictures.py      # docs/figures/quine.png and docs/figures/healing.gif

The first is the network of the post, solved. The second is an anchored recurrent network that attracts: a region of its
weights is destroyed, and it prints itself again and again until every bit is back; the script fails if it does not come back.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

import neuralquine as nq
from neuralquine.checking.plots import rounded_up, write_figure
from neuralquine.quines.bits import differing
from neuralquine.quines.lineage import line

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "figures"
_GENERATIONS = 60  # the damaged network is given at most so many; it needs about fifteen
_MILLISECONDS = 300  # of a frame; the first, the damage and the last stand longer
_SMALLEST = 1e-7  # of the differences that the color scale tells apart; the grid of the code is 6e-5
_INK, _EXACT = "#222222", "#74c476"


def stored_and_printed() -> Path:
    """Draw the second layer of the post's network beside what it prints."""
    from matplotlib import colormaps

    quine = nq.recipe("blog")
    solution = nq.solve(quine)
    stored, printed = (quine.tensors(t)["3.weight"].double().numpy() for t in (quine.theta, quine.printed()))
    limit, gap = np.abs(stored).max(), np.abs(printed - stored).max()
    palette = colormaps["RdBu_r"].with_extremes(bad=_EXACT)
    figure, axes = _three_panels("stored", "printed", f"difference, at most {rounded_up(gap, 2)} (green: 0)")
    for axis, values, bound in zip(
        axes, (stored, printed, np.ma.masked_equal(printed - stored, 0.0)), (limit, limit, gap)
    ):
        axis.imshow(values, cmap=palette, vmin=-bound, vmax=bound, interpolation="nearest")
    words = "layer 2 of the post's network, solved by nq.solve: relative residual"
    figure.suptitle(f"{words} {solution.relative_residual:.0e}", fontsize=11, color=_INK)
    return write_figure(figure, FIGURES / "quine.png")


def healing() -> Path:
    """Draw a quine that is damaged and prints itself until it is whole."""
    from PIL import Image

    quine = nq.recipe("rnn", skip=0.3, code_bits=14)  # attracts slowly enough to be watched
    nq.solve(quine, exact=True)
    right = quine.theta.clone()
    name = max(quine.tensors(right), key=lambda n: quine.tensors(right)[n].numel())
    limit = float(quine.tensors(right)[name].abs().max())
    frames = [(_frame(quine, name, right, right, limit, "a quine: what it prints is what it is"), 1600)]
    damaged = right.clone()
    view = quine.tensors(damaged)[name]
    view[16:48, 16:48] = 0.0
    frames.append((_frame(quine, name, damaged, right, limit, "a quarter of this layer destroyed"), 1600))
    for number, (theta, _) in enumerate(line(quine, damaged), 1):
        left = int(differing(theta, right).sum())
        words = f"generation {number}: {left:,} of {len(right):,} weights differ"
        words = words if left else f"generation {number}: every bit is back"
        frames.append((_frame(quine, name, theta, right, limit, words), _MILLISECONDS if left else 2600))
        if not left:
            break
        if number == _GENERATIONS:
            raise SystemExit(f"not healed after {number} generations")
    pictures = [Image.open(io.BytesIO(png)).convert("RGB").quantize(96, dither=Image.Dither.NONE) for png, _ in frames]
    path = FIGURES / "healing.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[ms for _, ms in frames], loop=0)
    return path


def _frame(quine: nq.Quine, name: str, theta: torch.Tensor, right: torch.Tensor, limit: float, words: str) -> bytes:
    """Draw a layer, what is printed for it, and the size of its difference to the whole quine, where zero has a color."""
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    with torch.no_grad():
        child = quine.self_map(theta)
    held, printed, whole = (quine.tensors(t)[name].double().numpy() for t in (theta, child, right))
    figure, axes = _three_panels("its weights", "what it prints", "lost (dark: all; green: nothing)")
    for axis, values in zip(axes, (held, printed)):
        axis.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    palette = colormaps["YlOrBr"].with_extremes(bad=_EXACT)
    lost = np.ma.masked_equal(np.abs(held - whole), 0.0)
    axes[2].imshow(lost, cmap=palette, norm=LogNorm(_SMALLEST, 1.0), interpolation="nearest")
    figure.suptitle(words, fontsize=11, color=_INK)
    file = io.BytesIO()
    figure.savefig(file, dpi=80)
    return file.getvalue()


def _three_panels(*titles: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.2), layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=8.5, color=_INK)
        axis.set_xticks([])
        axis.set_yticks([])
    return figure, axes


if __name__ == "__main__":
    for make in (stored_and_printed, healing):
        print(make())
