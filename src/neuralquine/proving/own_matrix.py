"""Modules that print their own weights by a fixed matrix of their own: the last layer is linear, and not printed.

    F(theta) = W h(z; theta) + b

A fixed point is ``theta = W x + b`` where ``x = h(z; W x + b)``, and the other way round: ``x`` has as many numbers as ``W`` has
columns, so it is the code of a proof, and W takes the place of the expansion. W and b are read from the file, exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .printers import MatrixPrinter
from .rules import NoRule

KIND = "itself"
_WHAT = "no proof rule for a module that prints its own weights itself"


class OwnMatrix(MatrixPrinter):
    """``x -> W x + b`` as a printer.

    Args:
        matrix: W, ``(P, d)``.
        offset: b, ``(P,)``.
    """

    def __init__(self, matrix: NDArray[Any], offset: NDArray[Any]) -> None:
        self.dtype, self.d = matrix.dtype.type, matrix.shape[1]
        self.bits, self.gain_first = None, False
        self.mean, self.gain, self.matrix = offset, np.ones_like(offset), matrix


def apart(spec: dict[str, Any], kept: dict[str, NDArray[Any]], count: int) -> tuple[dict[str, Any], OwnMatrix]:
    """The layers before the last one, as a description, and the last one.

    Args:
        spec: the description of the whole module.
        kept: its tensors that are not printed, by name.
        count: P.

    Raises:
        NoRule: the last layer is none of this kind.
    """
    children = spec.get("children") or []
    name, last = children[-1] if children else ("", {})
    if spec.get("type") != "Sequential" or last.get("type") != "Linear" or len(children) < 2:
        raise NoRule(f"{_WHAT}, unless it is a Sequential that ends in a Linear")
    matrix, bias = kept.get(f"{name}.weight"), kept.get(f"{name}.bias")
    if matrix is None or (bias is None) is bool(last["arguments"]["bias"]):
        raise NoRule(f"{_WHAT}, unless its last layer is not printed: requires_grad=False, and print_frozen=False")
    if matrix.shape[0] != count:
        raise NoRule(f"{_WHAT}, in several rows")
    return {**spec, "children": children[:-1]}, OwnMatrix(matrix, np.zeros_like(matrix[:, 0]) if bias is None else bias)
