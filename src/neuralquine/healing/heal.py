"""Self-repair: damage the weights, let the network print itself, and see whether every bit comes back.

One generation installs what the damaged network prints. How a line of generations ends (healed, mutant or lost) is said in
:mod:`neuralquine.quines.lineage`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import BadOption, NeuralQuineError
from ..quines.bits import differing
from ..quines.lineage import followed
from ..quines.quine import Quine
from ..quines.threads import one_thread_if_small
from .damage import Damage, damaged

_GENERATIONS = 8  # followed by default: what heals at all has healed after two or three
_SCORED = 10  # trials that are scored: a score runs the network over a whole test set


@dataclass(frozen=True)
class Healing:
    """The outcomes of the trials of one damage.

    Attributes:
        damage: kind and fraction.
        trials: the number of lines that were followed.
        healed: the number of lines in which every bit of the original came back.
        mutants: the number of lines that ended as another exact quine.
        lost: the number of lines that ended in NaN or infinity, or had not settled after the last generation.
        generations: one number for each healed line: the generations until the original stood there again.
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
        """Return every figure, ready for JSON."""
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


@one_thread_if_small
@torch.no_grad()
def heal(
    quine: Quine,
    damage: Damage | str = "noise:0.5",
    *,
    trials: int = 100,
    generations: int = _GENERATIONS,
    seed: int = 0,
    evaluate: Callable[[Quine], float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Healing:
    """Damage a quine again and again, and count how often it prints itself back, bit for bit.

    Args:
        quine: a bit-exact quine; it holds its own weights again afterwards.
        damage: kind and fraction, or ``"KIND:FRACTION"``.
        trials: how many independent damages are tried.
        generations: a line that has not settled after so many counts as lost.
        seed: decides the damages; each trial has a generator of its own.
        evaluate: scores the network as it stands, such as its accuracy; it is called before the damage, while damaged and
            after the last generation, in at most ten of the trials.
        progress: called with the number of trials done and of those healed.

    Raises:
        NeuralQuineError: the quine is not bit-exact, so that there is nothing to come back to.
        UnknownName: there is no such damage.
        BadOption: ``trials`` or ``generations`` is below 1, or the fraction is out of range.
    """
    damage = Damage.parse(damage) if isinstance(damage, str) else damage
    if trials < 1 or generations < 1:
        raise BadOption(f"trials and generations must be at least 1, not {trials} and {generations}")
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
            end = followed(quine, struck, lambda theta: not _differ(theta, original), generations)
            healed = end.outcome == "healed"
            ends[end.outcome] += 1
            if healed:
                needed.append(end.generations)
            if evaluate is not None and len(scores) < _SCORED:
                damaged_score = _scored(quine, struck, evaluate)
                scores.append((damaged_score, before if healed else _scored(quine, end.theta, evaluate)))
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


def basin(
    quine: Quine,
    kind: str,
    fractions: Sequence[float],
    *,
    trials: int = 100,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Healing]:
    """Run :func:`heal` for growing fractions of one kind of damage: the curve that shows where healing ends."""
    return [heal(quine, Damage(kind, f), trials=trials, seed=seed, progress=progress) for f in fractions]


def interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the exact 95 % confidence interval of a probability.

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
