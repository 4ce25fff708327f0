"""The result of a solve: the status, the figures, the trace and the machine."""

from __future__ import annotations

import enum
import math
import platform
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import plural
from ..files.strict_json import finite_or_none
from ..quines.measure import Measurement, round_off

_FIGURES = (
    *(
        "parameters",
        "relative_residual",
        "max_abs_residual",
        "last_relative_residual",
        "squared_residual",
        "last_squared_residual",
        "course",
        "weight_rms",
    ),
    *("differing_weights", "bit_exact", "self_sensitivity", "spectral_radius", "map_evaluations", "jvps", "steps"),
    *(
        "seconds",
        "method",
        "seed",
        "dtype",
        "code_bits",
        "code_phase",
        "portable",
        "proved",
        "detail",
        "asked",
        "answers",
        "determinant",
        "prospect",
    ),
)
"""The keys of :meth:`Solution.figures` after the status, in the order in which every JSON shows them."""


_LOOSE = "converged only to the tolerance that was asked for: round-off is a relative residual of {:.0e} here"


class Status(enum.Enum):
    """Why a solve ended. The name is the stable key, the value a sentence with cause and remedy."""

    CONVERGED = "converged: a fresh evaluation of the returned weights prints them to round-off"
    ZERO_QUINE = (
        "zero quine: every weight went to its mean, where F(0) = 0 holds for any network, or all to one number, which a bias answers; "
        "print through a normalization (normalize=True of nq.Quine), or start elsewhere"
    )
    CONSTANT_QUINE = (
        "constant quine: what is printed hardly depends on the weights, so it fits them trivially; "
        "check that the trunk uses its weights and its probe"
    )
    MAX_STEPS = "step limit reached: raise max_steps or choose another method"
    TIME_LIMIT = "time limit reached: raise time_limit, or resume from the best iterate"
    NOT_EXACT = (
        "no bit-exact quine found on any grid near any fixed point; the weights kept are a converged quine without a "
        "grid, if there was one: allow other probes, more starts, another seed or another grid"
    )
    STALLED = "stalled: the residual stopped falling; try more starts or another method (newton, broyden)"
    CYCLE = "cycle: the iterates repeat with a short period; use damping, anderson or newton"
    DIVERGED = "diverged: the iterates grew without bound; use damping, a smaller step or newton"
    NONFINITE = "NaN or infinity in the map: the last finite iterate is kept; use smaller steps or check the trunk"
    INTERRUPTED = "interrupted: the best iterate so far is kept"


def environment() -> dict[str, Any]:
    """Versions and settings that the printed bits may depend on."""
    import numpy

    from ..version import __version__

    return {
        "neuralquine": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
    }


@dataclass(frozen=True)
class TracePoint:
    """One step of the loop.

    Attributes:
        step: steps so far, of all methods and starts in turn.
        map_evaluations: evaluations so far, of every start.
        seconds: since the search began.
        relative_residual: of the best iterate of any start so far.
        current_relative_residual: of the current iterate; of several starts, the smallest.
        squared_residual: ``||F(theta) - theta||^2`` of the best iterate, over all weights.
        current_squared_residual: the same of the current iterate: the loss that the post's loop plots.
        trials: attempts so far to round a fixed point to an exact quine, of all grids and phases.
        expected_trials: how many it takes on average, ``|det(I - J)|`` at the best conditioned fixed point.
    """

    step: int
    map_evaluations: int
    seconds: float
    relative_residual: float
    current_relative_residual: float = math.nan
    squared_residual: float = math.nan
    current_squared_residual: float = math.nan
    trials: int = 0
    expected_trials: float = math.nan

    @property
    def trials_in_words(self) -> str:
        """The trials against their expected number; empty before the first fixed point."""
        expected = f"{self.expected_trials:,.0f}" if self.expected_trials < 1e7 else f"{self.expected_trials:.1e}"
        return "" if math.isnan(self.expected_trials) else f"{self.trials:,} trials, {expected} expected"

    def figures(self) -> dict[str, Any]:
        """All figures of the point, ready for JSON: one that is not finite is None; trials where there are any."""
        of_trials = ("trials", "expected_trials") if math.isnan(self.expected_trials) else ()
        return {name: finite_or_none(value) for name, value in vars(self).items() if name not in of_trials}


@dataclass(frozen=True, kw_only=True)
class Solution(Measurement):
    """The result of :func:`neuralquine.solve`. All residuals are of ``theta`` itself, evaluated afresh.

    Three more figures of that evaluation, ``max_ulp``, ``nonfinite_weights`` and ``subnormal_weights``, are described by
    :class:`~neuralquine.quines.measure.Measurement`.

    Attributes:
        status: why the solve ended.
        theta: ``(P,)`` the best weights; None for a large network, which holds them itself.
        last_theta: ``(P,)`` the last iterate of the method (the post keeps this one).
        parameters: P.
        relative_residual: ``||F(theta) - theta|| / ||theta||``.
        max_abs_residual: ``max |F(theta) - theta|``.
        squared_residual: ``||F(theta) - theta||^2``, the loss that the post reports.
        last_relative_residual, last_squared_residual: those of ``last_theta``; NaN where a time limit left no time for them.
        course: whether the residual "falls", "stalls", "oscillates" or "wanders" at the end of a search that found
            nothing (``solving/course.py`` holds the rule); empty where that cannot be said.
        course_in_words: the same as a sentence.
        weight_rms: root-mean-square weight; a small one makes any absolute residual meaningless.
        differing_weights: weights whose printed bits differ from the stored ones.
        bit_exact: whether no weight differs, on this machine.
        self_sensitivity: ``||J_F(theta)||_2``; near 0 the quine is a printed constant.
        bound: whether the self-sensitivity is only a lower bound, as it is for a large network.
        spectral_radius: largest ``|eigenvalue|`` of ``J_F``; above 1 plain regeneration is repelled. NaN for a
            large network.
        determinant: ``|det(I - J)|``, so many trials an exact quine near this one takes; NaN where eigenvalues are missing.
        map_evaluations: evaluations of the map, those of every start and those of the judge.
        jvps: derivative products, forward or reverse.
        steps: steps of the loop.
        seconds: wall time of the search.
        portable, proved: None, because a solve does not examine them; ``neuralquine verify --portable`` and
            ``neuralquine certify`` do. The command ``solve --exact`` fills in ``portable`` where a proof takes a second.
        code_bits: k of the code's grid ``2^-k``; None where the code is not rounded.
        code_phase: how far that grid is moved; 0 where it is not.
        detail: what was tried, where the status alone does not say it.
        prospect: what a search for exact bits would meet at a quine that was found without one, in words.
        asked: what was asked, in words.
        answers: what answers and is compared with the weights, in words.
        method: the method that found the weights.
        seed: seed of the starts.
        dtype: type of the weights.
        trace: residual against steps, evaluations and seconds.
        environment: versions and settings.
    """

    status: Status
    theta: Tensor | None
    last_theta: Tensor | None
    parameters: int
    last_relative_residual: float
    last_squared_residual: float
    bit_exact: bool
    self_sensitivity: float
    bound: bool
    spectral_radius: float
    map_evaluations: int
    jvps: int
    steps: int
    seconds: float
    method: str
    seed: int
    dtype: str
    trace: tuple[TracePoint, ...] = field(repr=False)
    course: str = ""
    course_in_words: str = ""
    code_bits: int | None = None
    code_phase: int = 0
    portable: bool | None = None
    proved: bool | None = None
    detail: str = ""
    prospect: str = ""
    determinant: float = math.nan
    asked: str = ""
    answers: str = ""
    environment: dict[str, Any] = field(default_factory=environment, repr=False)

    @property
    def converged(self) -> bool:
        """Whether a non-trivial quine was found, to round-off or the tolerance that was asked for; bits may still differ."""
        return self.status is Status.CONVERGED

    @property
    def loose(self) -> bool:
        """Whether it converged only because a wider tolerance than round-off was asked for; ``verify`` says no to it."""
        return self.converged and not self.relative_residual <= round_off(getattr(torch, self.dtype))

    @property
    def sentence(self) -> str:
        """Why the search ended, as a sentence."""
        return _LOOSE.format(round_off(getattr(torch, self.dtype))) if self.loose else self.status.value

    @property
    def failure(self) -> str:
        """Why no quine was found, in one line."""
        evaluations = plural(self.map_evaluations, "map evaluation")
        detail = "".join(f"; {words}" for words in (self.course_in_words, self.detail) if words)
        return f"{self.sentence} (relative residual {self.relative_residual:.1e} after {evaluations}{detail})"

    def figures(self) -> dict[str, Any]:
        """Everything but the tensors, the trace and the environment, ready for JSON."""
        plain = {name: finite_or_none(getattr(self, name)) for name in _FIGURES}
        return {"status": self.status.name.lower(), "converged": self.converged, **plain}

    def __repr__(self) -> str:
        return (
            f"Solution({self.status.name}: relative residual {self.relative_residual:.2e}, "
            f"max |F(theta) - theta| {self.max_abs_residual:.1e}, {self.differing_weights} of {self.parameters} "
            f"weights differ in bits\n  weight RMS {self.weight_rms:.3g}, self-sensitivity "
            f"{self.self_sensitivity:.3g}, spectral radius {self.spectral_radius:.3g}\n  {self.method}, seed "
            f"{self.seed}: {self.map_evaluations} map evaluations, {self.jvps} JVPs, {self.steps} steps, "
            f"{self.seconds:.3f} s, {self.dtype}\n  asked: {self.asked}\n  answers: {self.answers})"
        )
