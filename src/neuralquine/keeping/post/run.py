"""The chapters of the post, computed one after the other; what takes long is kept, and a second run goes on from there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ... import recipes
from ...checking.spectrum import spectrum
from ...errors import BadOption, NeuralQuineError, QuineFileError
from ...keeping.store import save
from ...keeping.theorems import certify
from ...quines.measure import Measurement, measure
from ...quines.quine import Quine
from ...quines.threads import threads_for
from ...solving.solution import Solution
from ...solving.solve import solve
from .curves import Curve, PartOneNewton, PostLoop, Stepper

PAGE, FIGURES = "index.html", "figures.json"
CURVES = {
    "loop": "loop.safetensors",
    "meant": "loop-as-meant.safetensors",
    "newton-zero": "newton-part1.safetensors",
    "newton": "newton.safetensors",
}
_OURS = {PAGE, FIGURES, "quine", "exact", *CURVES.values()}
STEPS = 200_000  # the post's
NEWTON_ZERO = 4  # steps of Newton without normalization: after them the weights are below 1e-15 on seeds 0 to 5


@dataclass(frozen=True)
class Plan:
    """How far every search goes.

    Attributes:
        seed: of everything random.
        steps: of the post's loop.
        meant: of the loop as it was meant; a step costs three times as much.
        newton: of part 1's Newton on the normalized network; a step costs a ``P x P`` matrix.
    """

    seed: int
    steps: int
    meant: int
    newton: int


def plan(seed: int, steps: int | None, *, quick: bool) -> Plan:
    """The steps of every search: the post's 200,000, or with ``quick`` what takes less than a minute together."""
    steps = steps or (4_000 if quick else STEPS)
    return Plan(seed, steps, max(1, min(steps, 1_000 if quick else 20_000)), min(steps, 10 if quick else 60))


@dataclass(frozen=True)
class Pair:
    """Weights and what the network with these weights prints."""

    theta: Tensor
    printed: Tensor
    figures: Measurement

    @classmethod
    def of(cls, quine: Quine, theta: Tensor) -> Pair:
        """Evaluate the network afresh."""
        quine.theta = theta
        return cls(quine.theta, quine.printed(), measure(quine))


@dataclass(frozen=True)
class Proof:
    """Whether a real quine is proved to exist at the weights, and the theorem or the reason."""

    holds: bool
    words: str


@dataclass(frozen=True)
class Story:
    """Everything that the page shows."""

    plan: Plan
    curves: dict[str, Curve]
    last: Pair
    best: Pair
    zero: Pair
    initial: Tensor
    radius_bare: float
    radius_normalized: float
    ours: tuple[Solution, Pair]
    exact: tuple[Solution, Pair]
    proof: Proof


Show = Callable[[str, int, int, float | None], None]
"""Called with a chapter's name, the units of work done so far, their total, and the loss of the present step, if any."""

_WORTH = {"loop": 1, "meant": 3, "newton-zero": 500, "newton": 500}  # units of work of a step: those of the post's loop
_REST = 5_000  # units of work of the chapters that are not kept


class _Progress:
    """Counts the work of all chapters together."""

    def __init__(self, show: Show, total: int) -> None:
        self._show, self._total, self._done, self.name = show, total, 0, ""

    def tell(self, name: str, more: int = 0, loss: float | None = None) -> None:
        self.name, self._done = name, self._done + more
        self._show(self.name, min(self._done, self._total), self._total, loss)


def run(out: Path, wanted: Plan, show: Show) -> Story:
    """Run every chapter that is not done yet, and evaluate afresh what the page says.

    Args:
        out: the folder of everything; a search that was stopped goes on from what it holds.
        wanted: how far every search goes.
        show: is told what is done.

    Raises:
        BadOption: the folder holds files of another origin.
        QuineFileError: the folder holds the searches of another seed, or cannot be written.
    """
    _check(out)
    with threads_for(0):
        return _run(out, wanted, show)


def _check(out: Path) -> None:
    """Refuse a folder with files that are not the post's."""
    if out.exists() and not out.is_dir():
        raise BadOption(f"{out} is a file: choose a folder")
    foreign = sorted(f.name for f in out.iterdir() if f.name not in _OURS) if out.exists() else []
    if foreign:
        raise BadOption(f"{out} holds files that are not this command's, such as {foreign[0]}: choose another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise QuineFileError(f"cannot write {out}: {error.strerror or error}") from error


def _run(out: Path, wanted: Plan, show: Show) -> Story:
    seed = wanted.seed
    bare, normalized = recipes.recipe("blog-part1", seed=seed), recipes.recipe("blog", seed=seed)
    initial = normalized.theta
    steppers: dict[str, tuple[str, int, Stepper]] = {
        "newton-zero": ("part 1: Newton", NEWTON_ZERO, PartOneNewton(bare)),
        "newton": ("Newton with normalization", wanted.newton, PartOneNewton(normalized)),
        "loop": ("the post's loop", wanted.steps, PostLoop(normalized)),
        "meant": ("the loop as it was meant", wanted.meant, PostLoop(normalized, meant=True)),
    }
    progress = _Progress(show, _REST + sum(_WORTH[key] * steps for key, (_, steps, _) in steppers.items()))
    curves: dict[str, Curve] = {}
    for key, (name, steps, stepper) in steppers.items():
        curve = curves[key] = Curve(out / CURVES[key], stepper, f"{key}, seed {seed}")
        worth = _WORTH[key]
        progress.tell(name, worth * min(steps, curve.steps))
        curve.advance(steps, lambda _, loss, name=name, worth=worth: progress.tell(name, worth, loss))
    radii = [spectrum(quine, torch.zeros_like(initial)).spectral_radius for quine in (bare, normalized)]
    progress.tell("a quine, at round-off")
    ours = _solved(out / "quine", seed, exact=False)
    progress.tell("a quine, every bit", _REST // 4)
    exact = _solved(out / "exact", seed, exact=True)
    progress.tell("the proof", _REST // 4)
    proof = _proof(out / "quine")
    progress.tell("the page", _REST // 2)
    return Story(
        plan=wanted,
        curves=curves,
        last=Pair.of(normalized, curves["loop"].last),
        best=Pair.of(normalized, curves["loop"].best),
        zero=Pair.of(bare, curves["newton-zero"].last),
        initial=initial,
        radius_bare=radii[0],
        radius_normalized=radii[1],
        ours=ours,
        exact=exact,
        proof=proof,
    )


def _solved(folder: Path, seed: int, *, exact: bool) -> tuple[Solution, Pair]:
    """Solve the post's network afresh and keep the quine."""
    quine = recipes.recipe("blog", seed=seed)
    solution = solve(quine, exact=exact, throw=False)
    save(quine, folder)
    return solution, Pair.of(quine, quine.theta)


def _proof(folder: Path) -> Proof:
    """Prove that a real quine exists at the weights of a folder, or say why that was not proved."""
    try:
        return Proof(True, str(certify(folder)["claim"]))
    except NeuralQuineError as error:
        return Proof(False, f"not proved: {error}")
