"""Figures of populations (extra ``plot``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_INK, _QUIET = "#222222", "#8a8a8a"
_KINDS = ("#b3541e", "#222222", "#2b6a99", "#74c476", "#bdbdbd")  # divergent, zero, fixed point, period 2, other
_REACH = 5.0  # weights beyond it are on their way to infinity and would hide the rest


def _new_figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def soup_figure(theta: Tensor, kinds: Tensor, identity: Tensor, names: Sequence[str]) -> Any:
    """Draw trajectories in the two principal components of all weights, and the classes over time.

    Args:
        theta: weights by generation, ``(g, n, P)``.
        kinds: number of the class ``(g, n)``.
        identity: who lived in each place ``(g, n)``.
        names: of the classes.
    """
    figure = _new_figure(11, 4.6)
    left, right = figure.subplots(1, 2)
    shown = (theta.abs() <= _REACH).all(2)  # false of NaN
    points = theta[shown].double()
    center = points.mean(0)
    _, spread, axes = torch.linalg.svd(points - center, full_matrices=False)
    flat = ((torch.where(shown[..., None], theta, 0).double() - center) @ axes[:2].mT).numpy()
    flat[~shown.numpy()] = np.nan  # a gap in the line
    last = {int(i): int(k) for row, kind in zip(identity, kinds, strict=True) for i, k in zip(row, kind, strict=True)}
    for who, kind in last.items():
        when, where = (identity == who).nonzero(as_tuple=True)
        path = flat[when.numpy(), where.numpy()]
        left.plot(path[:, 0], path[:, 1], color=_KINDS[kind], linewidth=0.8, alpha=0.7)
        left.plot(path[:1, 0], path[:1, 1], ".", color=_QUIET, markersize=3)
        left.plot(path[-1:, 0], path[-1:, 1], "o", color=_KINDS[kind], markersize=4)
    share = (spread[:2].square().sum() / spread.square().sum()).item()
    left.set(xlabel="first principal component", ylabel="second principal component")
    left.set_title(f"weights of {len(last)} particles, {share:.0%} of their variance", fontsize=10)
    generations = np.arange(len(kinds))
    counts = np.stack([(kinds == i).sum(1).numpy() for i in range(len(names))])
    right.stackplot(generations, counts, colors=_KINDS, labels=names)
    right.set(xlabel="generation", ylabel="particles", xlim=(0, max(len(kinds) - 1, 1)), ylim=(0, kinds.shape[1]))
    right.set_title(
        "classes: " + ", ".join(f"{c[-1]} {n}" for c, n in zip(counts, names, strict=True) if c[-1]), fontsize=10
    )
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=len(names), fontsize=8)
    return figure


def digits_figure(individuals: Mapping[str, Tensor], test: Tensor, diversity: Tensor) -> Any:
    """Draw accuracy and diversity over the generations, and the tree of those whose descendants survived.

    Args:
        individuals: ``identity``, ``parent``, ``accuracy`` and ``fitness``, one row a generation: ``(g, n)``.
        test: accuracy of the fittest on the test images ``(g,)``.
        diversity: mean share of signs that differ ``(g,)``.
    """
    figure = _new_figure(11, 7.2)
    (top, spread), (tree, beside) = figure.subplots(2, 2, height_ratios=(1, 1.1))
    grid = tree.get_gridspec()
    for axis in (tree, beside):
        axis.remove()
    tree = figure.add_subplot(grid[1, :])
    accuracy = individuals["accuracy"].numpy()
    generations = np.arange(len(accuracy))
    top.fill_between(generations, accuracy.min(1), accuracy.max(1), color="#c6dbef", label="all, training images")
    top.plot(generations, np.median(accuracy, 1), color=_KINDS[2], linewidth=1, label="median, training images")
    top.plot(generations, test.numpy(), color=_KINDS[0], linewidth=1.2, label="fittest, test images")
    top.axhline(0.1, color=_QUIET, linestyle="--", linewidth=1)
    top.annotate("chance", (generations[-1], 0.1), ha="right", va="bottom", color=_QUIET, fontsize=8)
    top.set(xlabel="generation", ylabel="accuracy", ylim=(0, 1))
    top.legend(fontsize=8, loc="lower right")
    top.set_title(f"accuracy of the fittest on test images: {test[-1]:.1%}", fontsize=10)
    spread.semilogy(generations, np.clip(diversity.numpy(), 1e-6, 1), color=_INK, linewidth=1)
    spread.set(xlabel="generation", ylabel="share of signs that differ")
    spread.set_title("diversity: mean difference of two individuals", fontsize=10)
    for axis in (top, spread):
        axis.grid(alpha=0.25)
    _lineage(tree, individuals["identity"], individuals["parent"])
    return figure


def fertility_figure(steps: Tensor, distances: Tensor) -> Any:
    """Draw how far each child is from its parent, and from its founder.

    Args:
        steps: relative, by generation, with and without the sink loss: ``(g, 2, lines)``; the first is not read.
        distances: relative, of the same shape.
    """
    figure = _new_figure(11, 4.2)
    left, right = figure.subplots(1, 2)
    generations = np.arange(len(steps))
    for kind, (color, label) in enumerate(((_KINDS[2], "with the sink loss"), (_KINDS[0], "without"))):
        for axis, values in ((left, steps), (right, distances)):
            lines = values[1:, kind].clamp(min=1e-17).numpy()  # a step of 0 is shown on the ground
            drawn = axis.plot(generations[1:], lines, color=color, linewidth=1.2, alpha=0.8)
            drawn[0].set_label(label)
    left.set_title("from parent to child", fontsize=10)
    right.set_title("from the founder", fontsize=10)
    for axis in (left, right):
        axis.set(yscale="log", xlabel="generation", ylabel="relative distance")
        axis.grid(alpha=0.25)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _lineage(axis: Any, identity: Tensor, parent: Tensor) -> None:
    """Draw the last generation's ancestors: a line from everybody to its parent, one generation before."""
    generations = len(identity)
    wanted = set(identity[-1].tolist())
    levels: list[dict[int, int]] = []  # of each generation, from the last: who, and whose child
    for g in range(generations - 1, -1, -1):
        row = dict(zip(identity[g].tolist(), parent[g].tolist(), strict=True))
        levels.append({who: row[who] for who in sorted(wanted) if who in row})
        wanted = set(levels[-1].values())
    levels.reverse()
    height: dict[int, float] = {}
    lines = []
    for g, level in enumerate(levels):
        ordered = sorted(level, key=lambda who: (height.get(level[who], 0.0), who))
        now = {who: (i + 0.5) / len(ordered) - 0.5 for i, who in enumerate(ordered)}
        if g:
            lines += [((g - 1, height[level[who]]), (g, now[who])) for who in ordered]
        height = now
    from matplotlib.collections import LineCollection

    axis.add_collection(LineCollection(lines, colors=_INK, linewidths=0.4, alpha=0.6))
    common = max((g for g, level in enumerate(levels) if len(level) == 1), default=None)
    begin = 0 if common is None else max(common - 3, 0)  # before it there is a single line
    axis.set(xlim=(begin, max(generations - 1, begin + 1)), ylim=(-0.52, 0.52), xlabel="generation", yticks=[])
    words = "" if common is None else f"; all descend from one of generation {common}"
    axis.set_title(f"ancestors of the last generation{words}", fontsize=10)
