"""A network that answers with many weights at once, for the searches that ask it with many."""

from __future__ import annotations

from typing import TypeVar

import torch

from .networks.unrolled import agrees, unrolled
from .self_printer import SelfPrinter
from .trunk import LARGE

Q = TypeVar("Q", bound=SelfPrinter)


def together(quine: Q) -> Q:
    """The quine with its recurrent layers written out, so that many weights are evaluated at once; else the quine itself.

    It answers the same up to round-off. What it finds is for the quine itself to print.
    """
    if (
        quine.in_place
        or quine.trunk_dtype is not None
        or quine.parameter_count > LARGE
        or quine.dtype != quine.code_dtype
    ):
        return quine
    try:
        module = unrolled(quine.trunk)
        if module is None:
            return quine
        other = quine.holding(module)
        with torch.no_grad():
            same = agrees(quine.real_code(), other.real_code())
    except Exception:  # a foreign module may raise anything
        return quine
    names = [[name for name, _ in q.named_weights()] for q in (quine, other)]
    return other if same and names[0] == names[1] and other.vectorized else quine
