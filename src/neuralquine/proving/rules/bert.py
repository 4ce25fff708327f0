"""BERT and ViT as ``transformers`` has them: encoders whose queries, keys and values have weights of their own.

The blocks of BERT normalize what they have added up, those of ViT what they are given.
"""

from __future__ import annotations

from math import prod
from typing import Any

from .attention import encode
from .common import A, NoRule, Shapes, Spec, Weights, affine, below, held, rule, scaled
from .convolution import conv_2d
from .models import ACTIVATIONS, LOGITS, MODELS, Model, epsilon, understand

BERT, VIT = "transformers.BertModel", "transformers.ViTForImageClassification"
_PARTS = {  # of torch's encoder layer; of three parts, the queries, keys and values that are one there
    BERT: {
        "self_attn.in_proj": tuple(f"attention.self.{name}" for name in ("query", "key", "value")),
        "self_attn.out_proj": ("attention.output.dense",),
        "norm1": ("attention.output.LayerNorm",),
        "linear1": ("intermediate.dense",),
        "linear2": ("output.dense",),
        "norm2": ("output.LayerNorm",),
    },
    VIT: {
        "self_attn.in_proj": tuple(f"attention.{name}_proj" for name in "qkv"),
        "self_attn.out_proj": ("attention.o_proj",),
        "norm1": ("layernorm_before",),
        "norm2": ("layernorm_after",),
        "linear1": ("mlp.fc1",),
        "linear2": ("mlp.fc2",),
    },
}
_SIZES = {
    "hidden_size": "width",
    "intermediate_size": "inner",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
}
_ONLY: dict[str, tuple[Any, ...]] = {
    "hidden_act": tuple(ACTIVATIONS),
    "attn_implementation": ("eager", "sdpa"),
}


def _understood_bert(kind: str, given: Spec) -> Spec:
    own = {field: value for field, value in given.items() if field != "layer_norm_eps"}
    sizes = {"vocab_size": "vocabulary", "max_position_embeddings": "positions", "type_vocab_size": "types"}
    only = {"is_decoder": (False,), "add_cross_attention": (False,), "add_pooling_layer": (True, False)}
    found = understand(kind, own, _SIZES | sizes, _ONLY | only | {"chunk_size_feed_forward": (0,)})
    pooled = given["add_pooling_layer"]
    return found | {"pooled": pooled, "eps": epsilon(kind, given, "layer_norm_eps"), "act": given["hidden_act"]}


def _understood_vit(kind: str, given: Spec) -> Spec:
    own = {field: value for field, value in given.items() if field != "layer_norm_eps"}
    sizes = {"image_size": "image", "patch_size": "patch", "num_channels": "channels", "num_labels": "labels"}
    found = understand(kind, own, _SIZES | sizes, _ONLY | {"qkv_bias": (True, False)})
    found |= {
        "bias": given["qkv_bias"],
        "narrow": given["attn_implementation"] == "eager",
    }  # whose softmax is in float32
    return found | {"eps": epsilon(kind, given, "layer_norm_eps"), "act": given["hidden_act"]}


_HIDDEN = {None: "numbers", 0: "numbers", "last_hidden_state": "numbers", 1: "pooled", "pooler_output": "pooled"}
MODELS[BERT] = Model(_understood_bert, "input_ids", _HIDDEN)
MODELS[VIT] = Model(_understood_vit, "pixel_values", LOGITS)


def _pair(place: str, *shape: int, bias: bool = True) -> Shapes:
    return {f"{place}.weight": shape} | ({f"{place}.bias": shape[:1]} if bias else {})


def _block(kind: str, place: str, a: Spec) -> Shapes:
    """The tensors of a block, in the model's order, which is that of its parts above."""
    width, inner, shapes = a["width"], a["inner"], {}
    sizes = {"linear1": (inner, width), "linear2": (width, inner), "norm1": (width,), "norm2": (width,)}
    for part, names in _PARTS[kind].items():
        for name in names:
            bias = part != "self_attn.in_proj" or a.get("bias", True)
            shapes |= _pair(f"{place}.{name}", *sizes.get(part, (width, width)), bias=bias)
    return shapes


def _bert(a: Spec) -> Shapes:
    width, rows = a["width"], {"word": "vocabulary", "position": "positions", "token_type": "types"}
    shapes: Shapes = {f"embeddings.{name}_embeddings.weight": (a[size], width) for name, size in rows.items()}
    shapes |= _pair("embeddings.LayerNorm", width)
    for i in range(a["layers"]):
        shapes |= _block(BERT, f"encoder.layer.{i}", a)
    return shapes | (_pair("pooler.dense", width, width) if a["pooled"] else {})


def _vit(a: Spec) -> Shapes:
    width, places = a["width"], (a["image"] // a["patch"]) ** 2
    shapes: Shapes = {"cls_token": (1, 1, width), "position_embeddings": (1, places + 1, width)}
    shapes |= _pair("patch_embeddings.projection", width, a["channels"], a["patch"], a["patch"])
    shapes = {f"vit.embeddings.{name}": shape for name, shape in shapes.items()}
    for i in range(a["layers"]):
        shapes |= _block(VIT, f"vit.layers.{i}", a)
    return shapes | _pair("vit.layernorm", width) | _pair("classifier", a["labels"], width)


def _layer(x: A, a: Spec, kind: str, weights: Weights[A]) -> A:
    block = {"nhead": a["heads"], "layer_norm_eps": a["eps"], "activation": ACTIVATIONS[a["act"]]}
    return encode(x, block | {"norm_first": kind == VIT}, _renamed(kind, weights), parts=True)


def _renamed(kind: str, weights: Weights[Any]) -> Weights[Any]:
    """The weights of a block under the names that torch's encoder layer has."""

    def find(name: str) -> Any:
        part, _, end = name.rpartition(".")
        if part == "self_attn":  # in_proj_weight, in_proj_bias
            part, end = f"self_attn.{end.rpartition('_')[0]}", end.rpartition("_")[2]
        found = [weights(f"{own}.{end}") for own in _PARTS[kind][part]]
        return found[0] if len(found) == 1 or found[0] is None else found[0].concat(found, 0)

    return find


@rule(BERT, tensors=_bert, takes_indices=True)
def bert(x: A, arguments: Spec, weights: Weights[A]) -> A:
    """Token ids ``(B, T)`` to the numbers of all tokens, or to the pooled ones of the first."""
    if len(x.shape) != 2 or x.shape[1] > arguments["positions"]:
        raise NoRule(f"no proof rule for a BertModel of a tensor of shape {x.shape}")
    if arguments["read"] == "pooled" and not arguments["pooled"]:
        raise NoRule("no proof rule for a BertModel that is asked for what it does not pool")
    batch, length = x.shape
    tables = below(weights, "embeddings")
    word, place, kind = (held(tables, f"{n}_embeddings.weight") for n in ("word", "position", "token_type"))
    y = word.lookup(x) + kind.cut(0, 0, 1) + place.cut(0, 0, length)
    y = scaled(y.normalize(arguments["eps"]), below(tables, "LayerNorm")).to_grid()
    for i in range(arguments["layers"]):
        y = _layer(y, arguments, BERT, below(weights, f"encoder.layer.{i}"))
    if arguments["read"] != "pooled":
        return y
    first = y.cut(1, 0, 1).reshape(batch, arguments["width"])
    return affine(first, below(weights, "pooler.dense")).to_grid().tanh()


@rule(VIT, tensors=_vit)
def vit(x: A, arguments: Spec, weights: Weights[A]) -> A:
    """Images ``(B, channels, size, size)`` to logits ``(B, labels)``, read of a token that stands before the patches."""
    size, patch, width = arguments["image"], arguments["patch"], arguments["width"]
    if len(x.shape) != 4 or x.shape[1:] != (arguments["channels"], size, size):
        raise NoRule(f"no proof rule for a ViTForImageClassification of a tensor of shape {x.shape}")
    inside = below(weights, "vit.embeddings")
    cut = {"groups": 1, "padding_mode": "zeros", "dilation": 1, "padding": 0, "kernel_size": patch, "stride": patch}
    y = conv_2d(x, cut, below(inside, "patch_embeddings.projection"))
    y = y.reshape(x.shape[0], width, prod(y.shape[2:])).move(0, 2, 1)
    first = held(inside, "cls_token")
    y = y.concat([y.concat([first] * x.shape[0], 0), y], 1) + held(inside, "position_embeddings")
    for i in range(arguments["layers"]):
        y = _layer(y, arguments, VIT, below(weights, f"vit.layers.{i}"))
    last = y.cut(1, 0, 1).reshape(x.shape[0], width)
    last = scaled(last.normalize(arguments["eps"]), below(weights, "vit.layernorm")).to_grid()
    return affine(last, below(weights, "classifier")).to_grid()
