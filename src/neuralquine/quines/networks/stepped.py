"""Activations on a grid: what linear maps and normalizations give is rounded to multiples of ``2^-k``.

Rounding takes no parameter. Its inputs are short numbers then, as the weights are, and a sum of products of short numbers
is exact in any order: so the network computes the same everywhere, wherever no value lies within its own round-off of the
middle between two multiples, and ``proving/checker/`` shows that none does.

A derivative leaves the rounding out, as it leaves out that of the code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import BadOption
from .normalize import InstanceNorm

FINEST = 40  # bits of the finest grid: numbers of some thousands on it have 53 bits
_LINEAR = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.MultiheadAttention)
_NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase, InstanceNorm)
_ELSEWHERE = ("transformers.pytorch_utils.Conv1D",)  # linear maps of other libraries, by the names of their classes
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)


def on_grid(x: Tensor, bits: int) -> Tensor:
    """The nearest multiples of ``2^-bits``, of two the even one; the derivative is that of the identity."""
    scale = 2.0**bits
    # Exact: the difference is of at most half a step, and of no more places than x has.
    return x + (torch.round(x.detach() * scale) / scale - x.detach())


def rounded_modules(module: nn.Module) -> list[nn.Module]:
    """The parts of a module whose outputs are rounded.

    Raises:
        BadOption: there are none, or the steps of a recurrent layer would have to be.
    """
    parts = list(module.modules())
    recurrent = next((type(part).__name__ for part in parts if isinstance(part, _RECURRENT)), None)
    if recurrent is not None:
        raise BadOption(f"activation_bits rounds the outputs of layers, and a {recurrent} has steps inside")
    found = [part for part in parts if isinstance(part, _LINEAR + _NORMS) or _name(part) in _ELSEWHERE]
    if not found:
        raise BadOption("activation_bits needs a linear layer or a normalization of torch, whose outputs are rounded")
    return found


@contextmanager
def stepped(module: nn.Module, bits: int | None) -> Iterator[None]:
    """Let a module's activations be rounded while this lasts; with None nothing is changed."""
    if bits is None:
        yield
        return

    def rounded(_: nn.Module, __: Any, output: Any) -> Any:
        if isinstance(output, tuple):  # of attention, the result and its weights
            return (on_grid(output[0], bits), *output[1:])
        return on_grid(output, bits)

    with ExitStack() as hooks:
        for part in rounded_modules(module):
            hooks.callback(part.register_forward_hook(rounded).remove)
        yield


def _name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
