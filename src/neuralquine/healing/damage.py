"""Stored weights after a damage. The kinds of damage are in ``kinds.py``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import BadOption
from ..quines.quine import Quine
from .kinds import KINDS as KINDS
from .kinds import Target, named


@dataclass(frozen=True)
class Damage:
    """A kind of damage, and how much of it.

    Attributes:
        kind: a name from ``KINDS``.
        fraction: the share of what it strikes, from 0 to 1.

    Raises:
        UnknownName: there is no such kind.
        BadOption: the fraction is out of range.
    """

    kind: str
    fraction: float

    def __post_init__(self) -> None:
        named(self.kind)
        if not 0 <= self.fraction <= 1:
            raise BadOption(f"fraction must be between 0 and 1, not {self.fraction:g}")

    @classmethod
    def parse(cls, text: str) -> Damage:
        """Read ``KIND:FRACTION``, as it stands on the command line."""
        kind, _, fraction = text.partition(":")
        try:
            share = float(fraction)
        except ValueError:
            raise BadOption(f"{text!r} is not KIND:FRACTION, such as noise:0.5") from None
        return cls(kind, share)

    def __str__(self) -> str:
        return f"{self.kind}:{self.fraction:g}"


def damaged(quine: Quine, damage: Damage | str, seed: int = 0) -> Tensor:
    """Return the stored weights after a damage, ``(P,)``; what is stored stays as it is.

    Args:
        quine: the quine whose weights are copied and struck.
        damage: kind and fraction, or ``"KIND:FRACTION"``.
        seed: decides what is struck.

    Raises:
        UnknownName: there is no such kind.
        BadOption: the fraction is out of range.
    """
    damage = Damage.parse(damage) if isinstance(damage, str) else damage
    kind, theta = named(damage.kind), quine.theta
    stored = theta.cpu().contiguous()
    # numpy knows no bfloat16: its words are damaged all the same, and its numbers as float32.
    narrow = stored.dtype == torch.bfloat16
    if narrow and kind.bitwise:
        array = stored.view(torch.int16).numpy().view(np.float16)
    else:
        array = (stored.float() if narrow else stored).numpy()
    shapes = [tuple(p.shape) for p in quine.weights]
    kind.strike(Target(array, shapes, np.random.default_rng(seed)), damage.fraction)
    if narrow and kind.bitwise:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16).to(theta)
    return torch.from_numpy(array).to(theta)
