"""Linear layers, embeddings, and modules that leave the numbers as they are."""

from __future__ import annotations

import numpy as np

from .common import A, NoRule, Spec, Weights, affine, held, rule, weight_and_bias


@rule("Linear", tensors=lambda a: weight_and_bias((a["out_features"], a["in_features"]), bias=a["bias"]))
def linear(x: A, _: Spec, weights: Weights[A]) -> A:
    return affine(x, weights).to_grid()


@rule("Embedding", tensors=lambda a: {"weight": (a["num_embeddings"], a["embedding_dim"])}, takes_indices=True)
def embedding(x: A, _: Spec, weights: Weights[A]) -> A:
    return held(weights, "weight").lookup(x)


@rule("Identity", "Dropout", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")
def identity(x: A, _: Spec, __: Weights[A]) -> A:
    return x


@rule("Dropout1d")
def same_channels(x: A, _: Spec, __: Weights[A]) -> A:
    if len(x.shape) not in (2, 3):
        raise NoRule(f"no proof rule for Dropout1d of a tensor of shape {x.shape}")
    return x


@rule("Flatten")
def flatten(x: A, arguments: Spec, _: Weights[A]) -> A:
    axes, start, end = len(x.shape), arguments["start_dim"], arguments["end_dim"]
    if not (-axes <= start < axes and -axes <= end < axes and start % axes <= end % axes):
        raise NoRule(f"no proof rule for Flatten of the axes {start} to {end} of {axes}")
    return x.reshape(*x.shape[: start % axes], -1, *x.shape[end % axes + 1 :])


@rule("Unflatten")
def unflatten(x: A, arguments: Spec, _: Weights[A]) -> A:
    axes, axis, sizes = len(x.shape), arguments["dim"], arguments["unflattened_size"]
    if not -axes <= axis < axes or any(not isinstance(size, int) for size in sizes):
        raise NoRule(f"no proof rule for Unflatten of axis {axis} of {axes} to {sizes}")
    if -1 in sizes or np.prod(sizes) != x.shape[axis % axes]:
        raise NoRule(f"no proof rule for Unflatten of {x.shape[axis % axes]} numbers to {sizes}")
    return x.reshape(*x.shape[: axis % axes], *sizes, *x.shape[axis % axes + 1 :])
