"""Training: the same loop for a task quine, whose code is learned, and for a body without the constraint.

An epoch is a pass over the loader. Everything random in it follows from the seed and the epoch's number, so training
that was killed and resumed from its checkpoint ends with the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadOption, NeuralQuineError
from ..quines.interrupts import interrupt_here, interrupts_held
from ..quines.taped import TaskQuine
from ..quines.threads import threads_for
from .checkpoint import Checkpoint

Batches = Iterable[Any]  # of (inputs, targets), such as a DataLoader
Loss = Callable[[Tensor, Tensor], Tensor]
Score = Callable[[Tensor, Tensor], Tensor]
Progress = Callable[[dict[str, float]], None]
_LR_CODE = 2e-2  # of Adam, for a code, whose entries live in [-1, 1]
_LR_WEIGHTS = 3e-3  # of Adam, for ordinary weights


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast a network is trained: Adam with a cosine schedule from ``lr`` to 0 over all steps.

    Attributes:
        epochs: passes over the data.
        lr: learning rate; by default 0.02 for a code, whose entries live in [-1, 1], and 0.003 for weights.
        patience: stop after so many epochs without a lower validation loss, and keep the weights of the lowest. None
            goes on to the end and keeps the last ones, which the falling learning rate has made the best: the early
            ones that score well in validation do so by luck.
        noise: standard deviation of Gaussian noise added to the inputs, as augmentation.

    Raises:
        BadOption: a number is out of range.
    """

    epochs: int = 200
    lr: float | None = None
    patience: int | None = None
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or (self.patience is not None and self.patience < 1):
            raise BadOption(f"epochs and patience must be at least 1, not {self.epochs} and {self.patience}")
        if not (self.noise >= 0 and math.isfinite(self.noise)) or (self.lr is not None and not 0 < self.lr < math.inf):
            raise BadOption(f"lr must be above 0 and noise at least 0, not {self.lr} and {self.noise}")


@dataclass(frozen=True)
class Training:
    """What a training did.

    Attributes:
        epochs: the number of epochs that were run.
        best_epoch: the epoch whose weights were kept.
        score: the validation score of that epoch, NaN without validation.
        seconds: the time that the training took, over all runs of it.
        interrupted: whether it was stopped before its end.
        history: one dictionary for each epoch.
    """

    epochs: int
    best_epoch: int
    score: float
    seconds: float
    interrupted: bool = False
    history: tuple[dict[str, float], ...] = field(repr=False, default=())


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the fraction of a batch whose largest output is the target."""
    return (outputs.argmax(-1) == targets).double().mean()


def train(
    quine: TaskQuine,
    data: Batches,
    *,
    validation: Batches | None = None,
    loss: Loss = nn.functional.cross_entropy,
    score: Score = accuracy,
    schedule: Schedule = Schedule(),
    seed: int = 0,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Training:
    """Learn the code of a task quine. Whatever is learned, and whenever it stops, it is a quine.

    The latent vector is real; the forward pass sees its signs, the backward pass the identity
    (:func:`neuralquine.tasks.straight_through`). After each step it is cut off at -1 and 1.

    Args:
        quine: holds the learned weights afterwards.
        data: batches of inputs and targets, anew for each epoch.
        validation: batches that are scored after each epoch.
        loss: of outputs and targets, a mean over the batch.
        score: of outputs and targets; larger is better.
        schedule: how long and how fast it is trained.
        seed: decides the first latent vector, the noise, and the order of the batches.
        checkpoint: a file that keeps the state after every epoch; it is removed at the end.
        resume: go on from that file if it is there.
        progress: called after each epoch with its figures.

    Raises:
        NeuralQuineError: there are no data, or the loss is not finite.
        QuineFileError: the checkpoint belongs to another training.
    """
    latent = quine.new_latent(torch.Generator().manual_seed(seed)).requires_grad_(True)

    def forward(x: Tensor) -> Tensor:
        return quine.outputs(x.to(quine.trunk_device, quine.dtype), quine.parametrize(latent))

    size = sum(p.numel() for p in quine.network.body.parameters())
    learner = _Learner([latent], forward, schedule.lr or _LR_CODE, size, after=quine.bound)
    store = _store(checkpoint, resume, quine, schedule, seed)
    course = _Course(data, validation, loss, score, schedule, seed, store, progress)
    result, (best,) = course.run(learner)
    with torch.no_grad():
        quine.install(quine.parametrize(best))
    return result


def train_body(
    body: nn.Module,
    data: Batches,
    *,
    validation: Batches | None = None,
    loss: Loss = nn.functional.cross_entropy,
    score: Score = accuracy,
    schedule: Schedule = Schedule(),
    seed: int = 0,
    progress: Progress | None = None,
) -> Training:
    """Train a body as it is, its own weights, by the same loop: the baseline of :func:`train`. In place."""
    parameters = [p for p in body.parameters() if p.requires_grad]
    size = sum(p.numel() for p in parameters)
    learner = _Learner(parameters, lambda x: body(x)[1], schedule.lr or _LR_WEIGHTS, size)
    result, best = _Course(data, validation, loss, score, schedule, seed, None, progress).run(learner)
    with torch.no_grad():
        for parameter, value in zip(parameters, best, strict=True):
            parameter.copy_(value)
    return result


@torch.no_grad()
def evaluate(forward: Callable[[Tensor], Tensor], data: Batches, score: Score = accuracy) -> float:
    """Return the mean score of a network over batches, each weighted by its size."""
    return _validate(forward, data, None, score)[0]


def _validate(
    forward: Callable[[Tensor], Tensor], data: Batches, loss: Loss | None, score: Score
) -> tuple[float, float]:
    total, scored, lost = 0, 0.0, 0.0
    for x, y in data:
        interrupt_here()
        outputs = forward(x)
        y = y.to(outputs.device)
        total += len(x)
        scored += len(x) * float(score(outputs, y))
        lost += len(x) * float(loss(outputs, y)) if loss is not None else 0.0
    if total == 0:
        raise NeuralQuineError("there is no data to evaluate on")
    return scored / total, lost / total


def _store(checkpoint: Path | None, resume: bool, quine: TaskQuine, schedule: Schedule, seed: int) -> Checkpoint:
    problem = {
        "quine": [type(quine).__name__, quine.code_size, quine.seed, quine.repeats, str(quine.dtype)],
        "tensors": [[n, list(p.shape)] for n, p in quine.named_weights()],
        "schedule": vars(schedule),
        "seed": seed,
        "torch": torch.__version__,
    }
    return Checkpoint(checkpoint, problem, resume=resume)


@dataclass(frozen=True)
class _Learner:
    """What is trained: tensors, the network as a function of its inputs, its size, and what follows each step."""

    parameters: list[Any]
    forward: Callable[[Tensor], Tensor]
    lr: float
    size: int
    after: Callable[[list[Any]], None] = lambda _: None


@dataclass(frozen=True)
class _Course:
    """A training before it begins: data, loss and score, schedule, and where its state is kept."""

    data: Batches
    validation: Batches | None
    loss: Loss
    score: Score
    schedule: Schedule
    seed: int
    store: Checkpoint | None
    progress: Progress | None

    def run(self, learner: _Learner) -> tuple[Training, list[Tensor]]:
        """Train to the end; returns what came of it and the best values of the parameters."""
        parameters, schedule, store = learner.parameters, self.schedule, self.store
        optimizer = torch.optim.Adam(parameters, lr=learner.lr)
        best = [p.detach().clone() for p in parameters]
        history: list[dict[str, float]] = []
        before = 0.0
        if store is not None and store.found:
            history, before = store.restore(parameters, best, optimizer)
        started = time.perf_counter()
        interrupted = False
        try:
            with threads_for(learner.size), interrupts_held(forget=True):
                for epoch in range(len(history), schedule.epochs):
                    if schedule.patience and epoch - 1 - _best(history, schedule) >= schedule.patience:
                        break
                    history.append(self._epoch(epoch, learner, optimizer))
                    if _best(history, schedule) == epoch:
                        best = [p.detach().clone() for p in parameters]
                    if store is not None:
                        store.keep(parameters, best, optimizer, history, before + time.perf_counter() - started)
                    if self.progress is not None:
                        self.progress(history[-1])
        except KeyboardInterrupt:
            if not history:
                raise
            interrupted = True
        chosen = _best(history, schedule)
        result = Training(
            epochs=len(history),
            best_epoch=chosen,
            score=history[chosen].get("validation", math.nan),
            seconds=before + time.perf_counter() - started,
            interrupted=interrupted,
            history=tuple(history),
        )
        if store is not None and not interrupted:
            store.discard()
        return result, best

    def _epoch(self, epoch: int, learner: _Learner, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """Pass over the data once and validate; returns the figures of the epoch."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_epoch_seed(self.seed, epoch))
            # A loader with a generator of its own is shuffled anew in each epoch, and the same way when it is resumed.
            generator = getattr(self.data, "generator", None)
            if isinstance(generator, torch.Generator):
                generator.manual_seed(_epoch_seed(self.seed, epoch))
            figures = {"epoch": float(epoch), "loss": self._pass(epoch, learner, optimizer)}
        if self.validation is not None:
            with torch.no_grad():
                score, loss = _validate(learner.forward, self.validation, self.loss, self.score)
            figures |= {"validation": score, "validation_loss": loss}
        return figures

    def _pass(self, epoch: int, learner: _Learner, optimizer: torch.optim.Optimizer) -> float:
        """Take a step for each batch; returns the mean loss."""
        total, count, noise = 0.0, 0, self.schedule.noise
        batches = list(self.data)
        for step, (x, y) in enumerate(batches):
            interrupt_here()
            progress = (epoch + step / len(batches)) / self.schedule.epochs
            for group in optimizer.param_groups:
                group["lr"] = learner.lr * (1 + math.cos(math.pi * progress)) / 2
            outputs = learner.forward(x + noise * torch.randn_like(x) if noise else x)
            value = self.loss(outputs, y.to(outputs.device))
            if not bool(torch.isfinite(value)):
                raise NeuralQuineError(f"the loss is {value.item()} in epoch {epoch}: lower lr, or check the data")
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            learner.after(learner.parameters)
            total += float(value.detach()) * len(x)
            count += len(x)
        if count == 0:
            raise NeuralQuineError("there is no data to train on")
        return total / count


def _epoch_seed(seed: int, epoch: int) -> int:
    return (seed * 1_000_003 + epoch) % 2**63


def _best(history: list[dict[str, float]], schedule: Schedule) -> int:
    """Return the epoch whose weights are kept."""
    if schedule.patience is None or not history or "validation_loss" not in history[-1]:
        return len(history) - 1
    return min(range(len(history)), key=lambda i: history[i]["validation_loss"])
