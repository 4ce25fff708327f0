"""Transposed convolutions: each place of the output, by the places of the input that reach it."""

from __future__ import annotations

from functools import partial

import numpy as np

from .common import A, NoRule, Spec, Weights, held, rule
from .convolution import kernels

_kernels = partial(kernels, first="in_channels", second="out_channels")  # they lie the other way round


@rule("ConvTranspose1d", tensors=_kernels(1))
def transposed_1d(x: A, arguments: Spec, weights: Weights[A]) -> A:
    return _transposed(x, arguments, weights, axes=1)


@rule("ConvTranspose2d", tensors=_kernels(2))
def transposed_2d(x: A, arguments: Spec, weights: Weights[A]) -> A:
    return _transposed(x, arguments, weights, axes=2)


@rule("ConvTranspose3d", tensors=_kernels(3))
def transposed_3d(x: A, arguments: Spec, weights: Weights[A]) -> A:
    return _transposed(x, arguments, weights, axes=3)


def _transposed(x: A, arguments: Spec, weights: Weights[A], axes: int) -> A:
    """Products of matrices, one for each group of channels: what reaches each place, zero where nothing does, by flat kernels."""
    weight, bias, groups = held(weights, "weight"), weights("bias"), arguments["groups"]
    if len(x.shape) not in (axes + 1, axes + 2) or x.shape[-axes - 1] != weight.shape[0]:
        raise NoRule(f"no proof rule for a transposed convolution of {weight.shape[0]} channels of shape {x.shape}")
    place, lead, inner, outer = (
        len(x.shape) - axes - 1,
        x.shape[: -axes - 1],
        weight.shape[0] // groups,
        weight.shape[1],
    )
    index = _reaching((inner, *x.shape[-axes:]), arguments, axes)
    output = index.shape[:axes]
    flat = index.reshape(int(np.prod(output)), -1)
    parts = []
    for g in range(groups):
        kernels = weight.cut(0, g * inner, (g + 1) * inner).move(1, 0, *range(2, axes + 2)).reshape(outer, -1)
        own = None if bias is None else bias.cut(0, g * outer, (g + 1) * outer)
        given = x.cut(place, g * inner, (g + 1) * inner).reshape(int(np.prod(lead)), -1)
        parts.append(given.windows(flat).affine(kernels, own).to_grid().mT.reshape(*lead, outer, *output))
    return x.concat(parts, place)


def _reaching(size: tuple[int, ...], arguments: Spec, axes: int) -> np.ndarray:
    """The place in the flat input that each tap of the kernel brings to each output, ``(*output, channels, *kernel)``.

    Its size where there is none: output o takes by tap k the input i with ``o = i stride - padding + k dilation``.
    """
    settings = ("kernel_size", "stride", "padding", "dilation", "output_padding")
    kernel, stride, padding, dilation, more = (np.broadcast_to(arguments[key], axes).tolist() for key in settings)
    if any(m >= max(s, d) for m, s, d in zip(more, stride, dilation, strict=True)):
        raise NoRule("no proof rule for a transposed convolution whose output is padded by a whole step")
    channels, *sizes = size
    places = np.arange(channels).reshape(*(1,) * axes, channels, *(1,) * axes)
    nowhere = np.zeros((1,) * (2 * axes + 1), dtype=bool)
    for axis, n in enumerate(sizes):
        taps = np.arange(kernel[axis]) * dilation[axis]
        length = (n - 1) * stride[axis] - 2 * padding[axis] + int(taps[-1]) + more[axis] + 1
        if length < 1:
            raise NoRule("no proof rule for a transposed convolution whose output is empty")
        shifted = np.arange(length)[:, None] + padding[axis] - taps
        entry, off = np.divmod(shifted, stride[axis])
        shape = [1] * (2 * axes + 1)
        shape[axis], shape[axes + 1 + axis] = shifted.shape
        places = places * n + entry.reshape(shape)
        nowhere = nowhere | ((off != 0) | (entry < 0) | (entry >= n)).reshape(shape)
    return np.where(nowhere, int(np.prod(size)), places)
