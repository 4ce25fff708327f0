"""The paper's way to a task: one network, two losses, ``L = L_task + lambda sum_i (f(q_i) - theta_i)^2``.

The network has two inputs and two answers. Asked with the query of a weight it answers the weight, asked with an image it
answers the classes; two hidden layers without biases are shared. The gradient is the true one, also through
``theta_i``. It is the baseline: the two losses pull at the same weights, and neither is met.

Source: Chang and Lipson (2018), section 4: two hidden layers of 100 SELU units, 21,100 weights, lambda = 0.01. Their image and
query are projected by fixed matrices; the half of the input that is not asked is 0 here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..quines.queried import QueryQuine
from ..quines.tables.philox import Stream, dyadic_gaussian
from ..quines.tables.queries import QueryTable
from ..recipes.problem import drawn
from .data import Data
from .training import Progress, Schedule, Training, evaluate, train_body

_BATCH = 1024  # queries of one step


class Shared(nn.Module):
    """``h = selu(W2 selu(W1 x))``; ``v . h`` answers a weight, ``U h`` the classes.

    Args:
        pixels: of an image.
        classes: k.
        hidden: units of each layer.
        width: of the projected query, and of the projected image.
        seed: of the image's projection.
    """

    projection: Tensor

    def __init__(self, pixels: int, classes: int, hidden: int, width: int, seed: int) -> None:
        super().__init__()
        self.first = nn.Linear(2 * width, hidden, bias=False)
        self.second = nn.Linear(hidden, hidden, bias=False)
        self.weight = nn.Linear(hidden, 1, bias=False)
        self.classes = nn.Linear(hidden, classes, bias=False)
        fixed = torch.from_numpy(dyadic_gaussian(seed, Stream.AUXILIARY_IMAGES, 0, pixels * width)).reshape(
            pixels, width
        )
        self.register_buffer("projection", fixed.float() / pixels**0.5, persistent=False)

    def hidden(self, x: Tensor) -> Tensor:
        return torch.selu(self.second(torch.selu(self.first(x))))

    def forward(self, query: Tensor) -> Tensor:
        """Answer the weights that are asked for: queries ``(n, 2 width)`` to ``(n, 1)``."""
        return self.weight(self.hidden(query))

    def outputs(self, images: Tensor) -> Tensor:
        """Answer the classes of images: ``(n, ...)`` to ``(n, k)``."""
        seen = images.flatten(1) @ self.projection
        return self.classes(self.hidden(torch.cat([torch.zeros_like(seen), seen], 1)))


@dataclass(frozen=True)
class Auxiliary:
    """A network trained with two losses, and what was measured.

    Attributes:
        quine: the network as a queried quine, in float32; it shares its weights.
        training: the epochs, their losses and their scores.
        accuracy: the share of test images that the network classifies right.
        copy_accuracy: the same for a network that holds the weights that this one prints.
    """

    quine: QueryQuine
    training: Training
    accuracy: float
    copy_accuracy: float


def auxiliary(
    data: Data,
    weight: float = 0.01,
    *,
    hidden: int = 100,
    width: int = 50,
    schedule: Schedule = Schedule(epochs=200, lr=1e-3),  # noqa: B008 - frozen
    seed: int = 0,
    progress: Progress | None = None,
) -> Auxiliary:
    """Train the paper's network on a classification task with a joint loss.

    Args:
        data: batches of images and classes.
        weight: lambda; 0 trains the task alone.
        hidden: the number of units of each of the two layers.
        width: the size of the projected query, and of the projected image.
        schedule: how long and how fast Adam trains.
        seed: decides the weights, the projections and the order of the data.
    """
    images, labels = next(iter(data.test))
    with drawn(seed):
        network = Shared(images[0].numel(), int(labels.max()) + 1, hidden, width, seed)
        shapes = [tuple(p.shape) for p in network.parameters()]
        table = QueryTable("projection", shapes, width=width, scale=1.0, seed=seed)
        queries = torch.from_numpy(table.rows()).float() / width**0.5
        queries = torch.cat([queries, torch.zeros_like(queries)], 1)
        quine = QueryQuine(network, queries, seed, dtype=torch.float32, copy=False)
    parameters = list(network.parameters())

    def joint(outputs: Tensor, targets: Tensor) -> Tensor:
        task = nn.functional.cross_entropy(outputs, targets)
        if weight == 0 or not torch.is_grad_enabled():
            return task
        theta = torch.cat([p.reshape(-1) for p in parameters])
        asked = torch.randint(0, len(theta), (_BATCH,))
        gap = network(queries[asked])[:, 0] - theta[asked]
        return task + weight * len(theta) / _BATCH * (gap * gap).sum()

    wrapped = _TaskOnly(network)
    training = train_body(
        wrapped, data.train, validation=data.validation, loss=joint, schedule=schedule, seed=seed, progress=progress
    )
    accuracy = evaluate(network.outputs, data.test)
    theta = quine.theta
    quine.theta = quine.printed()
    copied = evaluate(network.outputs, data.test)
    quine.theta = theta
    return Auxiliary(quine, training, accuracy, copied)


class _TaskOnly(nn.Module):
    """The network as a body: no features, its classes."""

    def __init__(self, network: Shared) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Any, Tensor]:
        return None, self.network.outputs(x)
