"""GPT-2 as ``transformers`` has it: pre-norm blocks with causal attention, GELU by a hyperbolic tangent, a tied head.

Its linear layers hold their weights transposed. The logits of the last token are read.
"""

from __future__ import annotations

from typing import Any

from .attention import encode
from .common import A, NoRule, Shapes, Spec, Weights, below, held, rule, scaled
from .models import ACTIVATIONS, LOGITS, MODELS, Model, epsilon, understand

GPT2 = "transformers.GPT2LMHeadModel"
_SIZES = {
    "vocab_size": "vocabulary",
    "n_positions": "positions",
    "n_embd": "width",
    "n_layer": "layers",
    "n_head": "heads",
}
_ONLY: dict[str, tuple[Any, ...]] = {
    "activation_function": tuple(ACTIVATIONS),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "reorder_and_upcast_attn": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
    "attn_implementation": ("eager", "sdpa"),
}
_NAMES = {  # of torch's encoder layer, and whether the weight is transposed here
    "norm1": ("ln_1", False),
    "norm2": ("ln_2", False),
    "self_attn.in_proj": ("attn.c_attn", True),
    "self_attn.out_proj": ("attn.c_proj", True),
    "linear1": ("mlp.c_fc", True),
    "linear2": ("mlp.c_proj", True),
}


def _understood(kind: str, given: Spec) -> Spec:
    own = {field: value for field, value in given.items() if field not in ("layer_norm_epsilon", "n_inner")}
    found = understand(kind, own, _SIZES, _ONLY)
    inner = given.get("n_inner")
    if inner is not None:
        understand(kind, {"n_inner": inner}, {"n_inner": "inner"}, {})
    return found | {
        "inner": 4 * found["width"] if inner is None else inner,
        "eps": epsilon(kind, given, "layer_norm_epsilon"),
        "activation": ACTIVATIONS[given["activation_function"]],
    }


MODELS[GPT2] = Model(_understood, "input_ids", LOGITS, keeps=True)


def _gpt2(arguments: Spec) -> Shapes:
    width, layers, wide = arguments["width"], arguments["layers"], arguments["inner"]
    inner = {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width)}
    outer = {"mlp.c_fc": (width, wide), "mlp.c_proj": (wide, width)}
    shapes: Shapes = {"wte.weight": (arguments["vocabulary"], width), "wpe.weight": (arguments["positions"], width)}
    for i in range(layers):
        for name, shape in [("ln_1", (width,)), *inner.items(), ("ln_2", (width,)), *outer.items()]:
            shapes |= {f"h.{i}.{name}.weight": shape, f"h.{i}.{name}.bias": shape[-1:]}
    shapes |= {"ln_f.weight": (width,), "ln_f.bias": (width,)}
    return {f"transformer.{name}": shape for name, shape in shapes.items()}


@rule(GPT2, tensors=_gpt2, takes_indices=True)
def gpt2(x: A, arguments: Spec, weights: Weights[A]) -> A:
    """Token ids ``(B, T)`` to the logits of all tokens, or of the last one."""
    if len(x.shape) != 2 or x.shape[1] > arguments["positions"]:
        raise NoRule(f"no proof rule for GPT-2 of a tensor of shape {x.shape}")
    (batch, length), width = x.shape, arguments["width"]
    inside = below(weights, "transformer")
    table = held(inside, "wte.weight")
    block = {"nhead": arguments["heads"], "layer_norm_eps": arguments["eps"], "activation": arguments["activation"]}
    block |= {"norm_first": True}
    x = table.lookup(x) + held(inside, "wpe.weight").cut(0, 0, length)
    for i in range(arguments["layers"]):
        x = encode(x, block, _renamed(below(inside, f"h.{i}")), causal=True, parts=True)
    if arguments["read"] == "last":
        x = x.cut(1, length - 1, length).reshape(batch, width)
    return scaled(x.normalize(arguments["eps"]), below(inside, "ln_f")).to_grid().affine(table).to_grid()


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
