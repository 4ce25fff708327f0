"""The torch optimizers that a gradient method may take, by name."""

from __future__ import annotations

from functools import cache, partial
from numbers import Real

import torch

from ...errors import BadOption, UnknownName, did_you_mean

OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": partial(torch.optim.AdamW, weight_decay=0.0),
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "rprop": torch.optim.Rprop,
}


def check_optimizer(name: str, lr: float) -> None:
    """Refuse an optimizer that is not in the table, and a learning rate with which it cannot be made.

    Raises:
        UnknownName: there is no such optimizer; the message suggests the nearest.
        BadOption: the learning rate is no finite number, or below 0.
    """
    if isinstance(lr, bool) or not isinstance(lr, Real) or not 0 <= float(lr) < float("inf"):
        raise BadOption(f"lr must be a finite number of at least 0, not {lr!r}")
    if name not in OPTIMIZERS:
        raise UnknownName(f"no optimizer {name!r}: {did_you_mean(name, list(OPTIMIZERS))}")


@cache
def import_machinery() -> None:
    """Let torch import what its optimizers import on their first step, its compiler, which takes a second: no clock runs yet."""
    leaf = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([leaf], lr=0.0)
    leaf.grad = torch.zeros(1)
    optimizer.step()
