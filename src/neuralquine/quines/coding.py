"""From a trunk's features to the code: the fixed readout, the normalization, and the anchor."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import check_bytes
from .networks.normalize import instance_norm
from .networks.running import as_numpy
from .tables.anchor import anchor
from .tables.philox import Stream, dyadic_gaussian
from .trunk import Trunk


@dataclass(frozen=True)
class Coding:
    """``c = N(R h)``, or anchored ``c = N(a + beta N(R h))``: features ``h`` ``(n,)`` to the code ``(d,)``.

    Attributes:
        normalize: N is instance normalization; otherwise it does nothing.
        eps: added to the variance in N.
        skip: beta; None where the quine is free.
        readout: R, ``(d, n)``; None where the features already are d numbers.
        anchor: a, ``(d,)``; None where the quine is free.
    """

    normalize: bool
    eps: float
    skip: float | None
    readout: Tensor | None
    anchor: Tensor | None

    def __call__(self, features: Tensor) -> Tensor:
        h = features if self.readout is None else self.readout @ features
        c = instance_norm(h, self.eps) if self.normalize else h
        return c if self.anchor is None else instance_norm(self.anchor + (self.skip or 0.0) * c, self.eps)

    def to(self, device: torch.device) -> Coding:
        """The same coding with its tables on another device."""
        moved = {name: None if (t := getattr(self, name)) is None else t.to(device) for name in ("readout", "anchor")}
        return replace(self, **moved)


def coding_of(trunk: Trunk, code_size: int, seed: int, *, normalize: bool, eps: float, skip: float | None) -> Coding:
    """The coding of a trunk's features, with its tables drawn from a seed.

    Raises:
        TrunkError: an anchored quine's probe is zero.
        TooLarge: the readout would take more than 2 GiB.
    """
    fixed = None
    readout = _readout(trunk, code_size, seed)
    if skip is not None:
        fixed = torch.from_numpy(anchor(as_numpy(trunk.inputs), code_size, seed)).to(trunk.device, trunk.read_dtype)
    return Coding(normalize, eps, skip, readout, fixed)


def _readout(trunk: Trunk, code_size: int, seed: int) -> Tensor | None:
    """A fixed ``(d, n)`` projection of the features, or None where they already are the code's size."""
    features = trunk.width
    if features == code_size:
        return None
    what = f"the {code_size} x {features} readout"
    check_bytes(what, code_size * features * 8, "use select= to read fewer of the trunk's outputs")
    entries = dyadic_gaussian(seed, Stream.READOUT, 0, code_size * features)
    readout = torch.from_numpy(entries).reshape(code_size, features) / math.sqrt(features)
    return readout.to(trunk.device, trunk.read_dtype)
