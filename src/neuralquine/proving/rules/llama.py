"""Llama as ``transformers`` has it: root mean squares, rotary positions, grouped queries, gates, no biases but where asked.

It computes its normalization, its positions and its softmax in float32, whatever the type of its weights.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import lru_cache
from math import log, prod
from typing import Any

import numpy as np

from ..clock import sine_and_cosine
from ..reals import Reals
from .attention import ACTIVATIONS
from .common import A, NoRule, Shapes, Spec, Weights, affine, below, held, rule
from .models import ACTIVATIONS as NAMES
from .models import LOGITS, MODELS, Model, epsilon, understand
from .normalized import root_mean_square

LLAMA = "transformers.LlamaForCausalLM"
_LONGEST = 1 << 16  # sines of rotary positions, each of which takes some 100 microseconds
_SIZES = {
    "vocab_size": "vocabulary",
    "hidden_size": "width",
    "intermediate_size": "inner",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "num_key_value_heads": "groups",
    "head_dim": "size",
    "max_position_embeddings": "positions",
}
_ONLY: dict[str, tuple[Any, ...]] = {
    "hidden_act": tuple(NAMES),
    "attention_bias": (False, True),
    "mlp_bias": (False, True),
    "tie_word_embeddings": (False, True),
    "rope_type": ("default",),
    "attn_implementation": ("eager", "sdpa"),
}


def _understood(kind: str, given: Spec) -> Spec:
    own = {field: value for field, value in given.items() if field not in ("rms_norm_eps", "rope_theta")}
    sizes = understand(kind, own, _SIZES, _ONLY)
    theta = given.get("rope_theta")
    if not isinstance(theta, float | int) or isinstance(theta, bool) or not 1 < theta < 1e12:
        raise NoRule(f"no proof rule for a LlamaForCausalLM with rope_theta={str(theta)[:40]}")
    if sizes["heads"] % sizes["groups"] or sizes["size"] % 2:
        raise NoRule("no proof rule for a LlamaForCausalLM with heads that do not fit each other")
    return sizes | {
        "eps": epsilon(kind, given, "rms_norm_eps"),
        "theta": float(theta),
        "activation": NAMES[given["hidden_act"]],
        "attention_bias": given["attention_bias"],
        "feed_bias": given["mlp_bias"],
        "tied": given["tie_word_embeddings"],
        "narrow": True,
    }


MODELS[LLAMA] = Model(_understood, "input_ids", LOGITS, keeps=True)


def _tensors(a: Spec) -> Shapes:
    width, inner, q, kv = a["width"], a["inner"], a["heads"] * a["size"], a["groups"] * a["size"]
    linear = {
        "self_attn.q_proj": (q, width),
        "self_attn.k_proj": (kv, width),
        "self_attn.v_proj": (kv, width),
        "self_attn.o_proj": (width, q),
        "mlp.gate_proj": (inner, width),
        "mlp.up_proj": (inner, width),
        "mlp.down_proj": (width, inner),
    }
    shapes: Shapes = {"model.embed_tokens.weight": (a["vocabulary"], width)}
    for i in range(a["layers"]):
        place = f"model.layers.{i}"
        for name, shape in linear.items():
            shapes[f"{place}.{name}.weight"] = shape
            if a["attention_bias" if name.startswith("self_attn") else "feed_bias"]:
                shapes[f"{place}.{name}.bias"] = shape[:1]
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{place}.{name}.weight"] = (width,)
    shapes["model.norm.weight"] = (width,)
    return shapes if a["tied"] else shapes | {"lm_head.weight": (a["vocabulary"], width)}


@lru_cache(maxsize=4)
def rotations(length: int, size: int, theta: float) -> tuple[Reals, Reals]:
    """Cosines and sines of ``t theta^(-2 i / size)``, ``(length, size)``: each angle twice, for the two halves of a head.

    A machine's power of theta is off by ``ln theta`` units from its exponent and 8 from its library, and a quotient, a product and
    the rounding of theta itself make up less than 6; then the cosine by another function of up to 8 units.
    """

    def exact(sine: bool) -> Any:
        from flint import arb

        powers = [arb(theta) ** (-arb(2 * i) / size) for i in range(size // 2)]
        rows = [[(t * p).sin() if sine else (t * p).cos() for p in powers] for t in range(length)]
        return np.array([row + row for row in rows], dtype=object)

    with localcontext() as context:
        context.prec = 50
        powers = [Decimal(theta) ** (-Decimal(2 * i) / size) for i in range(size // 2)]
        pairs = [[sine_and_cosine(t * p) for p in powers] for t in range(length)]
        angles = np.array([[float(t * p) for p in powers] for t in range(length)])
    within = (log(theta) + 14) * np.concatenate([angles, angles], 1) * (1 + 2.0**-30) + 8
    sines, cosines = (np.array([[float(pair[k]) for pair in row] * 2 for row in pairs]) for k in (0, 1))
    return Reals(lambda: exact(False), cosines, within), Reals(lambda: exact(True), sines, within)


def rotated(x: A, cosine: A, sine: A) -> A:
    """Heads ``(B, T, h, size)``, whose halves are the two coordinates of points in ``size / 2`` planes, turned by angles."""
    half = x.shape[-1] // 2
    turned = x.concat([-x.cut(-1, half, 2 * half), x.cut(-1, 0, half)], -1)
    return x * cosine + turned * sine


@rule(LLAMA, tensors=_tensors, takes_indices=True)
def llama(x: A, arguments: Spec, weights: Weights[A]) -> A:
    """Token ids ``(B, T)`` to the logits of all tokens, or of the last one."""
    if len(x.shape) != 2 or x.shape[1] > arguments["positions"] or prod(x.shape) * arguments["size"] > _LONGEST:
        raise NoRule(f"no proof rule for a LlamaForCausalLM of a tensor of shape {x.shape}")
    (batch, length), eps, inside = x.shape, arguments["eps"], below(weights, "model")
    table = held(inside, "embed_tokens.weight")
    turns = [
        table.constant(part).reshape(1, length, 1, arguments["size"])
        for part in rotations(length, arguments["size"], arguments["theta"])
    ]
    activation = ACTIVATIONS[arguments["activation"]]
    x = table.lookup(x)
    for i in range(arguments["layers"]):
        block = below(inside, f"layers.{i}")
        x = x + _attention(_norm(x, block, "input_layernorm", eps), arguments, below(block, "self_attn"), turns)
        y = _norm(x, block, "post_attention_layernorm", eps)
        gate, up = (affine(y, below(block, f"mlp.{name}_proj")).to_grid() for name in ("gate", "up"))
        x = x + affine(activation(gate) * up, below(block, "mlp.down_proj")).to_grid()
    if arguments["read"] == "last":
        x = x.cut(1, length - 1, length).reshape(batch, arguments["width"])
    head = table if arguments["tied"] else held(weights, "lm_head.weight")
    return _norm(x, inside, "norm", eps).affine(head).to_grid()


def _norm(x: A, weights: Weights[A], name: str, eps: float) -> A:
    return root_mean_square(x, eps) * held(weights, f"{name}.weight")


def _attention(x: A, arguments: Spec, weights: Weights[A], turns: list[A]) -> A:
    """Each group of heads shares a key and a value."""
    (batch, length, _), heads, groups, size = x.shape, arguments["heads"], arguments["groups"], arguments["size"]
    q, k, v = (affine(x, below(weights, f"{name}_proj")).to_grid() for name in "qkv")
    q = rotated(q.reshape(batch, length, heads, size), *turns)
    k = rotated(k.reshape(batch, length, groups, size), *turns)
    v = v.reshape(batch, length, groups, size)
    if groups != heads:
        k, v = (
            part.concat([part.cut(2, g, g + 1) for g in range(groups) for _ in range(heads // groups)], 2)
            for part in (k, v)
        )
    return affine(_mixed(q, k, v), below(weights, "o_proj")).to_grid()


def _mixed(q: A, k: A, v: A) -> A:
    """Causal attention of queries, keys and values ``(B, T, heads, size)``: ``(B, T, heads size)``."""
    batch, length, heads, size = q.shape
    q, k, v = (part.move(0, 2, 1, 3) for part in (q, k, v))
    attention = (q @ k.mT).divide_by_root(size).softmax(np.tri(length, dtype=bool))
    return (attention @ v).move(0, 2, 1, 3).reshape(batch, length, heads * size)
