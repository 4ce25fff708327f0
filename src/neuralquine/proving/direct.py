"""The printer of a network that is asked for its weights one by one: its answers are the weights, ``E(c) = c``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..quines.tables.phases import offset, unit_bits

_TYPES = {"float64": np.float64, "float32": np.float32}
_MANTISSA = {"float64": 53, "float32": 24}


class DirectPrinter:
    """``E(c) = c``, with the methods of :class:`~neuralquine.proving.printers.MatrixPrinter`.

    A code on the grid is a vector of short binary numbers, which no machine rounds.
    """

    def __init__(self, config: dict[str, Any], sizes: list[int]) -> None:
        self.d, self.bits, self.dtype = config["code_size"], config.get("code_bits"), config["dtype"]
        self.count = sum(sizes)  # entries of a table: there is none, but the numbers themselves
        self.phase = config.get("code_phase", 0)
        self.unit = 0 if self.bits is None else unit_bits(self.bits, self.phase)
        self.offset = offset(config["seed"], self.phase, self.d)

    def parts(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Mean, gain and matrix of ``E(c) = mean + gain * (A c)``, exactly."""
        return np.zeros(self.d), np.ones(self.d), np.eye(self.d)

    def grid_code(self, theta: NDArray[Any]) -> list[int] | None:
        """The integers x with ``theta = x / 2^m``; None if there are none, or none on the grid."""
        if self.bits is None or not np.isfinite(theta).all():
            return None
        x = [round(float(v) * 2.0**self.unit) for v in theta]
        return x if self.on_grid(x) and self.prints(theta, x) else None

    def on_grid(self, x: list[int]) -> bool:
        """Whether integers are a code on the grid."""
        steps = 2 ** (self.unit - int(self.bits or 0))
        return all((v - int(o * steps)) % steps == 0 for v, o in zip(x, self.offset.tolist(), strict=True))

    def prints(self, theta: NDArray[Any], x: list[int]) -> bool:
        """Whether ``x / 2^m`` is theta, bit for bit."""
        return np.array([v / 2**self.unit for v in x]).astype(_TYPES[self.dtype]).tobytes() == theta.tobytes()

    def exact_in_any_order(self, x: list[int]) -> bool:
        """Whether no machine can change a bit: the numbers fit the mantissa, and no zero can take either sign.

        A grid that is not moved gives -0 for a negative answer that rounds to zero; a moved one adds an offset, and gives +0.
        """
        return all(abs(v) < 2 ** _MANTISSA[self.dtype] for v in x) and (self.phase != 0 or 0 not in x)
