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

from ..errors import NeuralQuineError
from ..healing.damage import KINDS, Damage, Patient, damaged
from ..quines.taped import TaskQuine

FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_FEWER = {"negate": 0.5, "bit-errors": 0.4, "block": 0.5}  # kinds that are as bad as they can be at less than 1
INDEPENDENT = ("noise", "large-noise", "zero", "negate", "flip", "words", "bit-errors")
_SAMPLE = 1 << 18  # votes that a damage's mean and variance are taken from
_BODIES = 5  # damaged bodies that features are taken from


def fractions(kind: str) -> list[float]:
    """Where to look along a kind of damage."""
    return [round(f * _FEWER.get(kind, 1.0), 4) for f in FRACTIONS]


@torch.no_grad()
def predicted(quine: TaskQuine, damage: Damage | str) -> float | None:
    """Probability that a damage is healed; None for kinds that strike neighboring votes together.

    Args:
        quine: with a tape of signs.
        damage: kind and fraction, or ``"KIND:FRACTION"``.
    """
    damage = Damage.parse(damage) if isinstance(damage, str) else damage
    if damage.kind not in INDEPENDENT or quine.kind != "signs":
        return None
    mean, variance = moments(quine, damage)
    chances = [
        _all_right(votes(quine, damaged(quine, damage, seed=i)), mean, variance, quine.code_size)
        for i in range(_BODIES)
    ]
    return float(np.mean(chances))


def votes(quine: TaskQuine, theta: Tensor | None = None) -> float:
    """``R``: independent votes for each sign, with the features of the body as it is in ``theta`` ``(P,)``."""
    tensors = quine.tensors(quine.theta if theta is None else theta)
    features = quine.features_of(tensors).double()
    square = float((features * features).sum())
    return quine.repeats * float(features.sum()) ** 2 / square if square > 0 else 0.0


def moments(quine: TaskQuine, damage: Damage) -> tuple[float, float]:
    """Mean and variance of one vote under a damage, read through the clamp, in units of the vote undamaged."""
    amplitude = quine.printer.amplitude
    row = torch.full((_SAMPLE,), amplitude, dtype=quine.dtype)
    array = row.numpy()
    KINDS[damage.kind][0](Patient(array, [(_SAMPLE,)], np.random.default_rng(0)), damage.fraction)
    read = quine.printer.saturate(len(quine.printer.body_sizes), torch.from_numpy(array)).double() / amplitude
    return float(read.mean()), float(read.var(correction=0))


def edge(quine: TaskQuine, kind: str) -> float | None:
    """Fraction of a damage at which half of the trials are predicted to heal: 1 where none defeats it."""
    if kind not in INDEPENDENT or quine.kind != "signs":
        return None
    low, high = 0.0, 1.0
    if (predicted(quine, Damage(kind, 1.0)) or 0.0) > 0.5:
        return 1.0
    for _ in range(7):
        middle = (low + high) / 2
        if (predicted(quine, Damage(kind, middle)) or 0.0) > 0.5:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def capacity(redundancy: float, mean: float, variance: float, failure: float = 0.01) -> float:
    """Signs that a tape can carry so that a damage leaves all of them right but with probability ``failure``.

    Args:
        redundancy: R, independent votes for each sign.
        mean, variance: of one vote under the damage; see ``moments``.
        failure: probability to lose any.

    Returns:
        ``ln(1 - failure) / ln Phi(m sqrt(R / v))``, infinite where nothing can go wrong.
    """
    if not 0 < failure < 1:
        raise NeuralQuineError(f"failure must be between 0 and 1, not {failure}")
    wrong = _wrong(redundancy, mean, variance)
    return math.inf if wrong == 0.0 else math.log1p(-failure) / math.log1p(-min(wrong, 1 - 1e-16))


def _all_right(redundancy: float, mean: float, variance: float, count: int) -> float:
    return math.exp(count * math.log1p(-min(_wrong(redundancy, mean, variance), 1 - 1e-16)))


def _wrong(redundancy: float, mean: float, variance: float) -> float:
    if variance <= 0 or redundancy <= 0:
        return 0.0 if mean > 0 and redundancy > 0 else 1.0
    return math.erfc(mean * math.sqrt(redundancy / variance) / math.sqrt(2)) / 2
