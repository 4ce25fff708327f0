"""Named tasks: ``nq.tasks.recipe("digits-cnn", seed=7)`` builds one, untrained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import BadOption, UnknownName, did_you_mean
from ..quines.networks.bodies import Body, TokenMean, Tokens
from ..quines.options import check_seed
from ..quines.taped import TaskQuine
from ..recipes import checked_options
from ..recipes.problem import drawn
from .data import DIGITS, MNIST, Data, Loader
from .registry import TASKS as TASKS
from .registry import TaskPlan, task
from .training import Progress, Schedule, Training, evaluate, train


@dataclass(frozen=True)
class Task:
    """An untrained task quine, the data that it is to learn from, and the schedule.

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
        """Run :func:`neuralquine.tasks.train` with this task's data and schedule."""
        options = {"schedule": self.schedule, "validation": self.data.validation, "seed": self.seed} | options
        return train(self.quine, self.data.train, progress=progress, **options)

    def test(self) -> float:
        """Return the accuracy on the test images, of the network as it is."""
        return evaluate(lambda x: self.quine.outputs(x.to(self.quine.trunk_device, self.quine.dtype)), self.data.test)


# In the lab: as many weights as it allows; a quarter of the tape and a third of the epochs.
@task("digits-mlp", DIGITS, in_lab={"repeats": 1, "epochs": 120})
def digits_mlp(
    seed: int = 0, hidden: int = 128, code_size: int = 8192, repeats: int = 4, epochs: int = 400
) -> TaskPlan:
    """A perceptron for scikit-learn's digits, 64-128-10 (P = 4,203,914)."""
    body = Body(nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU()), nn.Linear(hidden, 10))
    return _digits(_he(body), code_size, repeats, Schedule(epochs=epochs, noise=0.45))


@task("digits-cnn", DIGITS)
def digits_cnn(
    seed: int = 0, channels: int = 16, code_size: int = 12288, repeats: int = 4, epochs: int = 200
) -> TaskPlan:
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
    return _digits(body, code_size, repeats, Schedule(epochs=epochs, noise=0.45))


@task("digits-vit", DIGITS)
def digits_vit(seed: int = 0, width: int = 64, code_size: int = 32768, repeats: int = 2, epochs: int = 120) -> TaskPlan:
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
    return _digits(body, code_size, repeats, Schedule(epochs=epochs, noise=0.3))


@task("mnist-cnn", MNIST)
def mnist_cnn(
    seed: int = 0,
    channels: int = 16,
    code_size: int = 65536,
    repeats: int = 1,
    epochs: int = 10,
    folder: str = "",
) -> TaskPlan:
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
    settings = {"code_size": code_size, "repeats": repeats}
    return TaskPlan(body, (16, 1, 28, 28), settings, Schedule(epochs=epochs))


def recipe(name: str, *, seed: int = 0, family: type[TaskQuine] = TaskQuine, **options: Any) -> Task:
    """Build a named task, untrained.

    Args:
        name: a name from ``TASKS``, such as ``digits-mlp``.
        seed: decides the initial weights, the expansion, the probe, the training and the split of the data.
        family: the kind of quine.
        options: the task's own options.

    Raises:
        UnknownName: there is no such task or option; the message suggests the nearest.
        BadOption: an option has a value that the task refuses.
    """
    plan = planned(name, seed=seed, **options)
    settings = {k: v for k, v in plan.settings.items() if family is TaskQuine or k != "repeats"}
    quine = family(plan.body, plan.probe, seed=seed, copy=False, **settings)
    quine.recipe = {"name": name, "seed": seed, **options}
    return Task(quine, _data(quine.recipe), plan.schedule, seed)


def planned(name: str, *, seed: int = 0, **options: Any) -> TaskPlan:
    """Return the plan of a named task, before a quine is made and data are read."""
    if name not in TASKS:
        raise UnknownName(f"no task {name!r}: {did_you_mean(name, list(TASKS))}")
    check_seed(seed)
    make = TASKS[name]
    with drawn(seed):
        return make(seed=seed, **checked_options(f"task {name}", make, options))


def test_data(made: dict[str, Any], folder: str = "") -> Loader:  # noqa: PT028 - no test
    """Load the test images of a task.

    Args:
        made: its name and seed, as a quine keeps them in ``recipe``. Nothing else of the task is built, and a folder that
            stands there is not opened: a file from elsewhere may name any.
        folder: of the images, where they do not come with the package and are not at their usual place.

    Raises:
        UnknownName: it is no task.
        BadOption: the seed is no whole number.
    """
    name, seed = made.get("name"), made.get("seed")
    if name not in TASKS:
        raise UnknownName(f"{name!r} names no task whose data are known")
    if type(seed) is not int:
        raise BadOption(f"seed must be a whole number, not {seed!r}")
    return _data({"name": name, "seed": seed, "folder": folder}).test


def _data(made: dict[str, Any]) -> Data:
    return TASKS[made["name"]].source.load(made["seed"], made.get("folder") or "")


def _digits(body: nn.Module, code_size: int, repeats: int, schedule: Schedule) -> TaskPlan:
    return TaskPlan(body, (16, 1, 8, 8), {"code_size": code_size, "repeats": repeats}, schedule)


def _he(body: nn.Module) -> nn.Module:
    """Draw weights of variance 2 / fan-in, for ReLU, and biases a tenth as large as usual weights.

    Source: He et al. (2015), "Delving deep into rectifiers".
    """
    with torch.no_grad():
        for parameter in body.parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter)
            else:
                nn.init.normal_(parameter, std=0.1)
    return body
