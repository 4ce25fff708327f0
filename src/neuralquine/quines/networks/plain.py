"""What one evaluation of a plain network takes at most, from its sizes alone.

The first operation on a tensor without memory imports two seconds' worth of torch's compiler, which is as long as the rest of
a command. Most networks are stacks of layers whose costs anybody can write down: those are bounded here, from above, and
only what is no such stack, or might not fit, is run without memory and counted (``cost.evaluated``).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import nn

from .bodies import Body, Taped
from .cost import CALL, CALLS, Cost
from .normalize import InstanceNorm
from .running import Inputs, arguments

Shape = tuple[int, ...]
Spent = tuple[Shape, float, float, int]
"""The shape of what a module answers, and at most: numbers that are made, floating-point operations, calls."""

_SMOOTH = (nn.Tanh, nn.Sigmoid, nn.ReLU, nn.SiLU, nn.SELU, nn.Mish, nn.Softsign, nn.GELU, nn.ELU, nn.LeakyReLU)
_CORNERED = (nn.Hardtanh, nn.ReLU6, nn.Hardsigmoid, nn.Hardswish, nn.Softshrink, nn.PReLU)
_POINTWISE = (
    *_SMOOTH,
    *_CORNERED,
    nn.CELU,
    nn.Tanhshrink,
    nn.Softplus,
    nn.Softmax,
    nn.Softmin,
    nn.Identity,
    nn.Dropout,
)
_CONVOLUTIONS = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
# Operations that one of these modules may consist of, and so often it may make its own numbers anew: twice what torch needs.
_FEW, _SOME = 8, 24
_STEP = 60  # calls, and numbers for each unit, of one step of a recurrent layer


def bound(module: nn.Module, inputs: Inputs) -> Cost | None:
    """Bound one evaluation of a module whose tensors take no memory.

    Args:
        module: built under ``torch.device("meta")``.
        inputs: its inputs, on the same device.

    Returns:
        At least what ``cost.evaluated`` would say, with the same width; None for what is no plain stack.
    """
    args, kwargs = arguments(inputs)
    if kwargs or len(args) != 1 or not args[0].is_floating_point():
        return None
    spent = _spent(module, tuple(args[0].shape))
    if spent is None or spent[3] > CALLS:
        return None
    shape, made, work, calls = spent
    return Cost(8.0 * made, work + CALL * calls + made, math.prod(shape))


def _spent(module: nn.Module, shape: Shape) -> Spent | None:
    kind = type(module)
    if kind is nn.Sequential:
        return _one_after_the_other(
            [m for m in module._modules.values() if m is not None], shape
        )  # a part may occur twice
    if kind in (Body, Taped):
        return _of_a_body(module, shape)
    if kind in _POINTWISE or (kind is InstanceNorm and shape):
        times = _SOME if kind is InstanceNorm else _FEW
        return shape, float(times * math.prod(shape)), float(times * math.prod(shape)), times
    if kind is nn.Flatten and shape:
        return _flat(module, shape), float(math.prod(shape)), 0.0, _FEW
    rule = _LAYERS.get(kind)
    return rule(module, shape) if rule else None


def _one_after_the_other(parts: list[nn.Module], shape: Shape) -> Spent | None:
    made, work, calls = 0.0, 0.0, 0
    for part in parts:
        spent = _spent(part, shape) if shape or part is parts[0] else None
        if spent is None:
            return None
        shape = spent[0]
        made, work, calls = made + spent[1], work + spent[2], calls + spent[3]
    return shape, made, work, calls


def _of_a_body(module: nn.Module, shape: Shape) -> Spent | None:
    """A network with a task; its features are read by the tape, as a mean over the batch."""
    if isinstance(module, Taped):
        if type(module.body) is not Body:
            return None
        whole = _of_a_body(module.body, shape)
        stem = _spent(module.body.stem, shape)
        if whole is None or stem is None:
            return None
        features = (math.prod(stem[0][1:]),)
        read = _one_after_the_other([nn.Identity(), module.tape], features)
        return None if read is None else (read[0], *_sums(whole, stem, read))
    assert isinstance(module, Body)
    stem = _spent(module.stem, shape)
    if stem is None or len(stem[0]) < 2:
        return None
    head = _spent(module.head, (stem[0][0], math.prod(stem[0][1:])))
    if head is None:
        return None
    width = max(math.prod(stem[0]), math.prod(head[0]))
    return (width,), *_sums(stem, head)


def _sums(*all_of: Spent) -> tuple[float, float, int]:
    # Every one of them begins from numbers that are copied once: from images to flat features, say.
    return sum(2 * s[1] for s in all_of), sum(s[2] for s in all_of), sum(s[3] + _FEW for s in all_of)


def _flat(module: nn.Module, shape: Shape) -> Shape:
    assert isinstance(module, nn.Flatten)
    first, last = (i % len(shape) for i in (module.start_dim, module.end_dim))
    return *shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]


def _linear(module: nn.Module, shape: Shape) -> Spent | None:
    assert isinstance(module, nn.Linear)
    if not shape or shape[-1] != module.in_features:
        return None
    rows = math.prod(shape[:-1])
    made = rows * module.out_features
    return (*shape[:-1], module.out_features), float(_FEW * made), 2.0 * rows * module.weight.numel(), _FEW


def _convolution(module: nn.Module, shape: Shape) -> Spent | None:
    assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    axes = _CONVOLUTIONS[type(module)]
    if len(shape) != axes + 2 or shape[1] != module.in_channels or isinstance(module.padding, str):
        return None
    sizes = zip(shape[2:], module.padding, module.dilation, module.kernel_size, module.stride, strict=True)
    left = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in sizes)
    if min(left) < 1 or module.padding_mode != "zeros":
        return None
    taps = module.weight[0].numel()
    places = shape[0] * math.prod(left)
    made = places * module.out_channels
    out = (shape[0], module.out_channels, *left)
    return out, float(_FEW * made + 2 * places * module.weight.numel()), 2.0 * made * taps, _FEW


def _recurrent(module: nn.Module, shape: Shape) -> Spent | None:
    """The last of a stack, as it answers with a tuple."""
    assert isinstance(module, nn.RNNBase)
    if len(shape) != 3 or shape[-1] != module.input_size or module.proj_size:
        return None
    steps, batch = (shape[1], shape[0]) if module.batch_first else shape[:2]
    ways = 2 if module.bidirectional else 1
    layers = ways * module.num_layers
    made = layers * (steps + 1) * batch * module.hidden_size * _STEP
    work = 2.0 * steps * batch * sum(p.numel() for p in module.parameters())
    width = max(steps * batch * ways, layers * batch) * module.hidden_size
    return (width,), float(made), work + made, layers * (steps + 1) * _STEP


_LAYERS: dict[type[nn.Module], Callable[[nn.Module, Shape], Spent | None]] = {
    nn.Linear: _linear,
    **dict.fromkeys(_CONVOLUTIONS, _convolution),
    **dict.fromkeys((nn.RNN, nn.GRU, nn.LSTM), _recurrent),
}
