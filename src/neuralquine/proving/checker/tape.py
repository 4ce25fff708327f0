"""A tape of signs: why a network that reads its code from one prints every bit of itself, on every machine.

The stored weights are ``E(c)`` for signs ``c``: row ``(r, j)`` of the tape holds ``a c_j`` in all its f places, a power of
two. The body's features enter as ``m_i >= 0``, their mean sizes over the probe, and with ``S = sum m_i`` row ``(r, j)``
answers ``u = a c_j S``. Nothing else of the body matters, nor how it was rounded: S is the same number for all rows.

*Theorem.* Let a machine of unit u hold features of the sum ``S0 <= S <= S1``. All terms of a row have the sign of ``c_j``,
and their products with a are exact, so that whatever the order of the sums over f places and R rows the votes are
``a R S c_j (1 + t)`` with ``|t| <= g = gamma(f + R) + f R tiny / (a R S0)``. Then

    |N_j| >= (1 - g) / ((1 + g) sqrt(1 + gamma(d + 2)) (1 + 8 u) sqrt(1 + 4 tiny / (a R S0 (1 - g))^2))

for the normalized votes N, and if 32 times this is at least ``1 + 4 u``, the clamp to [-1, 1] returns exactly ``c_j``. If no
sum reaches the machine's largest number, the printed code is ``c``, and ``E(c)`` is what is stored: its sums are multiples
of half a gain, and fit the mantissa in every order. In real arithmetic the same holds with u = 0.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import QuineFileError
from ...quines.tables.philox import Stream, dyadic_gaussian, words
from ..rules import NoRule
from ..rules.body import body_shapes, features
from ..verdicts import NotProved
from .held import FLUSHED, OWN, SLACK, Machine
from .numbers import Bounded
from .stored import FLOATS, Stored

KIND = "signs"  # of such a quine, in its configuration
GAIN = 32.0  # votes are multiplied by this before they are clamped
USES = 4  # code entries in each weight of the body
CUT = 2.0  # of the fixed Gaussian part of a weight, in gains and halves
_LARGEST = 1 << 26  # weights of a body: the table of their entries takes 100 bytes for each


class Taped(Stored):
    """The folder of a quine with a tape of signs.

    Attributes:
        code: ``(d,)`` signs, as the tape says them.
    """

    name = "tape of signs"

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        if self.kind != KIND:
            raise NoRule("no proof rule for a tape of real numbers: it prints whatever stands there")
        config = self.config
        sizes, self.tape_mean, self.amplitude = self.spec.get("arguments", {}), config["means"][-1], config["gains"][-1]
        self.d, self.repeats = config["code_size"], config["tape"]["repeats"]
        self.places, rows = self.shapes[-1][-1], self.d * self.repeats
        wanted = body_shapes(self.spec)
        self.fit(None if wanted is None else wanted | {"tape.weight": (rows, self.places)})
        if sizes != {"features": self.places, "rows": rows, "bias": False} or self.shapes[-1] != (rows, self.places):
            raise QuineFileError(f"its tape does not hold {self.d} signs {self.repeats} times")
        self.code = np.where(np.signbit(self.held["tape.weight"][: self.d, 0]), -1, 1)

    # -- what a certificate says ----------------------------------------------------------------------------------------

    def about(self) -> dict[str, Any]:
        return {"code_size": self.d, "repeats": self.repeats, "features": self.places}

    def found(self, dtype: str) -> dict[str, float]:
        self.check_print()
        machine = Machine.of(dtype)
        least, most = self.sums(machine)
        return {"features_at_least": least, "features_at_most": most, "margin": self.margin(machine, least, most)}

    @staticmethod
    def claim(c: dict[str, Any], types: str, least: float) -> str:
        return (
            f"In exact real arithmetic, and in IEEE arithmetic of {types} with sums in any order, the network reads the "
            f"{c['code_size']} signs of its tape, each with at least {least!r} times the votes that make a sign, and prints its "
            f"{c['parameters']} weights of {c['dtype']} bit for bit."
        )

    # -- what is printed ------------------------------------------------------------------------------------------------

    def check_print(self) -> None:
        """Raise NotProved unless ``E(code)`` is what is stored, and exact in any order."""
        kind = FLOATS[self.dtype]
        tape = self.held["tape.weight"].reshape(self.repeats, self.d, self.places)
        if not (self._power(self.amplitude) and self.tape_mean == 0):
            raise NotProved("the size of the tape's weights is no power of two")
        row = (self.amplitude * self.code)[None, :, None].astype(kind)
        self.check_stored("tape.weight", np.broadcast_to(row, tape.shape))
        fixed, entries, signs = self.table()
        sums, start = fixed + 2 * (self.code[entries] * signs).sum(1), 0
        most = 2 ** Machine.of(self.dtype).bits
        pairs = zip(self.config["means"], self.config["gains"], self.names[:-1], self.sizes[:-1], strict=False)
        for mean, gain, name, size in pairs:
            halves = 2 * mean / gain if self._power(gain) else math.inf
            if not (abs(halves) + 32 < most and halves == round(halves)):
                raise NotProved(f"the sums that print {name} are not exact in every order")
            printed = (int(halves) + sums[start : start + size]) * (gain / 2)
            self.check_stored(name, printed.astype(kind))
            start += size

    def _power(self, number: float) -> bool:
        """Whether this is a power of two whose half and whose multiples the type holds."""
        machine = Machine.of(self.dtype)
        return 2 * machine.tiny <= number <= machine.largest / 2**54 and math.frexp(number)[0] == 0.5

    def table(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """What the seed makes of each weight of the body: a cut Gaussian number in half gains, and its entries of the code.

        Returns:
            ``(B,)`` whole numbers, ``(B, 4)`` places in the code, and the signs that they are taken with.
        """
        seed, count = self.config["seed"], sum(self.sizes[:-1])
        if count > _LARGEST:
            raise NoRule(f"a body of {count} weights is too large for a proof")
        fixed = (4 * dyadic_gaussian(seed, Stream.TAPE_START, 0, count).clip(-CUT, CUT)).astype(np.int64)
        rounds = -(-count * USES // self.d)
        keys = words(seed, Stream.TAPE_ENTRIES, 0, rounds * self.d).reshape(rounds, self.d)
        entries = np.argsort(keys, axis=1, kind="stable").reshape(-1)[: count * USES]
        signs = 1 - 2 * (words(seed, Stream.TAPE_SIGNS, 0, count * USES) & 1).astype(np.int64)
        return fixed, entries.reshape(count, USES), signs.reshape(count, USES)

    # -- what is read ---------------------------------------------------------------------------------------------------

    def sums(self, machine: Machine) -> tuple[float, float]:
        """S0 and S1: the features' sum is between these on every machine of a type, in whatever order they are computed.

        Raises:
            QuineFileError: they do not fit the tape.
        """
        a = features(self.spec, Bounded(self.probe, None, machine), self.bounded(machine).get).absolute()
        if a.shape[1] != self.places:
            raise QuineFileError(f"its body has {a.shape[1]} features, its tape {self.places} places")
        pay = 1 + machine.share(len(a.value) + self.places + 4) + 1e-9
        least = float(np.maximum(a.value - a.reach, 0).mean(0).sum()) / pay - self.places * (machine.tiny + FLUSHED)
        most = float(a.size.mean(0).sum()) * pay + self.places * (machine.tiny + FLUSHED)
        return least, most

    def margin(self, machine: Machine, least: float, most: float) -> float:
        """The smallest normalized vote where the features' sum is between these, times 32 and rounded down."""
        u, tiny, rows = machine.unit, machine.tiny, self.repeats
        if not 0 < least <= most:
            raise NotProved("the features may all be 0 on the probe: nothing can be read with them")
        vote = self.amplitude * rows * least
        g = machine.share(self.places + rows) + self.places * rows * (tiny + FLUSHED) / vote
        if not g < 0.5:
            raise NotProved("the votes are too small for the machine's numbers")
        if not self.d * (2 * self.amplitude * rows * most) ** 2 < machine.largest / 4:
            raise NotProved("the votes are too large for the machine's numbers")
        share = math.sqrt(1 + machine.share(self.d + 2)) * math.sqrt(1 + 4 * (tiny + FLUSHED) / (vote * (1 - g)) ** 2)
        bound = GAIN * (1 - g) / ((1 + g) * share * (1 + 8 * (u + OWN))) / (1 + 4 * (u + OWN)) / SLACK
        if not bound >= 1:
            raise NotProved(f"a vote may be {bound:.2g} of the one that makes a full sign")
        return bound
