"""A residual network and a vision transformer of the sizes people use. Batch normalization keeps its frozen statistics."""

from __future__ import annotations

import torch
from torch import nn

from .problem import Problem, drawn, numbers, settings, transformers_module
from .registry import recipe


@recipe("resnet18")
def resnet18(
    seed: int = 0, skip: float = 0.01, code_size: int = 64, code_bits: int = 8, dtype: torch.dtype = torch.float32
) -> Problem:
    """ResNet-18 on one 224 x 224 image (P = 11,689,512), logits read; skip=0 frees it (extra `models`)."""
    transformers = transformers_module()
    config = transformers.ResNetConfig(
        embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic", num_labels=1000
    )
    with drawn(seed):
        trunk = transformers.ResNetForImageClassification(config)
    return _image_model(trunk, seed, settings(code_size=code_size, code_bits=code_bits, skip=skip, dtype=dtype))


@recipe("vit-b16")
def vit_b16(
    seed: int = 0, skip: float = 0.02, code_size: int = 64, code_bits: int = 8, dtype: torch.dtype = torch.float32
) -> Problem:
    """ViT-B/16 on one 224 x 224 image (P = 86,567,656), logits read; skip=0 frees it (extra `models`)."""
    transformers = transformers_module()
    config = transformers.ViTConfig(num_labels=1000, attn_implementation="eager")
    with drawn(seed):
        trunk = transformers.ViTForImageClassification(config)
    return _image_model(trunk, seed, settings(code_size=code_size, code_bits=code_bits, skip=skip, dtype=dtype))


def _image_model(trunk: nn.Module, seed: int, options: dict[str, object]) -> Problem:
    probe = {"pixel_values": numbers(seed, 1, 3, 224, 224).float()}
    return Problem(trunk, probe, {**options, "select": "logits"})
