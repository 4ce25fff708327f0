"""Outputs that are all of a module's weights: one tensor of P numbers, or several tensors shaped like the parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Size, Tensor

from .running import plain, tensors_in

Shapes = Mapping[str, Size]


@dataclass(frozen=True)
class Layout:
    """Where the weights stand in a module's output.

    Attributes:
        words: what is compared with the weights, for reports; they end in "is" or "are".
        names: the keys of the output in the order of the weights; None where all its tensors are read in their order.
        certain: whether the shapes leave no doubt that these are the weights.
    """

    words: str
    names: tuple[str, ...] | None = None
    certain: bool = True

    def join(self, output: Any) -> Tensor:
        """All weights in an output, flat, in the order of the parameters."""
        tensors = tensors_in(output) if self.names is None else (output[name] for name in self.names)
        return torch.cat([plain(t).reshape(-1) for t in tensors])


def layout_of(output: Any, shapes: Shapes) -> Layout | None:
    """How a module's output is the whole of its weights; None where it does not have as many numbers as they are.

    Args:
        output: what the module gives, or the selected part of it.
        shapes: of the printed parameters, by name, in their order.
    """
    count = sum(shape.numel() for shape in shapes.values())
    named = isinstance(output, Mapping) and set(output) == set(shapes)
    if named and all(_fits(output[name], shape) for name, shape in shapes.items()):
        return Layout(f"its {len(shapes)} outputs by name, {count:,} numbers, are", tuple(shapes))
    tensors = list(tensors_in(output))
    if sum(t.numel() for t in tensors) != count:
        return None
    if len(tensors) == 1:
        return Layout(f"its output, {count:,} numbers, is")
    fits = len(tensors) == len(shapes) and all(_fits(t, s) for t, s in zip(tensors, shapes.values(), strict=True))
    return Layout(f"its {len(tensors)} outputs in their order, {count:,} numbers, are", certain=fits)


def doubt_about(output: Any, shapes: Shapes) -> str | None:
    """Say where an output holds the weights among other numbers, or several times; None where it does not."""
    count = sum(shape.numel() for shape in shapes.values())
    tensors = list(tensors_in(output))
    for tensor in tensors:
        if tensor.numel() == count and len(tensors) > 1:
            return f"one of the trunk's {len(tensors)} outputs has as many numbers as it has weights, {count:,}"
        if tensor.dim() > 1 and tensor.shape[0] > 1 and count > 1 and tensor.shape[1:].numel() == count:
            return f"the trunk prints its {count:,} weights {tensor.shape[0]} times, once for each row of the probe"
    return None


def _fits(tensor: Any, shape: Size) -> bool:
    """Whether a tensor is shaped like a parameter, or like a batch of one."""
    return isinstance(tensor, Tensor) and tensor.shape in (shape, Size((1, *shape)))
