"""Named tasks: ``nq.tasks.recipe("digits-cnn", seed=7)`` builds one, untrained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import UnknownName, did_you_mean
from ..quines.networks.bodies import Body, TokenMean, Tokens
from ..quines.taped import TaskQuine
from ..recipes import checked_options
from ..recipes.problem import drawn
from .data import Data, Loader, digits, mnist
from .training import Progress, Schedule, Training, evaluate, train


@dataclass(frozen=True)
class Task:
    """An untrained task quine, what it is to learn, and how.

    Attributes:
        quine: prints itself already; it has not learned anything.
        data: training, validation and test batches.
        schedule: how long and how fast it is trained.
        seed: of all of it.
    """

    quine: TaskQuine
    data: Data
    schedule: Schedule
    seed: int

    def train(self, *, progress: Progress | None = None, **options: Any) -> Training:
        """:func:`neuralquine.tasks.train` with this task's data and schedule."""
        options = {"schedule": self.schedule, "validation": self.data.validation, "seed": self.seed} | options
        return train(self.quine, self.data.train, progress=progress, **options)

    def test(self) -> float:
        """Accuracy on the test images, of the network as it is."""
        return evaluate(lambda x: self.quine.outputs(x.to(self.quine.trunk_device, self.quine.dtype)), self.data.test)


@dataclass(frozen=True)
class Sketch:
    """What a recipe says: a body, the shape of its probe, the tape's settings, where the data are, the schedule."""

    body: nn.Module
    probe: tuple[int, ...]
    settings: dict[str, Any]
    data: Callable[[], Data]
    schedule: Schedule


def digits_mlp(seed: int = 0, hidden: int = 128, code_size: int = 8192, repeats: int = 4, epochs: int = 400) -> Sketch:
    """A perceptron for scikit-learn's digits, 64-128-10 (P = 4,203,914)."""
    body = Body(nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU()), nn.Linear(hidden, 10))
    return _digits(_he(body), seed, {"code_size": code_size, "repeats": repeats}, Schedule(epochs=epochs, noise=0.45))


def digits_cnn(
    seed: int = 0, channels: int = 16, code_size: int = 12288, repeats: int = 4, epochs: int = 200
) -> Sketch:
    """A convolutional network for scikit-learn's digits, 16 and 32 channels (P = 6,297,546)."""
    stem = nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    body = _he(Body(stem, nn.Linear(8 * channels, 10)))
    return _digits(body, seed, {"code_size": code_size, "repeats": repeats}, Schedule(epochs=epochs, noise=0.45))


def digits_vit(seed: int = 0, width: int = 64, code_size: int = 32768, repeats: int = 2, epochs: int = 120) -> Sketch:
    """A vision transformer for scikit-learn's digits, 2 layers, 16 patches of 2 x 2 (P = 8,466,634)."""
    layers = [
        nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        for _ in range(2)
    ]
    stem = nn.Sequential(
        nn.Conv2d(1, width, 2, stride=2),
        Tokens(16, width),
        *layers,
        nn.LayerNorm(width),
        TokenMean(),
        nn.Linear(width, 128),
        nn.ReLU(),
    )
    body = Body(stem, nn.Linear(128, 10))
    return _digits(body, seed, {"code_size": code_size, "repeats": repeats}, Schedule(epochs=epochs, noise=0.3))


def mnist_cnn(
    seed: int = 0,
    channels: int = 16,
    code_size: int = 65536,
    repeats: int = 1,
    epochs: int = 10,
    folder: str = "",
) -> Sketch:
    """A convolutional network for MNIST files in a local folder (folder=..., or NQ_MNIST_DIR; P = 8,603,978)."""
    stem = nn.Sequential(
        nn.Conv2d(1, channels, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(98 * channels, 128),
        nn.ReLU(),
    )
    body = _he(Body(stem, nn.Linear(128, 10)))
    return Sketch(
        body,
        (16, 1, 28, 28),
        {"code_size": code_size, "repeats": repeats},
        lambda: mnist(folder or None, seed),
        Schedule(epochs=epochs),
    )


TASKS: dict[str, Callable[..., Sketch]] = {
    "digits-mlp": digits_mlp,
    "digits-cnn": digits_cnn,
    "digits-vit": digits_vit,
    "mnist-cnn": mnist_cnn,
}


def recipe(name: str, *, seed: int = 0, family: type[TaskQuine] = TaskQuine, **options: Any) -> Task:
    """A named task, untrained.

    Args:
        name: ``digits-mlp``, ``digits-cnn``, ``digits-vit`` or ``mnist-cnn``.
        seed: of the initial weights, the expansion, the probe, the training and the split of the data.
        family: the kind of quine.
        options: of that recipe.

    Raises:
        UnknownName: no such recipe or option; the message suggests the nearest.
    """
    sketch = sketched(name, seed=seed, **options)
    settings = {k: v for k, v in sketch.settings.items() if family is TaskQuine or k != "repeats"}
    quine = family(sketch.body, sketch.probe, seed=seed, copy=False, **settings)
    quine.recipe = {"name": name, "seed": seed, **options}
    return Task(quine, sketch.data(), sketch.schedule, seed)


def sketched(name: str, *, seed: int = 0, **options: Any) -> Sketch:
    """What a recipe says, before a quine is made and data are read."""
    if name not in TASKS:
        raise UnknownName(f"no task {name!r}: {did_you_mean(name, list(TASKS))}")
    make = TASKS[name]
    with drawn(seed):
        return make(seed=seed, **checked_options(f"task {name}", make, options))


def test_data(made: dict[str, Any]) -> Loader:
    """The test images of a recipe's name, seed and options, as a quine keeps them in ``recipe``; nothing else is built."""
    name, seed, folder = made.get("name"), made.get("seed"), made.get("folder")
    if name not in TASKS or type(seed) is not int or not isinstance(folder, str | None):
        raise UnknownName(f"{name!r} names no task whose data are known")
    return (digits(seed) if name.startswith("digits") else mnist(folder or None, seed)).test


def _digits(body: nn.Module, seed: int, settings: dict[str, Any], schedule: Schedule) -> Sketch:
    return Sketch(body, (16, 1, 8, 8), settings, lambda: digits(seed), schedule)


def _he(body: nn.Module) -> nn.Module:
    """Weights of variance 2 / fan-in, for ReLU, and biases a tenth as large as usual weights.

    Source: He et al. (2015), "Delving deep into rectifiers".
    """
    with torch.no_grad():
        for parameter in body.parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter)
            else:
                nn.init.normal_(parameter, std=0.1)
    return body
