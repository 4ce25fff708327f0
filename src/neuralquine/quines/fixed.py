"""What decides a network's answers beside the weights that it prints, and stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .networks.running import named
from .self_printer import SelfPrinter


def fixed_tensors(quine: SelfPrinter) -> dict[str, Tensor]:
    """Return the tensors that are not printed and yet decide what the network answers and prints, where they lie.

    These are the buffers of the trunk, its parameters that are not printed, the probe (or the table of queries), and the
    tables of the coding and of the printer. Each has a name that says where it lies.
    """
    printed = {id(p) for p in quine.weights}
    found = {f"buffer {name}": b for name, b in quine.trunk.named_buffers()}
    found |= {f"frozen weight {name}": p for name, p in quine.trunk.named_parameters() if id(p) not in printed}
    found |= {f"probe {name}": t for name, t in named(quine.inputs).items()}
    for part, holder in (("coding", quine._coding), ("printer", quine.printer)):
        found |= {f"table {name} of the {part}": t for name, t in _tensors_in(vars(holder))}
    return found


def _tensors_in(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors and arrays of an object's attributes, and of lists and dictionaries among them."""
    for key, value in values.items():
        name = f"{prefix}{key}".lstrip("_")
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            yield name, torch.from_numpy(value if value.flags.writeable else value.copy())
        elif isinstance(value, Mapping):
            yield from _tensors_in(value, f"{name} ")
        elif isinstance(value, list | tuple):
            yield from _tensors_in(dict(enumerate(value)), f"{name} ")
