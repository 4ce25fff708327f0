"""The torch optimizers that a gradient method may take, by name."""

from __future__ import annotations

from functools import partial

import torch

from ...errors import UnknownName, did_you_mean

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


def check_optimizer(name: str) -> None:
    """Refuse an optimizer that is not in the table.

    Raises:
        UnknownName: there is no such optimizer; the message suggests the nearest.
    """
    if name not in OPTIMIZERS:
        raise UnknownName(f"no optimizer {name!r}: {did_you_mean(name, list(OPTIMIZERS))}")
