"""Convolutional networks and a vision transformer. Batch normalization keeps its frozen statistics."""

from __future__ import annotations

import torch
from torch import nn

from .problem import Problem, drawn, numbers, settings, transformers_module


def cnn(
    seed: int = 0, skip: float = 0.0, code_size: int = 20, code_bits: int = 0, dtype: torch.dtype = torch.float64
) -> Problem:
    """A convolutional network for 8 x 8 images, as scikit-learn's digits (P = 25,320); skip=0.1 anchors it."""
    with drawn(seed):
        trunk = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(512, 40),
        )
    return Problem(
        trunk,
        numbers(seed, 1, 1, 8, 8),
        settings(code_size=code_size, code_bits=code_bits, skip=skip, dtype=dtype),
    )


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
