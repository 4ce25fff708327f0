"""Models of ``transformers`` as plain data: their class on the list below, and the fields of their configuration.

Only fields that an evaluation depends on are written. A configuration with another field that is not at its default, or with
attention by a kernel from elsewhere, is not described: then the file keeps the weights alone, as of any other module.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from torch import nn

from ...errors import QuineFileError, first_line

_ATTENTION = "attn_implementation"
_WAYS = ("eager", "sdpa")  # of attention, both in operations of torch
_ROPE = ("rope_type", "rope_theta")
# Fields that change no evaluation: of training, of generation, of what comes out beside the numbers, of names.
_IDLE = {
    *(
        "architectures",
        "dtype",
        "torch_dtype",
        "transformers_version",
        "_name_or_path",
        "model_type",
        "initializer_range",
    ),
    *(
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "use_cache",
        "id2label",
        "label2id",
        "problem_type",
        "pretraining_tp",
    ),
    *(
        "attention_dropout",
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "classifier_dropout",
        "encoder_stride",
    ),
    *("resid_pdrop", "embd_pdrop", "attn_pdrop", "summary_type", "summary_use_proj", "summary_activation"),
    *("summary_proj_to_labels", "summary_first_dropout", "pooler_output_size", "pooler_act"),
    *("stage_names", "out_features", "out_indices", "_out_features", "_out_indices"),
}


@dataclass(frozen=True)
class _Family:
    """A class of models: where it is, the class of its configuration, and the fields that are written of it."""

    home: str
    config: str
    fields: tuple[str, ...]
    options: tuple[str, ...] = ()  # of the constructor


_SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act")
_FAMILIES = {
    "transformers.GPT2LMHeadModel": _Family(
        "transformers.models.gpt2.modeling_gpt2",
        "GPT2Config",
        (
            *("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "activation_function"),
            *("layer_norm_epsilon", "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn"),
            *("add_cross_attention", "tie_word_embeddings"),
        ),
    ),
    "transformers.LlamaForCausalLM": _Family(
        "transformers.models.llama.modeling_llama",
        "LlamaConfig",
        (
            *("vocab_size", *_SIZES, "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps"),
            *("attention_bias", "mlp_bias", "tie_word_embeddings", *_ROPE),
        ),
    ),
    "transformers.BertModel": _Family(
        "transformers.models.bert.modeling_bert",
        "BertConfig",
        (
            *("vocab_size", *_SIZES, "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "is_decoder"),
            *("add_cross_attention", "chunk_size_feed_forward"),
        ),
        ("add_pooling_layer",),
    ),
    "transformers.ViTForImageClassification": _Family(
        "transformers.models.vit.modeling_vit",
        "ViTConfig",
        (*_SIZES, "layer_norm_eps", "image_size", "patch_size", "num_channels", "qkv_bias", "num_labels"),
    ),
    "transformers.ResNetForImageClassification": _Family(
        "transformers.models.resnet.modeling_resnet",
        "ResNetConfig",
        (
            *("num_channels", "embedding_size", "hidden_sizes", "depths", "layer_type", "hidden_act", "num_labels"),
            *("downsample_in_first_stage", "downsample_in_bottleneck"),
        ),
    ),
}
_PLACES = {f"{family.home}.{name.rpartition('.')[2]}": name for name, family in _FAMILIES.items()}


def is_model(spec: Any) -> bool:
    """Whether a description is that of a model here."""
    return isinstance(spec, dict) and isinstance(spec.get("type"), str) and spec["type"] in _FAMILIES


def described_model(module: nn.Module) -> dict[str, Any] | None:
    """A model as JSON-ready data; None where its class is not on the list, or its configuration says more than is written."""
    kind = _PLACES.get(f"{type(module).__module__}.{type(module).__qualname__}")
    if kind is None:
        return None
    family, config = _FAMILIES[kind], module.config
    assert not isinstance(config, nn.Module)
    said, usual = dict(config.to_dict()), type(config)().to_dict()  # type: ignore[operator]
    rope = said.pop("rope_parameters", None) or {}
    attention = getattr(config, "_attn_implementation", None)
    known = {*family.fields, *_IDLE}
    if any(value != usual.get(field) for field, value in said.items() if field not in known):
        return None
    if set(rope) - {*_ROPE} or attention not in _WAYS:
        return None
    found = {field: rope.get(field) if field in _ROPE else getattr(config, field, None) for field in family.fields}
    found = {field: list(value) if isinstance(value, tuple) else value for field, value in found.items()}
    found |= {option: getattr(module, "pooler", None) is not None for option in family.options}
    found[_ATTENTION] = attention
    return {"type": kind, "arguments": found} if all(map(_plain, found.values())) else None


def built_model(spec: dict[str, Any]) -> nn.Module:
    """The model of a description; the advice is that of ``description.build``.

    Raises:
        QuineFileError: the description is malformed, or transformers is missing or builds no such model.
    """
    kind, arguments = spec["type"], spec.get("arguments")
    family, name = _FAMILIES[kind], kind.rpartition(".")[2]
    wanted = {*family.fields, *family.options, _ATTENTION}
    if set(spec) != {"type", "arguments"} or not isinstance(arguments, dict) or set(arguments) != wanted:
        raise QuineFileError(f"the trunk's description of a {name} is malformed")
    if not all(map(_plain, arguments.values())) or arguments[_ATTENTION] not in _WAYS:
        raise QuineFileError(f"the trunk's description of a {name} is malformed")
    given = {field: arguments[field] for field in (*family.fields, _ATTENTION) if field not in _ROPE}
    if _ROPE[0] in arguments:
        given["rope_parameters"] = {field: arguments[field] for field in _ROPE}
    try:
        transformers = importlib.import_module("transformers")
        home = importlib.import_module(family.home)
        config = getattr(transformers, family.config)(use_cache=False, **given)
        return getattr(home, name)(config, **{option: arguments[option] for option in family.options})
    except ImportError as error:
        raise QuineFileError(f"a {name} needs transformers: pip install 'neuralquine[models]'") from error
    except QuineFileError:
        raise
    except Exception as error:  # whatever the library says of absurd fields
        raise QuineFileError(f"the trunk's description of a {name} does not build: {first_line(error)}") from error


def _plain(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= 64 and all(type(v) is int and 0 <= v < 2**40 for v in value)
    small = isinstance(value, str) and len(value) <= 64
    return value is None or small or isinstance(value, bool | float) or (type(value) is int and abs(value) < 2**40)
