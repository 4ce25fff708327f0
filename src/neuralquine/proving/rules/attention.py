"""Transformers: a layer of an encoder, and the small causal one of ``quines/networks/causal.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .activations import gelu, silu
from .common import A, NoRule, Shapes, Spec, Weights, affine, below, held, rule, scaled, weight_and_bias

_CONTEXT = 16  # positions of the causal transformer


def attend(x: A, heads: int, weights: Weights[A], *, causal: bool, parts: bool) -> A:
    """Self-attention of sequences ``(B, T, E)``, as in ``nn.MultiheadAttention``; causal: each sees what came before.

    Where queries, keys and values are layers of their own, as their *parts*, these are rounded to the grid of activations.
    """
    batch, length, width = x.shape
    if width % heads:
        raise NoRule(f"no proof rule for {heads} heads of a width of {width}")
    joint = affine(x, weights, ("in_proj_weight", "in_proj_bias"))
    joint = joint.to_grid() if parts else joint
    thirds = [joint.cut(-1, k * width, (k + 1) * width) for k in range(3)]
    q, k, v = (part.reshape(batch, length, heads, width // heads).move(0, 2, 1, 3) for part in thirds)
    seen = np.tri(length, dtype=bool) if causal else None
    attention = (q @ k.mT).divide_by_root(width // heads).softmax(seen)
    mixed = (attention @ v).move(0, 2, 1, 3).reshape(batch, length, width)
    return affine(mixed, below(weights, "out_proj"))


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": lambda x: x.relu(),
    "gelu": lambda x: gelu(x, {"approximate": "none"}, lambda _: None),
    "gelu_tanh": lambda x: gelu(x, {"approximate": "tanh"}, lambda _: None),
    "silu": lambda x: silu(x, {}, lambda _: None),
}
_OF_TORCH = ("relu", "gelu")  # those of its encoder layer; the others are of models of transformers


def encode(x: A, arguments: Spec, weights: Weights[A], *, causal: bool = False, parts: bool = False) -> A:
    """A layer of an encoder of sequences ``(B, T, E)``."""
    activation = ACTIVATIONS.get(arguments["activation"])
    if activation is None:
        raise NoRule(f"no proof rule for a TransformerEncoderLayer with activation={arguments['activation']!r}")

    def norm(y: A, name: str) -> A:
        return scaled(y.normalize(arguments["layer_norm_eps"]), below(weights, name)).to_grid()

    def mix(y: A) -> A:
        return attend(y, arguments["nhead"], below(weights, "self_attn"), causal=causal, parts=parts).to_grid()

    def feed(y: A) -> A:
        inner = affine(y, below(weights, "linear1")).to_grid()
        return affine(activation(inner), below(weights, "linear2")).to_grid()

    if arguments["norm_first"]:
        x = x + mix(norm(x, "norm1"))
        return x + feed(norm(x, "norm2"))
    x = norm(x + mix(x), "norm1")
    return norm(x + feed(x), "norm2")


def _layer(width: int, inner: int, *, bias: bool) -> Shapes:
    def part(name: str, *shape: int) -> Shapes:
        return weight_and_bias(shape, bias=bias, names=(f"{name}weight", f"{name}bias"))

    attention = part("self_attn.in_proj_", 3 * width, width) | part("self_attn.out_proj.", width, width)
    feed = part("linear1.", inner, width) | part("linear2.", width, inner)
    return attention | feed | part("norm1.", width) | part("norm2.", width)


def _transformer(arguments: Spec) -> Shapes:
    width = arguments["width"]
    layer = _layer(width, 4 * width, bias=True)
    blocks = {f"blocks.{i}.{k}": shape for i in range(arguments["layers"]) for k, shape in layer.items()}
    ends = {"tokens.weight": (arguments["vocabulary"], width), "positions.weight": (_CONTEXT, width)}
    return ends | blocks | weight_and_bias((width,), bias=True, names=("norm.weight", "norm.bias"))


@rule("TransformerEncoderLayer", tensors=lambda a: _layer(a["d_model"], a["dim_feedforward"], bias=a["bias"]))
def encoder_layer(x: A, arguments: Spec, weights: Weights[A]) -> A:
    if not arguments["batch_first"] or arguments["activation"] not in _OF_TORCH:
        raise NoRule("no proof rule for a TransformerEncoderLayer that is not batch_first, or of another activation")
    if len(x.shape) not in (2, 3):
        raise NoRule(f"no proof rule for a TransformerEncoderLayer of a tensor of shape {x.shape}")
    if len(x.shape) == 2:
        return encode(x.reshape(1, *x.shape), arguments, weights).reshape(*x.shape)
    return encode(x, arguments, weights)


@rule("neuralquine.CausalTransformer", tensors=_transformer, takes_indices=True)
def causal_transformer(x: A, arguments: Spec, weights: Weights[A]) -> A:
    if len(x.shape) != 2:
        raise NoRule(f"no proof rule for a CausalTransformer of a tensor of shape {x.shape}")
    (batch, length), width = x.shape, arguments["width"]
    table = held(weights, "tokens.weight")
    block = {"nhead": arguments["heads"], "layer_norm_eps": 1e-5, "activation": "gelu", "norm_first": True}
    x = table.lookup(x) + held(weights, "positions.weight").cut(0, 0, length)
    for i in range(arguments["layers"]):
        x = encode(x, block, below(weights, f"blocks.{i}"), causal=True)
    last = x.cut(1, length - 1, length).reshape(batch, width)
    return scaled(last.normalize(1e-5), below(weights, "norm")).to_grid().affine(table).to_grid()
