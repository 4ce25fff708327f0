"""The kinds of damage. One decorated function is a new kind: heal, guard, the command line and the lab list it at once.

from neuralquine.healing.kinds import Target, kind

@kind("halve", "halved", pointwise=True)
def halve(target: Target, fraction: float) -> None:
    target.theta[target.some(fraction)] *= 0.5
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import BadOption, UnknownName, did_you_mean


@dataclass(frozen=True)
class Target:
    """Where a damage strikes: the weights, cut into tensors, and a generator of random numbers."""

    theta: NDArray[np.generic]  # (P,), changed in place
    shapes: Sequence[tuple[int, ...]]
    rng: np.random.Generator

    def some(self, fraction: float) -> NDArray[np.int64]:
        """Draw the indices of a fraction of all weights, without replacement."""
        count = len(self.theta)
        wanted = round(fraction * count)
        struck = self.rng.random(count, dtype=np.float32) < fraction
        index = np.flatnonzero(struck)
        # A coin for each is ten times quicker than drawing without replacement, and then a few are put right.
        if len(index) > wanted:
            return np.delete(index, self.rng.choice(len(index), len(index) - wanted, replace=False))
        rest = np.flatnonzero(~struck)
        return np.concatenate([index, rest[self.rng.choice(len(rest), wanted - len(index), replace=False)]])

    @property
    def words(self) -> NDArray[np.unsignedinteger]:
        """The weights as unsigned integers of the same width, a view: what is written there is written to the weights."""
        return self.theta.view(f"u{self.theta.itemsize}")

    @property
    def width(self) -> int:
        """Bits of one weight."""
        return 8 * self.theta.itemsize

    def scale(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return, for each weight in ``index``, the root mean square of the tensor that holds it."""
        ends = np.cumsum([math.prod(s) for s in self.shapes])
        rms = [
            math.sqrt(float(np.mean(np.square(part, dtype=np.float64)))) if part.size else 0.0
            for part in np.split(self.theta, ends[:-1])
        ]
        return np.array(rms)[np.searchsorted(ends, index, side="right")]


Strike = Callable[[Target, float], None]


@dataclass(frozen=True)
class Kind:
    """A kind of damage, and what the rest of the package has to know of it.

    Attributes:
        name: on the command line and in tables.
        strike: damages the target in place, to the given fraction.
        about: what happens to the weights that are struck, a participle: ``"set to zero"``.
        label: what the lab's list calls it; by default the name.
        pointwise: it strikes each weight by itself, so that a full strike may be applied to any chosen weights.
        bitwise: it changes the words in memory and not the numbers; a type that numpy lacks then needs no conversion.
        independent: the votes of a tape are struck independently of each other, so that its survival can be predicted.
        scaled: what it writes has the size of the tensor's weights as they were before any damage.
        worst: the fraction at which it is as bad as it can be.
    """

    name: str
    strike: Strike
    about: str
    label: str = ""
    pointwise: bool = False
    bitwise: bool = False
    independent: bool = False
    scaled: bool = False
    worst: float = 1.0


KINDS: dict[str, Kind] = {}  # by name, in the order in which lists show them


def kind(
    name: str,
    about: str,
    *,
    label: str = "",
    pointwise: bool = False,
    bitwise: bool = False,
    independent: bool = False,
    scaled: bool = False,
    worst: float = 1.0,
) -> Callable[[Strike], Strike]:
    """Register the decorated function as a kind of damage; the arguments are the attributes of :class:`Kind`.

    Raises:
        BadOption: the name is taken or holds a colon, or ``worst`` is no fraction.
    """

    def registered(strike: Strike) -> Strike:
        if name in KINDS or not name or ":" in name:
            raise BadOption(f"{name!r} cannot name a kind of damage: it is taken, empty, or holds a colon")
        if not 0 < worst <= 1:
            raise BadOption(f"worst must be above 0 and at most 1, not {worst}")
        KINDS[name] = Kind(name, strike, about, label or name, pointwise, bitwise, independent, scaled, worst)
        return strike

    return registered


def named(name: str) -> Kind:
    """Look a kind of damage up.

    Raises:
        UnknownName: there is no such kind; the message suggests the nearest.
    """
    if name not in KINDS:
        raise UnknownName(f"no damage {name!r}: {did_you_mean(name, list(KINDS))}")
    return KINDS[name]


# -- the kinds of this package ----------------------------------------------------------------------------------------


def _gaussian(target: Target, fraction: float, times: float) -> None:
    index = target.some(fraction)
    drawn = target.rng.standard_normal(len(index), dtype=np.float32)
    target.theta[index] = (times * target.scale(index) * drawn).astype(target.theta.dtype)


@kind("noise", "replaced by Gaussian noise of their tensor's own size", pointwise=True, independent=True, scaled=True)
def _noise(target: Target, fraction: float) -> None:
    _gaussian(target, fraction, 1.0)


@kind(
    "large-noise",
    "replaced by Gaussian noise ten times as large",
    label="noise, ten times",
    pointwise=True,
    independent=True,
    scaled=True,
)
def _large_noise(target: Target, fraction: float) -> None:
    _gaussian(target, fraction, 10.0)


@kind("zero", "set to zero", pointwise=True, independent=True)
def _zero(target: Target, fraction: float) -> None:
    target.theta[target.some(fraction)] = 0


# At one half the votes of a tape cancel, and nothing can be read.
@kind("negate", "sign turned over", label="negation", pointwise=True, bitwise=True, independent=True, worst=0.5)
def _negate(target: Target, fraction: float) -> None:
    target.words[target.some(fraction)] ^= target.words.dtype.type(1 << (target.width - 1))


@kind("flip", "one random bit turned over in each", label="bit flips", pointwise=True, bitwise=True, independent=True)
def _flip(target: Target, fraction: float) -> None:
    index = target.some(fraction)
    bits = target.rng.integers(0, target.width, len(index)).astype(target.words.dtype)
    target.words[index] ^= target.words.dtype.type(1) << bits


@kind(
    "words",
    "replaced by random bits, NaN and infinity among them",
    label="random bits",
    pointwise=True,
    bitwise=True,
    independent=True,
)
def _words(target: Target, fraction: float) -> None:
    index = target.some(fraction)
    target.words[index] = target.rng.integers(
        0, 1 << target.width, len(index), dtype=target.words.dtype, endpoint=False
    )


# At one half every bit would be random; 0.4 comes close to that.
@kind("bit-errors", "every bit turned over with this probability", bitwise=True, independent=True, worst=0.4)
def _bit_errors(target: Target, fraction: float) -> None:
    """Turn each bit of the memory over with that probability."""
    words = target.words
    for bit in range(target.width):
        struck = target.rng.random(len(words), dtype=np.float32) < fraction
        words ^= struck.astype(words.dtype) << words.dtype.type(bit)


@kind("block", "one contiguous block in memory set to zero", worst=0.5)
def _block(target: Target, fraction: float) -> None:
    length = round(fraction * len(target.theta))
    start = int(target.rng.integers(0, len(target.theta) - length + 1))
    target.theta[start : start + length] = 0


@kind("neurons", "whole output rows of every layer set to zero")
def _neurons(target: Target, fraction: float) -> None:
    """Zero whole rows of matrices, convolutions and biases: what makes one unit's output."""
    start = 0
    for shape in target.shapes:
        size = math.prod(shape)
        rows = target.theta[start : start + size].reshape(shape[0] if shape else 1, -1)
        rows[target.rng.choice(len(rows), round(fraction * len(rows)), replace=False)] = 0
        start += size
