"""Quines at work: trained on digits, then asked what they see, whole and damaged."""

from __future__ import annotations

import importlib.util
import time
from typing import Any

import torch
from torch import Tensor

from ..errors import NeuralQuineError
from ..solving.solution import finite_or_none
from ..tasks.data import ink_of, scaled
from ..tasks.recipes import TASKS, recipe, test_data
from .patient import Patient, at
from .search import PAUSE, Report, kept


def works(report: Report) -> list[dict[str, Any]]:
    """Return the tasks that can be learned here; none without scikit-learn."""
    if importlib.util.find_spec("sklearn") is None:
        return []
    return [
        {"name": task.name, "summary": (task.__doc__ or "").split(" (P =")[0] + ".", "work": True}
        for task in TASKS.values()
        if task.in_lab is not None
    ]


def train(report: Report, *, folder: str, network: str, seed: int) -> dict[str, Any]:
    """Learn the code of a task quine, and keep the quine; stopped early, it is one all the same."""
    task = recipe(network, seed=seed, **(TASKS[network].in_lab or {}))
    due = 0.0

    def watched(figures: dict[str, float]) -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due:
            due = now + PAUSE
            report(
                {"step": int(figures["epoch"]) + 1, "loss": figures["loss"], "validation": figures.get("validation")}
            )

    training = task.train(progress=watched)
    sentence = "stopped early" if training.interrupted else "trained"
    told = {"sentence": sentence, "epochs": training.epochs, "seconds": training.seconds, "accuracy": task.test()}
    return {"training": told, **kept(task.quine, folder)}


def _working(folder: str) -> Patient:
    patient = at(folder)
    if not hasattr(patient.quine, "outputs"):
        raise NeuralQuineError("this quine has no work but to print itself")
    return patient


@torch.no_grad()
def _outputs(patient: Patient, theta: Tensor, images: Tensor) -> Tensor:
    quine: Any = patient.quine
    quine.theta = theta
    return quine.outputs(images.to(quine.trunk_device, quine.dtype))


def _test_images(patient: Patient) -> tuple[Tensor, Tensor]:
    """Return the digits that the quine of this folder never saw."""
    batches = list(test_data(patient.quine.recipe or {}))
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def samples(report: Report, *, folder: str) -> list[dict[str, Any]]:
    """Return one digit of each kind, as 64 numbers from 0 to 16."""
    images, labels = _test_images(_working(folder))
    first = [int((labels == digit).nonzero()[0]) for digit in range(10)]
    return [{"digit": d, "ink": ink_of(images[i : i + 1]).flatten().tolist()} for d, i in enumerate(first)]


def read(report: Report, *, folder: str, ink: list[float]) -> dict[str, Any]:
    """Return what the quine makes of one drawing: a probability for each digit, None where it is not a number."""
    patient = _working(folder)
    image = scaled(torch.tensor(ink).reshape(1, 8, 8))
    answers = {}
    for name, theta in (("original", patient.original), ("current", patient.current)):
        answers[name] = [finite_or_none(v) for v in _outputs(patient, theta, image)[0].double().softmax(0).tolist()]
    return answers


def score(report: Report, *, folder: str) -> dict[str, Any]:
    """Return the accuracy on the digits that it never saw, whole and as it is now."""
    patient = _working(folder)
    images, labels = _test_images(patient)
    hits = {
        name: float((_outputs(patient, theta, images).argmax(1) == labels).double().mean())
        for name, theta in (("original", patient.original), ("current", patient.current))
    }
    return {**hits, "count": len(labels)}


DONE_HERE = (works, train, samples, read, score)
