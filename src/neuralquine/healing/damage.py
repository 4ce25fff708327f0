"""Ways in which stored weights are damaged, to see what comes back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UnknownName, did_you_mean
from ..quines.quine import Quine

_WORDS = {torch.float64: np.uint64, torch.float32: np.uint32, torch.float16: np.uint16, torch.bfloat16: np.uint16}


@dataclass(frozen=True)
class Damage:
    """A kind of damage, and how much of it.

    Attributes:
        kind: a name from ``KINDS``.
        fraction: of what it strikes, from 0 to 1.

    Raises:
        UnknownName: no such kind, or a fraction out of range.
    """

    kind: str
    fraction: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownName(f"no damage {self.kind!r}: {did_you_mean(self.kind, list(KINDS))}")
        if not 0 <= self.fraction <= 1:
            raise UnknownName(f"the fraction of a damage is from 0 to 1, not {self.fraction}")

    @classmethod
    def parse(cls, text: str) -> Damage:
        """``KIND:FRACTION``, as on the command line."""
        kind, _, fraction = text.partition(":")
        try:
            share = float(fraction)
        except ValueError:
            raise UnknownName(f"{text!r} is not KIND:FRACTION, such as noise:0.5") from None
        return cls(kind, share)

    def __str__(self) -> str:
        return f"{self.kind}:{self.fraction:g}"


@dataclass(frozen=True)
class Patient:
    """Where a damage strikes: the weights, cut into tensors, and their scales."""

    theta: NDArray[np.generic]  # (P,), changed in place
    shapes: Sequence[tuple[int, ...]]
    rng: np.random.Generator

    def some(self, fraction: float) -> NDArray[np.int64]:
        """Indices of a fraction of all weights."""
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
        return self.theta.view(f"u{self.theta.itemsize}")

    def scale(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Root mean square of the tensor that each weight is in."""
        ends = np.cumsum([math.prod(s) for s in self.shapes])
        rms = [
            math.sqrt(float(np.mean(np.square(part, dtype=np.float64)))) if part.size else 0.0
            for part in np.split(self.theta, ends[:-1])
        ]
        return np.array(rms)[np.searchsorted(ends, index, side="right")]


def _noise(p: Patient, fraction: float, times: float = 1.0) -> None:
    index = p.some(fraction)
    drawn = p.rng.standard_normal(len(index), dtype=np.float32)
    p.theta[index] = (times * p.scale(index) * drawn).astype(p.theta.dtype)


def _large_noise(p: Patient, fraction: float) -> None:
    _noise(p, fraction, 10.0)


def _zero(p: Patient, fraction: float) -> None:
    p.theta[p.some(fraction)] = 0


def _negate(p: Patient, fraction: float) -> None:
    p.words[p.some(fraction)] ^= p.words.dtype.type(1 << (8 * p.theta.itemsize - 1))


def _flip(p: Patient, fraction: float) -> None:
    index, width = p.some(fraction), 8 * p.theta.itemsize
    bits = p.rng.integers(0, width, len(index)).astype(p.words.dtype)
    p.words[index] ^= p.words.dtype.type(1) << bits


def _words(p: Patient, fraction: float) -> None:
    index = p.some(fraction)
    p.words[index] = p.rng.integers(0, 1 << (8 * p.theta.itemsize), len(index), dtype=p.words.dtype, endpoint=False)


def _bit_errors(p: Patient, fraction: float) -> None:
    """Each bit of the memory turns over with that probability."""
    words = p.words
    for bit in range(8 * p.theta.itemsize):
        struck = p.rng.random(len(words), dtype=np.float32) < fraction
        words ^= struck.astype(words.dtype) << words.dtype.type(bit)


def _block(p: Patient, fraction: float) -> None:
    length = round(fraction * len(p.theta))
    start = int(p.rng.integers(0, len(p.theta) - length + 1))
    p.theta[start : start + length] = 0


def _neurons(p: Patient, fraction: float) -> None:
    """Whole rows of matrices, convolutions and biases: what makes one unit's output."""
    start = 0
    for shape in p.shapes:
        size = math.prod(shape)
        rows = p.theta[start : start + size].reshape(shape[0] if shape else 1, -1)
        rows[p.rng.choice(len(rows), round(fraction * len(rows)), replace=False)] = 0
        start += size


KINDS: dict[str, tuple[Callable[[Patient, float], None], str]] = {
    "noise": (_noise, "replaced by Gaussian noise of their tensor's own size"),
    "large-noise": (_large_noise, "replaced by Gaussian noise ten times as large"),
    "zero": (_zero, "set to zero"),
    "negate": (_negate, "sign turned over"),
    "flip": (_flip, "one random bit turned over in each"),
    "words": (_words, "replaced by random bits, NaN and infinity among them"),
    "bit-errors": (_bit_errors, "every bit turned over with this probability"),
    "block": (_block, "one contiguous block in memory set to zero"),
    "neurons": (_neurons, "whole output rows of every layer set to zero"),
}


def damaged(quine: Quine, damage: Damage | str, seed: int = 0) -> Tensor:
    """The stored weights after a damage, ``(P,)``; what is stored stays as it is.

    Args:
        quine: whose weights.
        damage: kind and fraction, or ``"KIND:FRACTION"``.
        seed: of what is struck.

    Raises:
        UnknownName: no such kind, or a fraction out of range.
    """
    damage = Damage.parse(damage) if isinstance(damage, str) else damage
    theta = quine.theta
    kept = theta.cpu().contiguous()
    # numpy knows no bfloat16: its words are damaged all the same, and its numbers as float32.
    narrow = kept.dtype == torch.bfloat16
    bitwise = damage.kind in ("negate", "flip", "words", "bit-errors")
    if narrow and bitwise:
        array = kept.view(torch.int16).numpy().view(np.float16)
    else:
        array = (kept.float() if narrow else kept).numpy()
    shapes = [tuple(p.shape) for p in quine.weights]
    KINDS[damage.kind][0](Patient(array, shapes, np.random.default_rng(seed)), damage.fraction)
    changed = (
        torch.from_numpy(array.view(np.int16)).view(torch.bfloat16) if narrow and bitwise else torch.from_numpy(array)
    )
    return changed.to(theta)
