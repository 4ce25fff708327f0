"""A small decoder-only transformer on token ids."""

from __future__ import annotations

import torch

from ..quines.networks.causal import CausalTransformer
from .problem import Problem, drawn, settings, tokens
from .registry import recipe


@recipe("transformer", small=True, place=60)
def transformer(
    seed: int = 0,
    skip: float = 0.0,
    code_size: int = 20,
    code_bits: int = 0,
    layers: int = 2,
    width: int = 64,
    dtype: torch.dtype = torch.float64,
) -> Problem:
    """A causal transformer on 8 token ids with a tied head (P = 117,504); skip=0.1 anchors it."""
    with drawn(seed):
        trunk = CausalTransformer(256, width, layers, 4)
    return Problem(
        trunk,
        tokens(seed, 8, 256),
        settings(code_size=code_size, code_bits=code_bits, skip=skip, dtype=dtype),
    )
