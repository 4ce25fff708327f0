"""The derivative of the code that is printed from, of a network that is printed in place: ``C E``, without writing out C."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from .gradients import Holder, each_derivative
from .outer import Outer
from .printers.base import Printer, alone

_TOGETHER = 16  # rows whose outer products are held: they share the signs that a matrix is printed with


def code_by_code(quine: Holder, printer: Printer) -> Tensor:
    """``d code_i / d c_j`` at the stored weights ``E(c)``: ``(d, d)``, float64; no gradient by a whole network is kept."""
    count, tensors = printer.code_size, len(quine.weights)
    rows = torch.zeros(count, count, dtype=torch.float64, device=quine.weights[0].device)
    for first in range(0, count, _TOGETHER):
        held: dict[int, dict[int, Outer]] = defaultdict(dict)

        def take(scalar: int, number: int, grad: Tensor | Outer, first: int = first, held: dict = held) -> None:
            if isinstance(grad, Outer):
                held[number][first + scalar] = grad
            else:
                rows[first + scalar] += printer.pull_back_tensors(alone(grad, number, tensors)).to(rows)

        asked = range(first, min(first + _TOGETHER, count))
        each_derivative(quine, [lambda c, i=i: c[i] for i in asked], take)
        for number, found in held.items():
            rows[list(found)] += printer.pull_back_outer(number, list(found.values())).to(rows)
    return rows
