"""How much damage a tape survives, by counting votes.

A sign stands in ``n`` weights, read with features ``a``: as many independent votes as ``R = (sum a)^2 / sum a^2``, times the
repeats. A damage leaves a vote with mean ``m`` and variance ``v``, in units of the vote undamaged, so a sign is read right
with probability ``Phi(m sqrt(R / v))``, and all ``d`` of them with

    P(heals) = Phi(m sqrt(R / v))^d

A sign that is read wrong is printed wrong ever after. So the damage at which P is 1/2 is the edge of the basin.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..errors import BadOption
from ..healing.damage import Damage, damaged
from ..healing.kinds import Target, named
from ..quines.taped import TaskQuine

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_SAMPLE = 1 << 18  # votes from which mean and variance are taken: two to three digits, in milliseconds
_HALVINGS = 7  # of the interval that holds the edge: to within 0.01
_BODIES = 5  # damaged bodies whose features are used; their mean prediction differs little from one body to the next


def fractions(kind: str) -> list[float]:
    """Return the fractions at which a kind of damage is tried, up to the one where it is as bad as it can be."""
    return [round(f * named(kind).worst, 4) for f in FRACTIONS]


@torch.no_grad()
def predicted(quine: TaskQuine, damage: Damage | str) -> float | None:
    """Predict the probability that a damage is healed; None for kinds that strike neighboring votes together.

    Args:
        quine: a task quine with a tape of signs; None is returned for any other tape.
        damage: kind and fraction, or ``"KIND:FRACTION"``.
    """
    damage = Damage.parse(damage) if isinstance(damage, str) else damage
    if not named(damage.kind).independent or quine.kind != "signs":
        return None
    mean, variance = moments(quine, damage)
    chances = [
        _all_right(votes(quine, damaged(quine, damage, seed=i)), mean, variance, quine.code_size)
        for i in range(_BODIES)
    ]
    return float(np.mean(chances))


def votes(quine: TaskQuine, theta: Tensor | None = None) -> float:
    """Return ``R``, the number of independent votes for each sign, with the features of the body in ``theta`` ``(P,)``."""
    tensors = quine.tensors(quine.theta if theta is None else theta)
    features = quine.features_of(tensors).double()
    square = float((features * features).sum())
    return quine.repeats * float(features.sum()) ** 2 / square if square > 0 else 0.0


def moments(quine: TaskQuine, damage: Damage) -> tuple[float, float]:
    """Return mean and variance of one vote under a damage, read through the clamp, in units of the vote undamaged."""
    amplitude = quine.printer.amplitude
    row = torch.full((_SAMPLE,), amplitude, dtype=quine.dtype)
    array = row.numpy()
    named(damage.kind).strike(Target(array, [(_SAMPLE,)], np.random.default_rng(0)), damage.fraction)
    read = quine.printer.saturate(len(quine.printer.body_sizes), torch.from_numpy(array)).double() / amplitude
    return float(read.mean()), float(read.var(correction=0))


def edge(quine: TaskQuine, kind: str) -> float | None:
    """Find the fraction of a damage at which half of the trials are predicted to heal: 1 where no fraction defeats it."""
    if not named(kind).independent or quine.kind != "signs":
        return None
    low, high = 0.0, 1.0
    if (predicted(quine, Damage(kind, 1.0)) or 0.0) > 0.5:
        return 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if (predicted(quine, Damage(kind, middle)) or 0.0) > 0.5:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def capacity(redundancy: float, mean: float, variance: float, failure: float = 0.01) -> float:
    """Compute how many signs a tape can carry so that a damage leaves all of them right except with probability ``failure``.

    Args:
        redundancy: R, the independent votes for each sign.
        mean, variance: mean and variance of one vote under the damage, as ``moments`` returns them.
        failure: the probability to lose any sign.

    Returns:
        ``ln(1 - failure) / ln Phi(m sqrt(R / v))``, infinite where nothing can go wrong.
    """
    if not 0 < failure < 1:
        raise BadOption(f"failure must be between 0 and 1, not {failure}")
    wrong = _wrong(redundancy, mean, variance)
    return math.inf if wrong == 0.0 else math.log1p(-failure) / math.log1p(-min(wrong, 1 - 1e-16))


def _all_right(redundancy: float, mean: float, variance: float, count: int) -> float:
    return math.exp(count * math.log1p(-min(_wrong(redundancy, mean, variance), 1 - 1e-16)))


def _wrong(redundancy: float, mean: float, variance: float) -> float:
    if variance <= 0 or redundancy <= 0:
        return 0.0 if mean > 0 and redundancy > 0 else 1.0
    return math.erfc(mean * math.sqrt(redundancy / variance) / math.sqrt(2)) / 2
