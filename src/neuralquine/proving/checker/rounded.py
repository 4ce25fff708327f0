"""Activations on a grid: why such a network prints the same bits on every machine, however deep it is.

What linear maps and normalizations give is rounded to multiples of ``2^-k``. Weights are short binary fractions, so that
most sums of their products with such numbers are exact in every order; what is left, a normalization, an activation, a
softmax, ends at the next rounding. One run computes every value with a bound of its own round-off since the last one
(``numbers.py``). Where no value is as near as its bound to the middle of two multiples, every machine rounds it to the
same one, and after each rounding all of them hold the same numbers. So the bound at the code is that of the last step alone.

*Theorem.* If for every entry ``|2^m c - o - x| + 2^m r < 1/2``, with r the bound of the code c, and ``E((o + x) / 2^m)``
is what is stored, with sums that are exact in every order and one rounding after them, then every machine of the type
prints the stored weights, and so does exact real arithmetic with the same rounding of activations.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...quines.tables.anchor import anchor
from ...quines.tables.phases import offset, unit_bits
from ...quines.tables.philox import Stream, dyadic_gaussian
from ...quines.tables.signs import block_size, hadamard, sign_bytes
from ..rules import NoRule, run
from ..rules.common import described, kinds
from ..rules.on_grid import ON_GRID
from ..verdicts import NotProved
from .held import OWN, Floats, Machine
from .numbers import Bounded
from .stored import FLOATS, Stored

GRID = "activation_bits"  # k, in the configuration of such a quine
_CHUNK = 1 << 22  # numbers of the expansion's table at once


class Rounded(Stored):
    """The folder of a quine whose activations are rounded to a grid."""

    name = "rounded activations"
    given = 1e-9  # of a grid step

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        config = self.config
        self.bits, self.d, self.grid = config["code_bits"], config["code_size"], config[GRID]
        if self.bits is None:
            raise NotProved("the code is not rounded to a grid, so the last bits are the machine's")
        if self.expansion not in ("gaussian", "hadamard"):
            raise NoRule(f"no proof rule for the expansion {self.expansion[:40]!r}")
        strange = next((kind for kind in kinds(self.spec) if kind not in ON_GRID), None)
        if strange is not None:
            raise NoRule(f"no proof rule for a {strange[:60]} on a grid of activations")
        self.fit(described(self.spec))
        phase = config.get("code_phase", 0)
        self.offset, self.fine = offset(config["seed"], phase, self.d), unit_bits(self.bits, phase) - self.bits

    # -- what a certificate says ----------------------------------------------------------------------------------------

    def about(self) -> dict[str, Any]:
        phase = {"code_phase": self.config["code_phase"]} if self.fine else {}
        return {"code_size": self.d, "code_bits": self.bits, **phase, GRID: self.grid}

    def found(self, dtype: str) -> dict[str, float]:
        steps, margin = self.margin(Machine.of(dtype, self.grid))
        if not margin > 2 * self.given:
            raise NotProved("a value lies so near to the middle of two multiples that machines may round it either way")
        self.check_print(steps)
        return {"margin": margin}

    @staticmethod
    def claim(c: dict[str, Any], types: str, least: float) -> str:
        return (
            f"In exact real arithmetic, and in IEEE arithmetic of {types} with sums in any order, the network with activations "
            f"rounded to multiples of 2^-{c[GRID]} computes a code that rounds, with a margin of at least {least!r} of a grid "
            f"step 2^-{c['code_bits']}, to the one that prints its {c['parameters']} weights of {c['dtype']} bit for bit."
        )

    # -- the network ----------------------------------------------------------------------------------------------------

    def code(self, machine: Machine) -> Bounded:
        """The code before it is rounded, ``(1, d)``, on every machine of a type."""
        config, kind = self.config, FLOATS[self.trunk_dtype]
        weights = self.bounded(machine)

        def held(numbers: NDArray[Any]) -> Bounded:
            return Bounded(numbers, None, machine)

        x = run(self.spec, held(self.probe), weights.get, indices=bool(np.issubdtype(self.probe.dtype, np.integer)))
        h = x.reshape(1, -1)
        if h.shape[1] != self.d:
            entries = dyadic_gaussian(config["seed"], Stream.READOUT, 0, self.d * h.shape[1]).reshape(self.d, -1)
            h = h.affine(held((entries / np.sqrt(float(h.shape[1]))).astype(kind)))
        c = h.normalize(config["eps"]) if config["normalize"] else h
        if config["skip"] is None:
            return c
        fixed = anchor(self.inputs, self.d, config["seed"])
        return (c.scale(float(kind(config["skip"]))) + held(fixed)).normalize(config["eps"])

    def margin(self, machine: Machine) -> tuple[NDArray[np.int64], float]:
        """The code in steps of its grid, and how far it stays from the middle of two, on every machine of a type."""
        c = self.code(machine)
        scaled = c.value.reshape(-1) * 2.0**self.bits - self.offset
        steps = np.rint(scaled)
        if not np.abs(steps).max() < 2.0**36:
            raise NotProved("the code does not fit its grid")
        # Where the grid is moved, the offset is subtracted, which is rounded once here and there.
        moved = 2 * (machine.unit + OWN) * (np.abs(scaled) + 1) if self.offset.any() else 0.0
        gap = np.abs(scaled - steps) + (c.reach.reshape(-1) * 2.0**self.bits + moved) * (1 + 1e-9)
        return steps.astype(np.int64), float(0.5 - gap.max()) - 1e-12

    # -- what is printed ------------------------------------------------------------------------------------------------

    def check_print(self, steps: NDArray[np.int64]) -> None:
        """Raise NotProved unless the code ``o + steps`` prints what is stored, and exactly in every order."""
        kind, fine = FLOATS[self.dtype], 2**self.fine
        x = steps * fine + np.rint(self.offset * fine).astype(np.int64)
        most = 1 if self.expansion == "hadamard" else 32  # the size of an entry of the table, in its own units
        if not int(np.abs(x).sum()) * most < 2 ** Machine.of(self.dtype).bits:
            raise NotProved("the printer's sums do not fit the mantissa, so they depend on their order")
        start = 0
        scales = zip(self.config["means"], self.config["gains"], self.names, self.sizes, strict=True)
        for mean, gain, name, size in scales:
            mean_, gain_ = kind(mean), kind(gain)
            power = float(gain_) == gain and (gain == 0 or math.frexp(abs(gain))[0] == 0.5)
            if not (power or (mean == 0 and self.expansion == "gaussian")):
                raise NotProved(f"{name} is printed with two roundings, whose order is the machine's")
            for first in range(0, size, step := max(1, _CHUNK // self.d)):
                count = min(step, size - first)
                sums = self._sums(x, start + first, count).astype(kind) * kind(2.0 ** -(self.bits + self.fine + 2))
                printed = mean_ + gain_ * sums
                self.check_stored(name, printed, first)
            start += size

    def _sums(self, x: NDArray[np.int64], first: int, count: int) -> NDArray[np.int64]:
        """``4 A x`` for a stretch of weights, in whole numbers."""
        seed, d = self.config["seed"], self.d
        if self.expansion == "gaussian":
            rows = dyadic_gaussian(seed, Stream.GAUSSIAN, first * d, count * d).reshape(count, d)
            return (4 * rows).astype(np.int64) @ x
        size = block_size(d)
        begin, end = first // size, -(-(first + count) // size)
        bits = np.unpackbits(sign_bytes(seed, size, begin, end - begin), axis=1, bitorder="little")[:, :d]
        sums: Floats = ((1.0 - 2.0 * bits) * x) @ hadamard(size)[:d]  # whole numbers that float64 holds
        return 4 * sums.astype(np.int64).reshape(-1)[first - begin * size :][:count]
