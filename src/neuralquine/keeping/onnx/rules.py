"""How each module is written in ONNX: the same list, and the same formulas, as the rules of a proof.

Convolutions gather their windows and multiply matrices, recurrent networks are unrolled over the length of the probe,
normalizations and attention are spelled out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import NeuralQuineError
from .functions import gelu, normalize, sigmoid, softmax, tanh
from .values import Value, concat

Spec = dict[str, Any]
Lookup = Callable[[str], Value | None]


class NoGraph(NeuralQuineError):
    """A module, or an argument of one, that cannot be written as a graph."""


def run(spec: Spec, x: Value, weights: Lookup) -> Value:
    """The output of a described module at ``x``; ``weights`` finds its tensors. Recurrent modules give their sequence."""
    kind = spec["type"]
    if kind == "Sequential":
        for name, child in spec["children"]:
            x = run(child, x, _below(weights, f"{name}."))
        return x
    if kind not in RULES:
        raise NoGraph(f"no ONNX rule for {kind}: there is one for {', '.join(sorted(RULES))}")
    return RULES[kind](x, spec["arguments"], weights)


def _below(weights: Lookup, prefix: str) -> Lookup:
    return lambda name: weights(prefix + name)


def _held(weights: Lookup, name: str) -> Value:
    tensor = weights(name)
    assert tensor is not None, name
    return tensor


def _linear(x: Value, _: Spec, weights: Lookup) -> Value:
    return _affine(x, _held(weights, "weight"), weights("bias"))


def _affine(x: Value, weight: Value, bias: Value | None) -> Value:
    y = x @ weight.mT
    return y if bias is None else y + bias


def _scaled(y: Value, weights: Lookup) -> Value:
    weight, bias = weights("weight"), weights("bias")
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _layer_norm(x: Value, arguments: Spec, weights: Lookup) -> Value:
    if len(arguments["normalized_shape"]) != 1:
        raise NoGraph("no ONNX rule for LayerNorm over more than the last axis")
    return _scaled(normalize(x, arguments["eps"]), weights)


def _softmax(x: Value, arguments: Spec, _: Lookup) -> Value:
    if arguments["dim"] not in (-1, len(x.shape) - 1):
        raise NoGraph(f"no ONNX rule for Softmax over axis {arguments['dim']}: only over the last one")
    return softmax(x)


def _convolution(axes: int) -> Callable[[Value, Spec, Lookup], Value]:
    """Of one or two axes: windows are gathered from the flat input, to which one zero is appended for the padding."""

    def rule(x: Value, arguments: Spec, weights: Lookup) -> Value:
        if arguments["groups"] != 1 or arguments["padding_mode"] != "zeros" or isinstance(arguments["padding"], str):
            raise NoGraph("no ONNX rule for a convolution with groups or with padding other than a number of zeros")
        kernel, stride, padding, dilation = (
            np.broadcast_to(arguments[key], axes) for key in ("kernel_size", "stride", "padding", "dilation")
        )
        x = x if len(x.shape) == axes + 2 else x.reshape(1, *x.shape)
        batch, size = x.shape[0], x.shape[1:]
        places = np.pad(
            np.arange(np.prod(size)).reshape(size),
            [(0, 0), *((p, p) for p in padding)],
            constant_values=np.prod(size),  # where the zero is
        )
        reach = dilation * (kernel - 1) + 1
        windows = np.lib.stride_tricks.sliding_window_view(places, tuple(reach), tuple(range(1, axes + 1)))
        steps = [slice(None), *(slice(None, None, s) for s in stride), *(slice(None, None, d) for d in dilation)]
        windows = np.moveaxis(windows[tuple(steps)], 0, axes)  # (*output, channels, *kernel)
        output = windows.shape[:axes]
        index = x.graph.constant(windows.reshape(int(np.prod(output)), -1).astype(np.int64))
        flat = concat([x.reshape(batch, -1), x.graph.constant(np.zeros((batch, 1)))], 1)
        weight = _held(weights, "weight")
        y = _affine(flat.gather(1, index), weight.reshape(weight.shape[0], -1), weights("bias"))
        return y.mT.reshape(batch, weight.shape[0], *output)

    return rule


def _batch_norm(x: Value, arguments: Spec, weights: Lookup) -> Value:
    mean, variance = weights("running_mean"), weights("running_var")
    if mean is None or variance is None:
        raise NoGraph("no ONNX rule for batch normalization without running statistics")
    shape = (1, -1, *(1,) * (len(x.shape) - 2))
    scale = (variance + arguments["eps"]).unary("Sqrt")
    y = (x - mean.reshape(*shape)) / scale.reshape(*shape)
    return _scaled(y, lambda name: None if (w := weights(name)) is None else w.reshape(*shape))


Cell = Callable[[Value, Value, Value, tuple[Value, Value | None], Spec], tuple[Value, Value]]


def _recurrent(cell: Cell) -> Callable[[Value, Spec, Lookup], Value]:
    def rule(x: Value, arguments: Spec, weights: Lookup) -> Value:
        if arguments["bidirectional"] or arguments.get("proj_size", 0):
            raise NoGraph("no ONNX rule for a bidirectional or projected recurrent network")
        flat = len(x.shape) == 2
        x = x.reshape(x.shape[0], 1, x.shape[1]) if flat else (x.move(1, 0, 2) if arguments["batch_first"] else x)
        length, batch = x.shape[:2]
        size = arguments["hidden_size"]
        for layer in range(arguments["num_layers"]):
            left = _affine(x, _held(weights, f"weight_ih_l{layer}"), weights(f"bias_ih_l{layer}"))
            again = _held(weights, f"weight_hh_l{layer}"), weights(f"bias_hh_l{layer}")
            h = memory = x.graph.constant(np.zeros((batch, size)))
            outputs = []
            for t in range(length):
                heard = left.cut(0, t, t + 1).reshape(*left.shape[1:])
                h, memory = cell(heard, h, memory, again, arguments)
                outputs.append(h.reshape(1, batch, size))
            x = concat(outputs)
        return x.reshape(length, size) if flat else (x.move(1, 0, 2) if arguments["batch_first"] else x)

    return rule


def _one_step(cell: Cell) -> Callable[[Value, Spec, Lookup], Value]:
    def rule(x: Value, arguments: Spec, weights: Lookup) -> Value:
        zero = x.graph.constant(np.zeros((*x.shape[:-1], arguments["hidden_size"])))
        left = _affine(x, _held(weights, "weight_ih"), weights("bias_ih"))
        return cell(left, zero, zero, (_held(weights, "weight_hh"), weights("bias_hh")), arguments)[0]

    return rule


def _parts(x: Value, count: int) -> list[Value]:
    """Equal stretches of the last axis."""
    n = x.shape[-1] // count
    return [x.cut(-1, k * n, (k + 1) * n) for k in range(count)]


def _rnn_cell(
    left: Value, h: Value, memory: Value, again: tuple[Value, Value | None], arguments: Spec
) -> tuple[Value, Value]:
    total = left + _affine(h, *again)
    return (total.unary("Relu") if arguments["nonlinearity"] == "relu" else tanh(total)), memory


def _lstm_cell(left: Value, h: Value, c: Value, again: tuple[Value, Value | None], _: Spec) -> tuple[Value, Value]:
    i, f, g, o = _parts(left + _affine(h, *again), 4)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def _gru_cell(left: Value, h: Value, memory: Value, again: tuple[Value, Value | None], _: Spec) -> tuple[Value, Value]:
    (a, b, c), (p, q, s) = _parts(left, 3), _parts(_affine(h, *again), 3)
    r, z = sigmoid(a + p), sigmoid(b + q)
    new = tanh(c + r * s)
    return new + z * (h - new), memory


def _attention(x: Value, heads: int, weights: Lookup, *, causal: bool) -> Value:
    """Self-attention of a batch-first sequence ``(B, T, E)``; causal: of what came before."""
    batch, length, width = x.shape
    joint = _affine(x, _held(weights, "self_attn.in_proj_weight"), weights("self_attn.in_proj_bias"))
    split = [part.reshape(batch, length, heads, width // heads).move(0, 2, 1, 3) for part in _parts(joint, 3)]
    q, k, v = split
    scores = q @ k.mT / float(np.sqrt(width // heads))
    if causal:
        scores = scores + x.graph.constant(np.triu(np.full((length, length), -np.inf), 1))
    mixed = (softmax(scores) @ v).move(0, 2, 1, 3).reshape(batch, length, width)
    return _affine(mixed, _held(weights, "self_attn.out_proj.weight"), weights("self_attn.out_proj.bias"))


def _encoder_layer(x: Value, arguments: Spec, weights: Lookup, *, causal: bool = False) -> Value:
    if not arguments["batch_first"]:
        raise NoGraph("no ONNX rule for a TransformerEncoderLayer that is not batch_first")

    def norm(y: Value, name: str) -> Value:
        return _scaled(normalize(y, arguments["layer_norm_eps"]), _below(weights, f"{name}."))

    def attend(y: Value) -> Value:
        return _attention(y, arguments["nhead"], weights, causal=causal)

    def feed(y: Value) -> Value:
        inner = _affine(y, _held(weights, "linear1.weight"), weights("linear1.bias"))
        inner = inner.unary("Relu") if arguments["activation"] == "relu" else gelu(inner, "none")
        return _affine(inner, _held(weights, "linear2.weight"), weights("linear2.bias"))

    if arguments["norm_first"]:
        x = x + attend(norm(x, "norm1"))
        return x + feed(norm(x, "norm2"))
    x = norm(x + attend(x), "norm1")
    return norm(x + feed(x), "norm2")


def _causal_transformer(x: Value, arguments: Spec, weights: Lookup) -> Value:
    table, positions = _held(weights, "tokens.weight"), _held(weights, "positions.weight")
    length = x.shape[1]
    block = {"nhead": arguments["heads"], "layer_norm_eps": 1e-5, "activation": "gelu"}
    block |= {"batch_first": True, "norm_first": True}
    x = table.gather(0, x) + positions.cut(0, 0, length)
    for i in range(arguments["layers"]):
        x = _encoder_layer(x, block, _below(weights, f"blocks.{i}."), causal=True)
    last = x.cut(1, length - 1, length).reshape(x.shape[0], x.shape[2])
    return _scaled(normalize(last, 1e-5), _below(weights, "norm.")) @ table.mT


def _flatten(x: Value, arguments: Spec, _: Lookup) -> Value:
    start, end = arguments["start_dim"] % len(x.shape), arguments["end_dim"] % len(x.shape)
    return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])


def _average(x: Value, arguments: Spec, _: Lookup) -> Value:
    if arguments["output_size"] not in (1, [1, 1]):
        raise NoGraph("no ONNX rule for adaptive pooling to more than one cell")
    flat = x.reshape(*x.shape[:2], -1).over_last("ReduceMean")
    return flat.reshape(*x.shape[:2], *(1,) * (len(x.shape) - 2))


RULES: dict[str, Callable[[Value, Spec, Lookup], Value]] = {
    "Linear": _linear,
    "Tanh": lambda x, _, __: tanh(x),
    "ReLU": lambda x, _, __: x.unary("Relu"),
    "Sigmoid": lambda x, _, __: sigmoid(x),
    "SiLU": lambda x, _, __: x * sigmoid(x),
    "GELU": lambda x, arguments, __: gelu(x, arguments["approximate"]),
    "Softmax": _softmax,
    "LayerNorm": _layer_norm,
    "neuralquine.InstanceNorm": lambda x, arguments, __: normalize(x, arguments["eps"]),
    "BatchNorm1d": _batch_norm,
    "BatchNorm2d": _batch_norm,
    "Conv1d": _convolution(1),
    "Conv2d": _convolution(2),
    "RNN": _recurrent(_rnn_cell),
    "GRU": _recurrent(_gru_cell),
    "LSTM": _recurrent(_lstm_cell),
    "RNNCell": _one_step(_rnn_cell),
    "GRUCell": _one_step(_gru_cell),
    "LSTMCell": _one_step(_lstm_cell),
    "TransformerEncoderLayer": _encoder_layer,
    "neuralquine.CausalTransformer": _causal_transformer,
    "Embedding": lambda x, _, weights: _held(weights, "weight").gather(0, x),
    "AdaptiveAvgPool1d": _average,
    "AdaptiveAvgPool2d": _average,
    "Flatten": _flatten,
    "Identity": lambda x, _, __: x,
    "Dropout": lambda x, _, __: x,
}
