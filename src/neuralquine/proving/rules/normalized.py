"""Normalizations, without or with weights, over the last axis or by frozen statistics."""

from __future__ import annotations

from .common import A, NoRule, Shapes, Spec, Weights, rule, scaled, weight_and_bias


@rule("neuralquine.InstanceNorm")
def instance_norm(x: A, arguments: Spec, _: Weights[A]) -> A:
    return x.normalize(arguments["eps"]).to_grid()


def _layer(arguments: Spec) -> Shapes:
    if not arguments["elementwise_affine"]:
        return {}
    shape = tuple(arguments["normalized_shape"])
    return {"weight": shape} | ({"bias": shape} if arguments["bias"] else {})


@rule("LayerNorm", tensors=_layer)
def layer_norm(x: A, arguments: Spec, weights: Weights[A]) -> A:
    if list(arguments["normalized_shape"]) != list(x.shape[-1:]):
        raise NoRule("no proof rule for LayerNorm over more than the last axis")
    return scaled(x.normalize(arguments["eps"]), weights).to_grid()


def _batch(arguments: Spec) -> Shapes:
    size = (arguments["num_features"],)
    affine = weight_and_bias(size, bias=True) if arguments["affine"] else {}
    statistics: Shapes = {"running_mean": size, "running_var": size, "num_batches_tracked": ()}
    return affine | (statistics if arguments["track_running_stats"] else {})


@rule("BatchNorm1d", tensors=_batch)
def batch_norm_1d(x: A, arguments: Spec, weights: Weights[A]) -> A:
    return _batch_norm(x, arguments, weights, axes=(2, 3))


@rule("BatchNorm2d", tensors=_batch)
def batch_norm_2d(x: A, arguments: Spec, weights: Weights[A]) -> A:
    return _batch_norm(x, arguments, weights, axes=(4,))


def _batch_norm(x: A, arguments: Spec, weights: Weights[A], axes: tuple[int, ...]) -> A:
    """Axis 1 holds the channels at any rank that torch allows: it takes no batch normalization without a batch axis."""
    mean, variance = weights("running_mean"), weights("running_var")
    if mean is None or variance is None:
        raise NoRule("no proof rule for batch normalization without running statistics")
    if len(x.shape) not in axes or mean.shape != x.shape[1:2]:
        raise NoRule(
            f"no proof rule for batch normalization of {mean.shape[0]} channels in a tensor of shape {x.shape}"
        )
    parts = (mean, variance, weights("weight"), weights("bias"))
    column = (1, -1, *(1,) * (len(x.shape) - 2))
    mean, variance, weight, bias = (None if part is None else part.reshape(*column) for part in parts)
    assert mean is not None
    assert variance is not None
    return x.batch_norm(mean, variance, weight, bias, arguments["eps"]).to_grid()
