"""Is a copy of the answer kept outside of the weights: all of them, or the code that they are expanded from?

What looks like a copy is looked at twice. Numbers that are equal are compared with those of another code, because types and
grids with few numbers agree by chance. A pattern must have more bits than chance explains among so many numbers. And the
network is asked with other weights: an attribute that holds the last answer, as of a module that remembers it, then
holds another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ..quines.in_place import weights_kept
from ..quines.known import printed_code
from ..quines.quine import Quine
from .finding import Finding
from .outside import outside_numbers

_CLOSE = ((3e-5, 14), (1e-11, 35))  # distances of a copy, relative to its range, and the bits of each number that fits
_CHANCE = 25  # bits that a pattern must have beyond the places where it could stand
_STRIDES = range(2, 5)  # of numbers that are interleaved with others
_SMALL = 1 << 20  # numbers of a tensor in which strides are looked at
_SHUFFLED = 8  # numbers from which on a copy in another order is looked for
_PART = 1 << 22  # starts that are looked at together

Patterns = dict[str, tuple[Tensor, int]]


@torch.no_grad()
def signs_outside(quine: Quine) -> Finding | None:
    """Whether the signs of the code stand outside of the weights, as numbers or as bits."""

    def patterns() -> Patterns:
        signs = quine.code().double().cpu()
        packed = torch.from_numpy(np.packbits((signs > 0).numpy()).astype(np.float64))
        return {"code": (signs, 1), "code, as bits,": (packed, 8)}

    return _confirmed(quine, patterns)


@torch.no_grad()
def lookup_in_place(quine: Quine) -> Finding | None:
    """A copy of a large network's weights is itself large; of its code, small."""
    large, sizes = quine.parameter_count / 10, list[int]()
    found = _confirmed(quine, lambda: _patterns(quine, None), sizes)
    if found is not None or not any(size >= large for size in sizes):
        return found
    return _numbers_held(
        quine,
        lambda: (p.double().cpu() for _, p in quine.stored_pieces()),
        lambda code: (p.double().cpu() for _, p in quine.printed_pieces(code)),
        large,
    )


@torch.no_grad()
def lookup(quine: Quine, theta: Tensor) -> Finding | None:
    """Are the weights, the code they are expanded from, or the features that it is read of kept outside of the weights?"""
    wanted = _wanted(quine, theta)
    return _numbers_held(
        quine,
        lambda: iter([wanted]),
        lambda code: iter([_wanted(quine, quine.printer(code))]),
        max(4, len(wanted) / 100),  # of which each may be many weights, where a type has few numbers
    ) or _confirmed(quine, lambda: _patterns(quine, theta))


Numbers = Iterator[Tensor]


def _numbers_held(
    quine: Quine, wanted: Callable[[], Numbers], others: Callable[[Tensor], Numbers], large: float
) -> Finding | None:
    """A place with many of the weights, in any order: more than of those of another code, and whatever the network holds."""
    total = sum(len(part) for part in wanted())
    suspects = {}
    for name, values in outside_numbers(quine):
        inside = sum(_inside(part, values) for part in wanted()) if values.numel() >= large else 0
        if inside >= max(8, total // 10):
            suspects[name] = inside
    if not suspects:
        return None
    code = quine.quantize(quine.random_codes(1, torch.Generator().manual_seed(2))[0])
    held = [part.clone() for part in wanted()]
    with weights_kept(quine):
        quine.install(code)
        quine.code()
        for name, values in outside_numbers(quine):
            if name not in suspects or values.numel() < large:
                continue
            inside = sum(_inside(part, values) for part in held)
            if inside >= suspects[name] / 2 and sum(_inside(part, values) for part in others(code)) < inside / 4:
                return Finding("look-up", f"{name} holds {inside} of the {quine.parameter_count} weights")
    return None


def _wanted(quine: Quine, theta: Tensor) -> Tensor:
    """Weights that do not sit at their mean."""
    return theta[(theta - quine.printer.mean) != 0].double().cpu()


def _inside(wanted: Tensor, values: Tensor) -> int:
    if not values.numel():
        return 0
    return int((torch.isin(wanted, values) | torch.isin(wanted.float(), values.float())).sum())


def _patterns(quine: Quine, theta: Tensor | None) -> Patterns:
    """What a copy would be a copy of, and how many bits each of its numbers has at most."""
    code = (printed_code(quine) if quine.in_place else quine.code()).double().cpu()
    features = quine.features().double().cpu()
    patterns: Patterns = {"code": (code, 64 if quine.code_bits is None else quine.code_bits + 1)}
    if features.numel() != code.numel():
        patterns["features"] = features, 64
    if theta is not None:
        patterns["weights"] = theta.double().cpu(), 64
    return patterns


def _confirmed(quine: Quine, patterns: Callable[[], Patterns], sizes: list[int] | None = None) -> Finding | None:
    """What is found, if it is still there after the network was asked with other weights, and is no list of all answers.

    The number of numbers at each place is noted in ``sizes``.
    """
    sought = patterns()
    names = list(_places(quine, sought, sizes))
    if not names:
        return None
    other = quine.quantize(quine.random_codes(1, torch.Generator().manual_seed(6))[0])
    with weights_kept(quine):
        quine.install(other)
        told = {"features": (quine.features().double().cpu(), 64), "code": (quine.code().double().cpu(), 64)}
        there = {name for name, _ in _places(quine, sought)} - {name for name, _ in _places(quine, told)}
    quine.code()  # what remembers the last answer remembers its own again
    left = next(((name, what) for name, what in names if name in there), None)
    if left is None:
        return None
    return Finding("look-up", f"{left[0]} holds the {left[1]} up to scale and shift")


def _places(quine: Quine, patterns: Patterns, sizes: list[int] | None = None) -> Iterator[tuple[str, str]]:
    """Names of what holds a pattern, and of the pattern."""
    for name, values in outside_numbers(quine):
        if sizes is not None:
            sizes.append(values.numel())
        for what, (pattern, bits) in patterns.items():
            if _holds(values, pattern, bits):
                yield name, what


def _holds(values: Tensor, pattern: Tensor, bits: int) -> bool:
    """Whether numbers hold a pattern: in a stretch, in every second to fourth of them, or all of them in another order."""
    n, size = pattern.numel(), values.numel()
    if n < 3 or size < n or not bool(torch.isfinite(values).all()):
        return False
    if _aligned(values, pattern, bits):
        return True
    if size == n >= _SHUFFLED and _aligned(values.sort().values, pattern.sort().values, bits - math.ceil(math.log2(n))):
        return True
    strided = _STRIDES if size <= _SMALL else ()
    return any(_aligned(values[start::s], pattern, bits) for s in strided if size >= (n - 1) * s for start in range(s))


def _aligned(values: Tensor, pattern: Tensor, bits: int) -> bool:
    """Whether some stretch of ``values`` is ``a + b * pattern``, read forwards or backwards.

    Args:
        values: flat.
        pattern: flat, of 3 numbers at least.
        bits: that one number of the pattern has.
    """
    n = pattern.numel()
    if values.numel() < n:
        return False
    for close, exact in _CLOSE:
        if (n - 2) * min(exact, bits) < _CHANCE + math.log2(values.numel()):
            continue
        for shape in (pattern, pattern.flip(0)):
            for first in range(0, values.numel() - n + 1, _PART):
                if _starts(values, shape, close, torch.arange(first, min(first + _PART, values.numel() - n + 1))):
                    return True
        break
    return False


def _starts(values: Tensor, pattern: Tensor, close: float, starts: Tensor) -> bool:
    """Whether a copy begins at one of the starts: two numbers say scale and shift, the others must follow."""
    low, high = int(pattern.argmin()), int(pattern.argmax())
    reach = pattern[high] - pattern[low]
    if not float(reach) > 1e-12 * float(pattern.abs().max()):
        return False
    for k in range(pattern.numel()):
        if k in (low, high):
            continue
        scale = (values[starts + high] - values[starts + low]) / reach
        expected = scale * (pattern[k] - pattern[low])
        fits = (values[starts + k] - values[starts + low] - expected).abs() <= close * (scale * reach).abs()
        starts = starts[fits & (scale != 0)]
        if not len(starts):
            return False
    return True
