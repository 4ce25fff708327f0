"""Linear layers of many rows at once, by the quicker of the two libraries that torch has for them on a CPU.

Torch multiplies matrices of float32 by MKL, which leaves half of the width of some processors unused; the operation that torch's
own compiler puts in the place of linear layers is oneDNN's. For 20,100 rows of 100 numbers and 100 units the two took 5.9 and
2.3 ms of one core (AMD Zen 5).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear as plain_linear

_ROWS = 100  # fewer are multiplied sooner than the library is asked


def quick_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x W^T + b``: ``(n, k)`` to ``(n, m)``; sums of float32 in whatever order, and no derivatives."""
    if x.dtype != torch.float32 or x.device.type != "cpu" or len(x) < _ROWS or not _at_hand():
        return plain_linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@cache
def _at_hand() -> bool:
    """Whether this build of torch has the operation, and it says what the plain one says."""
    x, weight, bias = torch.linspace(-1, 1, 600).view(_ROWS, 6), torch.linspace(1, -1, 24).view(4, 6), torch.ones(4)
    try:
        found = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    except (AttributeError, RuntimeError):
        return False
    return torch.allclose(found, plain_linear(x, weight, bias), atol=1e-5)


class FixedProduct(torch.autograd.Function):
    """``x W^T`` with a fixed W, differentiable by x; ``W^T`` is given, too, in the order of its own rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, transposed: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.transposed = transposed
        return quick_linear(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return quick_linear(gradient, ctx.transposed), None, None
