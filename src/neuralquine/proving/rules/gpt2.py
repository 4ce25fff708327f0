"""GPT-2 as ``transformers`` has it: pre-norm blocks with causal attention, GELU by a hyperbolic tangent, a tied head.

Its linear layers hold their weights transposed. The logits of the last token are read.
"""

from __future__ import annotations

from typing import Any

from .attention import encode
from .common import A, NoRule, Shapes, Spec, Weights, below, held, rule, scaled

_EPS = 1e-5
_NAMES = {  # of torch's encoder layer, and whether the weight is transposed here
    "norm1": ("ln_1", False),
    "norm2": ("ln_2", False),
    "self_attn.in_proj": ("attn.c_attn", True),
    "self_attn.out_proj": ("attn.c_proj", True),
    "linear1": ("mlp.c_fc", True),
    "linear2": ("mlp.c_proj", True),
}


def _gpt2(arguments: Spec) -> Shapes:
    width, layers = arguments["width"], arguments["layers"]
    inner = {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width)}
    outer = {"mlp.c_fc": (width, 4 * width), "mlp.c_proj": (4 * width, width)}
    shapes: Shapes = {"wte.weight": (arguments["vocabulary"], width), "wpe.weight": (arguments["positions"], width)}
    for i in range(layers):
        for name, shape in [("ln_1", (width,)), *inner.items(), ("ln_2", (width,)), *outer.items()]:
            shapes |= {f"h.{i}.{name}.weight": shape, f"h.{i}.{name}.bias": shape[-1:]}
    shapes |= {"ln_f.weight": (width,), "ln_f.bias": (width,)}
    return {f"transformer.{name}": shape for name, shape in shapes.items()}


@rule("transformers.GPT2LMHeadModel", tensors=_gpt2, takes_indices=True)
def gpt2(x: A, arguments: Spec, weights: Weights[A]) -> A:
    """Token ids ``(1, T)`` to the logits of the last one, ``(1, vocabulary)``."""
    if len(x.shape) != 2 or x.shape[1] > arguments["positions"]:
        raise NoRule(f"no proof rule for GPT-2 of a tensor of shape {x.shape}")
    (batch, length), width = x.shape, arguments["width"]
    inside = below(weights, "transformer")
    table = held(inside, "wte.weight")
    block = {"nhead": arguments["heads"], "layer_norm_eps": _EPS, "activation": "gelu_tanh", "norm_first": True}
    x = table.lookup(x) + held(inside, "wpe.weight").cut(0, 0, length)
    for i in range(arguments["layers"]):
        x = encode(x, block, _renamed(below(inside, f"h.{i}")), causal=True)
    last = x.cut(1, length - 1, length).reshape(batch, width)
    return scaled(last.normalize(_EPS), below(inside, "ln_f")).affine(table)


def _renamed(weights: Weights[Any]) -> Weights[Any]:
    """The weights of a block under the names that torch's encoder layer has."""

    def find(name: str) -> Any:
        part, dot, end = name.rpartition(".")
        if part == "self_attn":  # in_proj_weight, in_proj_bias
            part, dot, end = f"self_attn.{end.rpartition('_')[0]}", ".", end.rpartition("_")[2]
        own, turned = _NAMES[part]
        tensor = weights(f"{own}{dot}{end}")
        return tensor.mT if turned and end == "weight" and tensor is not None else tensor

    return find
