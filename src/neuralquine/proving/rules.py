"""How each module computes, in balls: the part of a proof that has to be believed.

Every rule follows the definition in the documentation of the torch module of that name. A module without a rule
is refused by name. Rules work on the plain-data description of a trunk (see ``architecture.py``), so a proof covers
what the file says and nothing a Python object might do besides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from flint import arb

from ..errors import NeuralQuineError
from .balls import Ball, stack
from .normalization import normalize

Parameters = dict[str, Ball]
Spec = dict[str, Any]


class NoRule(NeuralQuineError):
    """A module whose arithmetic has no rule, so that nothing can be proved about it."""


def run(spec: Spec, x: Ball, parameters: Parameters, prefix: str = "") -> Ball:
    """The output of a described module at ``x``. Recurrent modules give their output sequence."""
    kind = spec["type"]
    if kind == "Sequential":
        for name, child in spec["children"]:
            x = run(child, x, parameters, f"{prefix}{name}.")
        return x
    if kind not in RULES:
        raise NoRule(f"no proof rule for {kind}: it covers {', '.join(sorted(RULES))}")
    return RULES[kind](x, spec["arguments"], lambda name: parameters.get(prefix + name))


Lookup = Callable[[str], Ball | None]


def _linear(x: Ball, _: Spec, weights: Lookup) -> Ball:
    return _affine(x, weights("weight"), weights("bias"))


def _affine(x: Ball, weight: Ball | None, bias: Ball | None) -> Ball:
    assert weight is not None
    y = x.contract(weight)
    return y if bias is None else y + _accumulated(bias, x.shape[-1])


def _accumulated(bias: Ball, terms: int) -> Ball:
    """A bias that may have been the first term of the sum, so that every later rounding counts it too."""
    if bias.rounding is None:
        return bias
    unit = (terms + 1) * bias.rounding.unit
    grown = [b + arb(0, b.abs_upper() * unit) for b in bias.value.flat]
    return Ball(np.array(grown, dtype=object).reshape(bias.shape), bias.grad, bias.rounding)


def _sigmoid(v: arb) -> arb:
    return 1 / (1 + (-v).exp())


def _tanh(x: Ball) -> Ball:
    def slope(v: arb) -> arb:
        t = v.tanh()
        return 1 - t * t  # not t ** 2: a power of a ball around zero is NaN

    return x.map(arb.tanh, slope)


def _logistic(x: Ball) -> Ball:
    return x.map(_sigmoid, lambda v: _sigmoid(v) * (1 - _sigmoid(v)), error=_composed(x))


def _relu(x: Ball) -> Ball:
    def f(v: arb) -> arb:
        return v if v > 0 else (arb(0) if v <= 0 else _hull(arb(0), arb(v.upper())))

    def slope(v: arb) -> arb:
        return arb(1) if v > 0 else (arb(0) if v < 0 else _hull(arb(0), arb(1)))

    return x.map(f, slope, error=0.0)


def _silu(x: Ball) -> Ball:
    return x * _logistic(x)


def _gelu(x: Ball, arguments: Spec) -> Ball:
    if arguments["approximate"] == "tanh":
        cubed = x * x * x
        inner = (x + cubed.scale(arb("0.044715"))).scale((2 / arb.pi()).sqrt())
        gate = _tanh(inner)
    else:
        root = arb(2).sqrt()
        density = 2 / (2 * arb.pi()).sqrt()
        gate = x.map(lambda v: (v / root).erf(), lambda v: density * (-v * v / 2).exp())
        if x.rounding is not None:  # the argument v / sqrt(2) is rounded too; erf' is at most 2 / sqrt(pi)
            gate = gate + Ball(np.array([arb(0, 8 * x.rounding.unit)], dtype=object))
    one = Ball(np.array([arb(1)], dtype=object))
    return (x * (gate + one)).scale(arb(0.5))


def _softmax(x: Ball, axis: int) -> Ball:
    if axis not in (-1, x.value.ndim - 1):
        raise NoRule(f"no proof rule for Softmax over axis {axis}: only over the last one")
    # Any shift cancels; the midpoint of the largest entry is exact, as the computed maximum is.
    top = np.array(
        [max((arb(v.mid()) for v in row), key=float) for row in x.value.reshape(-1, x.shape[-1])], dtype=object
    )
    shifted = x - Ball(top.reshape(*x.shape[:-1], 1))
    powers = shifted.map(arb.exp, arb.exp)
    total = powers.sum(-1).keep(-1)
    return powers * total.map(lambda v: 1 / v, lambda v: -1 / (v * v), error=1.0)


def _composed(x: Ball) -> float:
    """Relative error, in units of u, of a function made of two elementary ones and two operations."""
    return 0.0 if x.rounding is None else 4 * x.rounding.ulps + 2


def _layer_norm(x: Ball, arguments: Spec, weights: Lookup) -> Ball:
    shape = arguments["normalized_shape"]
    if len(shape) != 1 or shape[0] != x.shape[-1]:
        raise NoRule("no proof rule for LayerNorm over more than the last axis")
    return _scaled(normalize(x, arguments["eps"]), weights)


def _scaled(y: Ball, weights: Lookup) -> Ball:
    weight, bias = weights("weight"), weights("bias")
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _conv2d(x: Ball, arguments: Spec, weights: Lookup) -> Ball:
    two = {key: _pair(arguments[key]) for key in ("stride", "padding", "dilation", "kernel_size")}
    return _convolve(x, arguments, weights, two)


def _conv1d(x: Ball, arguments: Spec, weights: Lookup) -> Ball:
    two = {key: (neutral, _single(arguments[key])) for key, neutral in _NEUTRAL.items()}
    y = _convolve(x.keep(-2), arguments, lambda n: _flat_kernel(weights(n)), two)
    return y.reshape(*y.shape[:-2], y.shape[-1])


_NEUTRAL = {"stride": 1, "padding": 0, "dilation": 1, "kernel_size": 1}


def _flat_kernel(w: Ball | None) -> Ball | None:
    return w if w is None or w.value.ndim == 1 else w.keep(-2)


def _convolve(x: Ball, arguments: Spec, weights: Lookup, two: dict[str, tuple[int, int]]) -> Ball:
    if arguments["groups"] != 1 or arguments["padding_mode"] != "zeros":
        raise NoRule("no proof rule for a convolution with groups or with padding other than zeros")
    weight, bias = weights("weight"), weights("bias")
    assert weight is not None
    x = x if x.value.ndim == 4 else x.keep(0)
    x = _pad(x, two["padding"])
    (kh, kw), (sh, sw), (dh, dw) = two["kernel_size"], two["stride"], two["dilation"]
    height, width = (
        (x.shape[2 + i] - d * (k - 1) - 1) // s + 1 for i, (k, s, d) in enumerate(((kh, sh, dh), (kw, sw, dw)))
    )
    rows = [
        x[:, :, i * sh : i * sh + dh * (kh - 1) + 1 : dh, j * sw : j * sw + dw * (kw - 1) + 1 : dw].reshape(
            x.shape[0], -1
        )
        for i in range(height)
        for j in range(width)
    ]
    y = _affine(stack(rows, 1), weight.reshape(weight.shape[0], -1), bias)
    return y.move((0, 2, 1)).reshape(x.shape[0], weight.shape[0], height, width)


def _pad(x: Ball, padding: tuple[int, int]) -> Ball:
    if padding == (0, 0):
        return x
    width = [(0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2]
    zero: Any = arb(0)
    value = np.pad(x.value, width, constant_values=zero)
    grad = None if x.grad is None else np.pad(x.grad, [*width, (0, 0)], constant_values=zero)
    return Ball(value, grad, x.rounding)


def _recurrent(cell: Callable[..., tuple[Ball, Ball | None]]) -> Callable[[Ball, Spec, Lookup], Ball]:
    def rule(x: Ball, arguments: Spec, weights: Lookup) -> Ball:
        if arguments["bidirectional"] or arguments.get("proj_size", 0):
            raise NoRule("no proof rule for a bidirectional or projected recurrent network")
        flat = x.value.ndim == 2
        x = x.keep(1) if flat else (x.move((1, 0, 2)) if arguments["batch_first"] else x)  # (T, B, features)
        for layer in range(arguments["num_layers"]):
            names = [f"{n}_l{layer}" for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            held = [weights(name) for name in names]
            zero = Ball(np.full((x.shape[1], arguments["hidden_size"]), arb(0), dtype=object), None, x.rounding)
            h, memory, outputs = zero, zero, []
            for t in range(x.shape[0]):
                h, memory = cell(x[t], h, memory, held, arguments)
                outputs.append(h)
            x = stack(outputs)
        return x.reshape(x.shape[0], x.shape[2]) if flat else (x.move((1, 0, 2)) if arguments["batch_first"] else x)

    return rule


def _one_step(cell: Callable[..., tuple[Ball, Ball | None]]) -> Callable[[Ball, Spec, Lookup], Ball]:
    def rule(x: Ball, arguments: Spec, weights: Lookup) -> Ball:
        held = [weights(n) for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        zero = Ball(np.full((*x.shape[:-1], arguments["hidden_size"]), arb(0), dtype=object), None, x.rounding)
        return cell(x, zero, zero, held, arguments)[0]

    return rule


def _rnn_cell(x: Ball, h: Ball, _: Ball, held: list[Ball | None], arguments: Spec) -> tuple[Ball, Ball | None]:
    total = _affine(x, held[0], held[2]) + _affine(h, held[1], held[3])
    return (_relu(total) if arguments["nonlinearity"] == "relu" else _tanh(total)), None


def _lstm_cell(x: Ball, h: Ball, c: Ball, held: list[Ball | None], _: Spec) -> tuple[Ball, Ball]:
    gates = _affine(x, held[0], held[2]) + _affine(h, held[1], held[3])
    n = h.shape[-1]
    i, f, g, o = (gates[..., k * n : (k + 1) * n] for k in range(4))
    c = _logistic(f) * c + _logistic(i) * _tanh(g)
    return _logistic(o) * _tanh(c), c


def _gru_cell(x: Ball, h: Ball, _: Ball, held: list[Ball | None], __: Spec) -> tuple[Ball, Ball | None]:
    left, right, n = _affine(x, held[0], held[2]), _affine(h, held[1], held[3]), h.shape[-1]
    r, z = (_logistic(left[..., k * n : (k + 1) * n] + right[..., k * n : (k + 1) * n]) for k in range(2))
    new = _tanh(left[..., 2 * n :] + r * right[..., 2 * n :])
    return new + z * (h - new), None


def _attention(x: Ball, heads: int, weights: Lookup, *, causal: bool = False) -> Ball:
    """Self-attention of a batch-first sequence ``(B, T, E)``, as in ``nn.MultiheadAttention``; causal: of what came before."""
    batch, length, width = x.shape
    size = width // heads
    joint = _affine(x, weights("self_attn.in_proj_weight"), weights("self_attn.in_proj_bias"))
    rows = []
    for b in range(batch):
        parts = []
        for head in range(heads):
            q, k, v = (joint[b][:, j * width + head * size : j * width + (head + 1) * size] for j in range(3))
            # The scale may be applied before or after the product, in one factor or split in two.
            scores = q.contract(k).map(lambda v: v / arb(size).sqrt(), lambda _: 1 / arb(size).sqrt(), error=8.0)
            if causal:  # what is masked counts as exact zeros
                seen = [(scores[t : t + 1, : t + 1], v[: t + 1]) for t in range(length)]
                parts.append(stack([_softmax(s, -1).contract(w.move((1, 0)))[0] for s, w in seen]))
            else:
                parts.append(_softmax(scores, -1).contract(v.move((1, 0))))
        rows.append(stack(parts, 1).reshape(length, width))
    return _affine(stack(rows), weights("self_attn.out_proj.weight"), weights("self_attn.out_proj.bias"))


def _encoder_layer(x: Ball, arguments: Spec, weights: Lookup, *, causal: bool = False) -> Ball:
    if not arguments["batch_first"]:
        raise NoRule("no proof rule for a TransformerEncoderLayer that is not batch_first")

    def norm(y: Ball, name: str) -> Ball:
        return _scaled(normalize(y, arguments["layer_norm_eps"]), lambda n: weights(f"{name}.{n}"))

    def attend(y: Ball) -> Ball:
        return _attention(y, arguments["nhead"], weights, causal=causal)

    def feed(y: Ball) -> Ball:
        inner = _affine(y, weights("linear1.weight"), weights("linear1.bias"))
        inner = _relu(inner) if arguments["activation"] == "relu" else _gelu(inner, {"approximate": "none"})
        return _affine(inner, weights("linear2.weight"), weights("linear2.bias"))

    if arguments["norm_first"]:
        x = x + attend(norm(x, "norm1"))
        return x + feed(norm(x, "norm2"))
    x = norm(x + attend(x), "norm1")
    return norm(x + feed(x), "norm2")


def _causal_transformer(x: Ball, arguments: Spec, weights: Lookup) -> Ball:
    table, positions = weights("tokens.weight"), weights("positions.weight")
    assert table is not None
    assert positions is not None
    layer = {"nhead": arguments["heads"], "layer_norm_eps": 1e-5, "activation": "gelu"}
    x = _embedding(x, {}, lambda _: table) + positions[: x.shape[1]]
    for i in range(arguments["layers"]):
        block = {**layer, "batch_first": True, "norm_first": True}
        x = _encoder_layer(x, block, lambda name, i=i: weights(f"blocks.{i}.{name}"), causal=True)
    last = _scaled(normalize(x[:, -1], 1e-5), lambda name: weights(f"norm.{name}"))
    return last.contract(table)


def _flatten(x: Ball, arguments: Spec, _: Lookup) -> Ball:
    start, end = arguments["start_dim"] % x.value.ndim, arguments["end_dim"] % x.value.ndim
    return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])


def _batch_norm(x: Ball, arguments: Spec, weights: Lookup) -> Ball:
    mean, variance = weights("running_mean"), weights("running_var")
    if mean is None or variance is None:
        raise NoRule("no proof rule for batch normalization without running statistics")
    shape = (1, -1) + (1,) * (x.value.ndim - 2)
    eps = Ball(np.array([arb(arguments["eps"])], dtype=object))
    inverse = (variance + eps).map(lambda v: 1 / v.sqrt(), lambda v: -1 / (2 * v * v.sqrt()), error=4.0)
    # Implementations fold scale and shift differently: bound both orders by a few more roundings.
    y = (x - mean.reshape(*shape)) * inverse.reshape(*shape)
    weight, bias = weights("weight"), weights("bias")
    y = y if weight is None else y * weight.reshape(*shape)
    y = y if bias is None else y + bias.reshape(*shape)
    if x.rounding is not None:
        parts = [a.value for a in (x, mean.reshape(*shape), inverse.reshape(*shape)) if a is not None]
        reach = max(float(v.abs_upper()) for part in parts for v in part.flat)
        y = Ball(y.value + arb(0, 16 * x.rounding.unit * (1 + reach) ** 3), None, x.rounding)
    return y


def _embedding(x: Ball, _: Spec, weights: Lookup) -> Ball:
    table = weights("weight")
    assert table is not None
    index = np.array([int(v.unique_fmpz()) for v in x.value.flat], dtype=np.int64).reshape(x.shape)
    return table[index]


def _average(x: Ball, arguments: Spec, _: Lookup) -> Ball:
    if arguments["output_size"] not in (1, [1, 1]):
        raise NoRule("no proof rule for adaptive pooling to more than one cell")
    flat = x.reshape(*x.shape[:2], -1)
    return flat.mean(-1).reshape(*x.shape[:2], *(1,) * (x.value.ndim - 2))


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, str):
        raise NoRule(f"no proof rule for padding={value!r}")
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _single(value: Any) -> int:
    return _pair(value if isinstance(value, int | str) else [value[0], value[0]])[0]


def _hull(low: arb, high: arb) -> arb:
    return low.union(high)


SEQUENCES = ("RNN", "GRU", "LSTM")  # modules that give a tuple, whose first element is what a rule gives

RULES: dict[str, Callable[[Ball, Spec, Lookup], Ball]] = {
    "Linear": _linear,
    "Tanh": lambda x, _, __: _tanh(x),
    "ReLU": lambda x, _, __: _relu(x),
    "Sigmoid": lambda x, _, __: _logistic(x),
    "SiLU": lambda x, _, __: _silu(x),
    "GELU": lambda x, arguments, __: _gelu(x, arguments),
    "Softmax": lambda x, arguments, __: _softmax(x, arguments["dim"]),
    "LayerNorm": _layer_norm,
    "neuralquine.InstanceNorm": lambda x, arguments, __: normalize(x, arguments["eps"]),
    "BatchNorm1d": _batch_norm,
    "BatchNorm2d": _batch_norm,
    "Conv1d": _conv1d,
    "Conv2d": _conv2d,
    "RNN": _recurrent(_rnn_cell),
    "GRU": _recurrent(_gru_cell),
    "LSTM": _recurrent(_lstm_cell),
    "RNNCell": _one_step(_rnn_cell),
    "GRUCell": _one_step(_gru_cell),
    "LSTMCell": _one_step(_lstm_cell),
    "TransformerEncoderLayer": _encoder_layer,
    "neuralquine.CausalTransformer": _causal_transformer,
    "Embedding": _embedding,
    "AdaptiveAvgPool1d": _average,
    "AdaptiveAvgPool2d": _average,
    "Flatten": _flatten,
    "Identity": lambda x, _, __: x,
    "Dropout": lambda x, _, __: x,
}
