"""Convolutions and pooling, with a batch axis or without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .common import A, Arithmetic, NoRule, Shapes, Spec, Weights, held, rule


def kernels(axes: int, first: str = "out_channels", second: str = "in_channels") -> Callable[[Spec], Shapes]:
    """The shapes of a convolution's kernels, whose second axis holds the channels of one group, and of its bias."""

    def shapes(arguments: Spec) -> Shapes:
        kernel = np.broadcast_to(arguments["kernel_size"], axes).tolist()
        weight: Shapes = {"weight": (arguments[first], arguments[second] // arguments["groups"], *kernel)}
        return weight | ({"bias": (arguments["out_channels"],)} if arguments["bias"] else {})

    return shapes


@rule("Conv1d", tensors=kernels(1))
def conv_1d(x: A, arguments: Spec, weights: Weights[A]) -> A:
    return _convolve(x, arguments, weights, axes=1)


@rule("Conv2d", tensors=kernels(2))
def conv_2d(x: A, arguments: Spec, weights: Weights[A]) -> A:
    return _convolve(x, arguments, weights, axes=2)


@rule("Conv3d", tensors=kernels(3))
def conv_3d(x: A, arguments: Spec, weights: Weights[A]) -> A:
    return _convolve(x, arguments, weights, axes=3)


def _convolve(x: A, arguments: Spec, weights: Weights[A], axes: int) -> A:
    """A convolution as a product of matrices: windows of the flat input, zero in the padding, by flat kernels."""
    if arguments["padding_mode"] != "zeros" or isinstance(arguments["padding"], str):
        raise NoRule("no proof rule for a convolution with padding other than a number of zeros")
    if arguments["groups"] != 1:
        return _by_groups(x, arguments, weights, axes)
    weight = held(weights, "weight")
    batched = _batched(x, axes, "convolution")
    if x.shape[-axes - 1] != weight.shape[1]:
        raise NoRule(f"no proof rule for a convolution of {weight.shape[1]} channels in a tensor of shape {x.shape}")
    index = _windows(x.shape[-axes - 1 :], arguments, axes)
    batch, output = x.shape[0] if batched else 1, index.shape[:axes]
    inner = x.reshape(batch, -1).windows(index.reshape(int(np.prod(output)), -1))
    y = inner.affine(weight.reshape(weight.shape[0], -1), weights("bias")).to_grid().mT
    return y.reshape(*(batch,) * batched, weight.shape[0], *output)


def _by_groups(x: A, arguments: Spec, weights: Weights[A], axes: int) -> A:
    """Each group of channels by kernels of its own."""
    _batched(x, axes, "convolution")
    groups, whole, place = arguments["groups"], held(weights, "weight"), len(x.shape) - axes - 1
    inner, outer = whole.shape[1], whole.shape[0] // groups
    if x.shape[place] != groups * inner:
        raise NoRule(f"no proof rule for a convolution of {groups * inner} channels in a tensor of shape {x.shape}")

    def of_group(g: int) -> Weights[A]:
        def find(name: str) -> A | None:
            part = weights(name)
            return None if part is None else part.cut(0, g * outer, (g + 1) * outer)

        return find

    parts = [
        _convolve(x.cut(place, g * inner, (g + 1) * inner), arguments | {"groups": 1}, of_group(g), axes)
        for g in range(groups)
    ]
    return x.concat(parts, place)


def _batched(x: Arithmetic, axes: int, what: str) -> bool:
    """Whether there is a batch axis before the channels; torch knows by the number of axes."""
    if len(x.shape) not in (axes + 1, axes + 2):
        raise NoRule(f"no proof rule for {what} over {axes} axes of a tensor of shape {x.shape}")
    return len(x.shape) == axes + 2


def _windows(size: tuple[int, ...], arguments: Spec, axes: int) -> np.ndarray:
    """The places of each window's entries in the flat input, ``(*output, channels, *kernel)``; its size for padding."""
    kernel, stride, padding, dilation = (
        np.broadcast_to(arguments[key], axes) for key in ("kernel_size", "stride", "padding", "dilation")
    )
    if not all(np.issubdtype(part.dtype, np.integer) for part in (kernel, stride, padding, dilation)):
        raise NoRule("no proof rule for windows whose sizes and steps are not whole numbers")
    end = int(np.prod(size))
    places = np.pad(np.arange(end).reshape(size), [(0, 0), *((p, p) for p in padding.tolist())], constant_values=end)
    reach = dilation * (kernel - 1) + 1
    windows = np.lib.stride_tricks.sliding_window_view(places, tuple(reach), tuple(range(1, axes + 1)))
    steps = [slice(None), *(slice(None, None, s) for s in stride), *(slice(None, None, d) for d in dilation)]
    return np.moveaxis(windows[tuple(steps)], 0, axes)


@rule("MaxPool1d")
def largest_1d(x: A, arguments: Spec, _: Weights[A]) -> A:
    return _largest(x, arguments, axes=1)


@rule("MaxPool2d")
def largest_2d(x: A, arguments: Spec, _: Weights[A]) -> A:
    return _largest(x, arguments, axes=2)


@rule("MaxPool3d")
def largest_3d(x: A, arguments: Spec, _: Weights[A]) -> A:
    return _largest(x, arguments, axes=3)


def _largest(x: A, arguments: Spec, axes: int) -> A:
    """The largest of each window of each channel by itself; what pads is never it."""
    _batched(x, axes, "pooling")
    size, lead = x.shape[-axes:], x.shape[:-axes]
    index = _windows((1, *size), arguments | {"dilation": 1}, axes)
    output = index.shape[:axes]
    index = index.reshape(int(np.prod(output)), -1)
    # Padding is at most half a window, so that each has a first place in the input, which may well be there twice.
    index = np.where(index == int(np.prod(size)), index.min(-1, keepdims=True), index)
    return x.reshape(int(np.prod(lead)), -1).windows(index).largest().reshape(*lead, *output)


@rule("AvgPool1d")
def mean_1d(x: A, arguments: Spec, _: Weights[A]) -> A:
    return _mean(x, arguments, axes=1)


@rule("AvgPool2d")
def mean_2d(x: A, arguments: Spec, _: Weights[A]) -> A:
    return _mean(x, arguments, axes=2)


@rule("AvgPool3d")
def mean_3d(x: A, arguments: Spec, _: Weights[A]) -> A:
    if any(n < k for n, k in zip(x.shape[-3:], np.broadcast_to(arguments["kernel_size"], 3), strict=False)):
        raise NoRule(f"no proof rule for pooling by windows that are larger than a tensor of shape {x.shape}")
    return _mean(x, arguments, axes=3)


def _mean(x: A, arguments: Spec, axes: int) -> A:
    """The mean of each window of each channel by itself; zeros that pad count among its numbers."""
    _batched(x, axes, "pooling")
    size, lead = x.shape[-axes:], x.shape[:-axes]
    index = _windows((1, *size), arguments | {"dilation": 1}, axes)
    output = index.shape[:axes]
    windows = x.reshape(int(np.prod(lead)), -1).windows(index.reshape(int(np.prod(output)), -1))
    return windows.mean().reshape(*lead, *output)


@rule("AdaptiveAvgPool1d")
def average_1d(x: A, arguments: Spec, _: Weights[A]) -> A:
    return _average(x, arguments["output_size"], axes=1)


@rule("AdaptiveAvgPool2d")
def average_2d(x: A, arguments: Spec, _: Weights[A]) -> A:
    return _average(x, arguments["output_size"], axes=2)


@rule("AdaptiveAvgPool3d")
def average_3d(x: A, arguments: Spec, _: Weights[A]) -> A:
    return _average(x, arguments["output_size"], axes=3)


def _average(x: A, size: Any, axes: int) -> A:
    """The mean over the last axes, whatever comes before them, or over cells of equal size."""
    _batched(x, axes, "adaptive pooling")
    if size in (1, [1] * axes):
        return x.reshape(*x.shape[:-axes], -1).mean().reshape(*x.shape[:-axes], *(1,) * axes)
    cells = size if isinstance(size, list) else [size] * axes
    if any(count < 1 or n % count for n, count in zip(x.shape[-axes:], cells, strict=True)):
        raise NoRule(f"no proof rule for adaptive pooling of a tensor of shape {x.shape} to cells of unequal size")
    steps = [n // count for n, count in zip(x.shape[-axes:], cells, strict=True)]
    return _mean(x, {"kernel_size": steps, "stride": steps, "padding": 0}, axes)
