"""Self-repair: damage the weights, let the network print itself, and see whether every bit comes back.

One generation installs what the damaged network prints. A line is over when a generation prints its own bits: then it is
the original again (healed), or another exact quine (a mutant, which would be printed for ever).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import NeuralQuineError
from ..quines.bits import differing
from ..quines.quine import Quine
from ..quines.threads import frugal
from .damage import Damage, damaged

_MOST = 8  # generations that a line is followed


@dataclass(frozen=True)
class Healing:
    """What came of the trials of one damage.

    Attributes:
        damage: kind and fraction.
        trials: lines followed.
        healed: those in which every bit of the original came back.
        mutants: those that ended as another exact quine.
        lost: those that had not settled after the last generation.
        generations: of each healed line, until the original stood there again.
        confidence: 95 % interval of the probability to heal (Clopper and Pearson, 1934).
        accuracy: mean score before, while damaged, and after; empty without ``evaluate``.
    """

    damage: Damage
    trials: int
    healed: int
    mutants: int
    lost: int
    generations: tuple[int, ...] = field(repr=False)
    confidence: tuple[float, float]
    accuracy: tuple[float, float, float] | tuple[()] = ()

    @property
    def all_healed(self) -> bool:
        """Whether the original came back in every trial."""
        return self.healed == self.trials

    def figures(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        counts = Counter(self.generations)
        data: dict[str, Any] = {
            "damage": self.damage.kind,
            "fraction": self.damage.fraction,
            "trials": self.trials,
            "healed": self.healed,
            "mutants": self.mutants,
            "lost": self.lost,
            "generations": {str(k): counts[k] for k in sorted(counts)},
            "confidence_95": list(self.confidence),
        }
        if self.accuracy:
            data |= dict(zip(("accuracy_before", "accuracy_damaged", "accuracy_after"), self.accuracy, strict=True))
        return data


@frugal
@torch.no_grad()
def heal(
    quine: Quine,
    damage: Damage | str = "noise:0.5",
    *,
    trials: int = 100,
    generations: int = _MOST,
    seed: int = 0,
    evaluate: Callable[[Quine], float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Healing:
    """Damage a quine again and again, and count how often it prints itself back, bit for bit.

    Args:
        quine: a bit-exact one; it holds its own weights again afterwards.
        damage: kind and fraction, or ``"KIND:FRACTION"``.
        trials: independent damages.
        generations: that a line is followed at most.
        seed: of the damages; each trial has a generator of its own.
        evaluate: score of the network as it stands, such as its accuracy; asked before, while damaged, and after, in
            at most ten of the trials.
        progress: called with trials done and healed.

    Raises:
        NeuralQuineError: it is not bit-exact, so that there is nothing to come back to.
        UnknownName: no such damage.
    """
    damage = Damage.parse(damage) if isinstance(damage, str) else damage
    if trials < 1 or generations < 1:
        raise NeuralQuineError(f"trials and generations must be at least 1, not {trials} and {generations}")
    original = quine.theta
    if _differ(quine.self_map(original), original):
        raise NeuralQuineError("only a bit-exact quine can heal: this one does not print its own bits undamaged")
    ends: Counter[str] = Counter()
    needed: list[int] = []
    scores: list[tuple[float, float]] = []
    before = evaluate(quine) if evaluate is not None else 0.0
    try:
        for trial in range(trials):
            struck = damaged(quine, damage, seed=_seed(seed, trial))
            end, count, last = follow(quine, struck, original, generations)
            ends[end] += 1
            if end == "healed":
                needed.append(count)
            if evaluate is not None and len(scores) < 10:
                scores.append(
                    (_scored(quine, struck, evaluate), before if end == "healed" else _scored(quine, last, evaluate))
                )
                quine.theta = original
            if progress is not None:
                progress(trial + 1, ends["healed"])
    finally:
        quine.theta = original
    accuracy = (before, *(float(np.mean(column)) for column in zip(*scores, strict=True))) if scores else ()
    return Healing(
        damage=damage,
        trials=trials,
        healed=ends["healed"],
        mutants=ends["mutant"],
        lost=ends["lost"],
        generations=tuple(needed),
        confidence=interval(ends["healed"], trials),
        accuracy=accuracy,  # type: ignore[arg-type]
    )


def follow(quine: Quine, struck: Tensor, original: Tensor, generations: int = _MOST) -> tuple[str, int, Tensor]:
    """A line from damaged weights ``(P,)`` on: ``healed``, ``mutant`` or ``lost``, after how many generations, and where."""
    theta = struck
    if not _differ(theta, original):
        return "healed", 0, theta
    for count in range(1, generations + 1):
        printed = quine.self_map(theta)
        if not _differ(printed, original):
            return "healed", count, printed
        if not _differ(printed, theta):
            return ("mutant" if bool(torch.isfinite(printed).all()) else "lost"), count - 1, printed
        theta = printed
    return "lost", generations, theta


def basin(
    quine: Quine,
    kind: str,
    fractions: Sequence[float],
    *,
    trials: int = 100,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Healing]:
    """:func:`heal` for growing fractions of one kind of damage: the curve that shows where healing ends."""
    return [heal(quine, Damage(kind, f), trials=trials, seed=seed, progress=progress) for f in fractions]


def interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % confidence interval of a probability, exact.

    Source: Clopper and Pearson (1934).
    """
    from scipy.stats import binomtest

    found = binomtest(successes, trials).proportion_ci(method="exact")
    return float(found.low), float(found.high)


def _seed(seed: int, trial: int) -> int:
    return int(np.random.SeedSequence([seed, trial]).generate_state(1, np.uint64)[0])


def _differ(a: Tensor, b: Tensor) -> bool:
    return bool(differing(a, b).any())


def _scored(quine: Quine, theta: Tensor, evaluate: Callable[[Quine], float]) -> float:
    quine.theta = theta
    return evaluate(quine)
