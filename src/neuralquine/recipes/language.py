"""Language models of the sizes people use, from their configurations; the logits of the last of 8 tokens are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .laws import without_drawing
from .problem import Problem, drawn, settings, tokens, transformers_module
from .registry import recipe

_PROMPT = 8


@recipe("gpt2")
def gpt2(
    seed: int = 0,
    skip: float = 0.02,
    code_size: int = 64,
    code_bits: int = 8,
    layers: int = 12,
    width: int = 768,
    dtype: torch.dtype = torch.float32,
) -> Problem:
    """GPT-2 small with its tied head (P = 124,439,808); skip=0 frees it (extra `models`)."""
    options = settings(code_size=code_size, code_bits=code_bits, skip=skip, dtype=dtype)
    return _gpt2(seed, layers, width, options)


@recipe("gpt2-xl")
def gpt2_xl(
    seed: int = 0,
    skip: float = 0.02,
    code_size: int = 64,
    code_bits: int = 8,
    layers: int = 48,
    width: int = 1600,
    dtype: torch.dtype = torch.float32,
) -> Problem:
    """GPT-2 XL with its tied head (P = 1,557,611,200; 6 GB of weights); skip=0 frees it (extra `models`)."""
    options = settings(code_size=code_size, code_bits=code_bits, skip=skip, dtype=dtype)
    return _gpt2(seed, layers, width, options)


def _gpt2(seed: int, layers: int, width: int, options: dict[str, Any]) -> Problem:
    transformers = transformers_module()
    config = transformers.GPT2Config(
        n_layer=layers, n_embd=width, n_head=max(1, width // 64), use_cache=False, attn_implementation="eager"
    )
    return _language_model(lambda: transformers.GPT2LMHeadModel(config), seed, config.vocab_size, options)


@recipe("llama-8b")
def llama_8b(
    seed: int = 0,
    skip: float = 0.02,
    code_size: int = 64,
    code_bits: int = 6,
    layers: int = 32,
    width: int = 4096,
    dtype: torch.dtype = torch.bfloat16,
) -> Problem:
    """Llama 3.1 8B (P = 8,030,261,248; 16 GB of weights in bfloat16); skip=0 frees it (extra `models`)."""
    transformers = transformers_module()
    config = transformers.LlamaConfig(
        vocab_size=128_256,
        hidden_size=width,
        intermediate_size=7 * width // 2,
        num_hidden_layers=layers,
        num_attention_heads=max(4, width // 128),
        num_key_value_heads=max(1, width // 512),
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        use_cache=False,
        attn_implementation="eager",
        dtype=dtype,
    )

    def make() -> Any:
        default = torch.get_default_dtype()
        torch.set_default_dtype(dtype)  # made in its own type: in float32 it would not fit
        try:
            return transformers.LlamaForCausalLM(config)
        finally:
            torch.set_default_dtype(default)

    options = settings(code_size=code_size, code_bits=code_bits, skip=skip, dtype=dtype)
    return _language_model(make, seed, config.vocab_size, options)


def _language_model(make: Callable[[], Any], seed: int, vocabulary: int, options: dict[str, Any]) -> Problem:
    last = torch.tensor([_PROMPT - 1])
    probe = {"input_ids": tokens(seed, _PROMPT, vocabulary), "logits_to_keep": last}
    found = None
    if (
        options["skip"] is not None
    ):  # it has one quine, wherever the search begins; that of a free one begins at its weights
        found = without_drawing(make)
    if found is not None:
        return Problem(found[0], probe, {**options, "select": "logits"}, moments=found[1])
    with drawn(seed):
        trunk = make()
    return Problem(trunk, probe, {**options, "select": "logits"})
