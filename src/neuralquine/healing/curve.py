"""The figure of a basin: how healing ends as a damage grows (extra ``plot``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import needed
from .heal import Healing
from .kinds import named

_INK, _ACCENT = "#222222", "#b3541e"


def basin_figure(found: Sequence[Healing], law: Sequence[float | None] = ()) -> Any:
    """Draw the share of damages that healed, with 95 % intervals, against the fraction damaged.

    Args:
        found: what :func:`~neuralquine.basin` returns, one kind of damage at growing fractions.
        law: the predicted probabilities at these fractions, drawn beside; None where there is no prediction.

    Returns:
        A matplotlib figure.

    Raises:
        NeuralQuineError: matplotlib is not installed.
    """
    figure = needed("matplotlib.figure", "plot", "figures need").Figure(figsize=(6.5, 4), layout="constrained")
    axis = figure.subplots()
    x = [h.damage.fraction for h in found]
    y = [h.healed / h.trials for h in found]
    low, high = ([h.confidence[i] for h in found] for i in (0, 1))
    axis.fill_between(x, low, high, color=_ACCENT, alpha=0.18, linewidth=0, label="95 % interval (Clopper-Pearson)")
    axis.plot(x, y, color=_ACCENT, marker="o", markersize=4, label="healed, every bit")
    if any(p is not None for p in law):
        predicted = [math.nan if p is None else p for p in law]
        label = "predicted by counting votes"
        axis.plot(x, predicted, color=_INK, linestyle="--", linewidth=1, label=label)
    axis.set_xlabel(f"fraction of the weights {named(found[0].damage.kind).about}")
    axis.set_ylabel(f"share of {found[0].trials} damages healed")
    axis.set_ylim(-0.03, 1.03)
    axis.grid(alpha=0.25)
    axis.legend(loc="lower left", frameon=False)
    return figure
