"""Normalizations, without or with weights, over the last axis or by frozen statistics."""

from __future__ import annotations

from math import prod

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


def root_mean_square(x: A, eps: float) -> A:
    """``x / sqrt(mean x^2 + eps)`` over the last axis.

    It is the first half of the normalization of the row followed by its negative, whose mean is zero and whose variance is
    ``mean x^2``. A machine that squares, adds and divides rounds no term more often than that normalization allows for.
    """
    return x.concat([x, -x], -1).normalize(eps).cut(-1, 0, x.shape[-1])


def _rms(arguments: Spec) -> Shapes:
    return {"weight": tuple(arguments["normalized_shape"])} if arguments["elementwise_affine"] else {}


@rule("RMSNorm", tensors=_rms)
def rms_norm(x: A, arguments: Spec, weights: Weights[A]) -> A:
    if list(arguments["normalized_shape"]) != list(x.shape[-1:]):
        raise NoRule("no proof rule for RMSNorm over more than the last axis")
    if arguments["eps"] is None:
        raise NoRule("no proof rule for RMSNorm with eps=None: what is added depends on the type it runs in")
    return scaled(root_mean_square(x, arguments["eps"]), weights).to_grid()


def _channels(size: int, *, affine: bool) -> Shapes:
    return weight_and_bias((size,), bias=True) if affine else {}


@rule("GroupNorm", tensors=lambda a: _channels(a["num_channels"], affine=a["affine"]))
def group_norm(x: A, arguments: Spec, weights: Weights[A]) -> A:
    groups, channels = arguments["num_groups"], arguments["num_channels"]
    if len(x.shape) < 2 or x.shape[1] != channels or prod(x.shape) == groups:  # torch wants more than one number in all
        raise NoRule(f"no proof rule for group normalization of {channels} channels in a tensor of shape {x.shape}")
    y = x.reshape(x.shape[0], groups, -1).normalize(arguments["eps"]).reshape(*x.shape)
    return _by_channel(y, weights, channels).to_grid()


def _by_channel(y: A, weights: Weights[A], channels: int) -> A:
    """``y * weight + bias``, whose channels are axis 1.

    A machine may fold this into the normalization before it, as of frozen statistics: so it is one with a mean of 0 and a
    variance of 0 + 1.
    """
    column = (1, channels, *(1,) * (len(y.shape) - 2))
    weight, bias = (None if (part := weights(name)) is None else part.reshape(*column) for name in ("weight", "bias"))
    if weight is None:
        return y
    zero = y.zeros(*column)
    return y.batch_norm(zero, zero, weight, bias, 1.0)


def _instance(arguments: Spec) -> Shapes:
    size = arguments["num_features"]
    statistics: Shapes = {"running_mean": (size,), "running_var": (size,), "num_batches_tracked": ()}
    return _channels(size, affine=arguments["affine"]) | (statistics if arguments["track_running_stats"] else {})


@rule("InstanceNorm1d", tensors=_instance)
def instance_norm_1d(x: A, arguments: Spec, weights: Weights[A]) -> A:
    return _instance_norm(x, arguments, weights, axes=1)


@rule("InstanceNorm2d", tensors=_instance)
def instance_norm_2d(x: A, arguments: Spec, weights: Weights[A]) -> A:
    return _instance_norm(x, arguments, weights, axes=2)


def _instance_norm(x: A, arguments: Spec, weights: Weights[A], axes: int) -> A:
    """Each channel of each image by itself, with a batch axis or without."""
    if arguments["track_running_stats"]:
        raise NoRule("no proof rule for instance normalization by running statistics")
    channels = arguments["num_features"]
    fits = len(x.shape) in (axes + 1, axes + 2) and x.shape[-axes - 1] == channels
    if not fits or prod(x.shape[-axes:]) == 1:
        raise NoRule(f"no proof rule for instance normalization of {channels} channels in a tensor of shape {x.shape}")
    y = x.reshape(-1, prod(x.shape[-axes:])).normalize(arguments["eps"]).reshape(-1, channels, *x.shape[-axes:])
    return _by_channel(y, weights, channels).reshape(*x.shape).to_grid()


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
