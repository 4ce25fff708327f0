"""ResNet as ``transformers`` has it: layers of two or, as bottlenecks, three convolutions, around which each is a residual.

The first layer of every stage but the first halves the image. Convolutions have no bias; batch normalization is frozen.
"""

from __future__ import annotations

from typing import Any

from .common import A, NoRule, Shapes, Spec, Weights, affine, below, rule
from .convolution import average_2d, conv_2d, largest_2d
from .models import LOGITS, MODELS, MOST, Model, understand
from .normalized import batch_norm_2d

RESNET = "transformers.ResNetForImageClassification"
_NORM = ("weight", "bias", "running_mean", "running_var")
_EPS = 1e-5
_REDUCTION = 4  # of the channels in a bottleneck
_SIZES = {"embedding_size": "embedding", "num_channels": "channels", "num_labels": "labels"}
_ONLY: dict[str, tuple[Any, ...]] = {
    "layer_type": ("basic", "bottleneck"),
    "hidden_act": ("relu",),
    "downsample_in_first_stage": (False, True),
    "downsample_in_bottleneck": (False, True),
    "attn_implementation": ("eager", "sdpa"),  # it has none
}


def _understood(kind: str, given: Spec) -> Spec:
    own = {field: value for field, value in given.items() if field not in ("hidden_sizes", "depths")}
    found = understand(kind, own, _SIZES, _ONLY)
    for field, name in (("hidden_sizes", "widths"), ("depths", "depths")):
        found[name] = list(given.get(field) or [])
        if not found[name] or any(type(n) is not int or not 1 <= n <= MOST for n in found[name]):
            raise NoRule(f"no proof rule for a ResNetForImageClassification with {field}={str(given.get(field))[:40]}")
    if len(found["widths"]) != len(found["depths"]):
        raise NoRule("no proof rule for a ResNetForImageClassification with another number of sizes than of depths")
    halved, early = given["downsample_in_first_stage"], given["downsample_in_bottleneck"]
    return found | {"bottleneck": given["layer_type"] == "bottleneck", "halved": halved, "early": early}


MODELS[RESNET] = Model(_understood, "pixel_values", LOGITS)


def _unit(place: str, out: int, inner: int, kernel: int) -> Shapes:
    """A convolution and its normalization."""
    norm: Shapes = {f"{place}.normalization.{name}": (out,) for name in _NORM}
    count: Shapes = {f"{place}.normalization.num_batches_tracked": ()}
    return {f"{place}.convolution.weight": (out, inner, kernel, kernel)} | norm | count


def _layers(arguments: Spec) -> list[tuple[str, int, int, int]]:
    """Each layer's place, its channels, those of its input, and the stride with which it begins."""
    found, inner = [], arguments["embedding"]
    for stage, (width, depth) in enumerate(zip(arguments["widths"], arguments["depths"], strict=True)):
        for layer in range(depth):
            place = f"resnet.encoder.stages.{stage}.layers.{layer}"
            halved = not layer and (stage or arguments.get("halved", False))
            found.append((place, width, inner, 2 if halved else 1))
            inner = width
    return found


def _convolutions(arguments: Spec, out: int, inner: int, stride: int) -> list[tuple[int, int, int, int]]:
    """Each convolution of a layer: its channels, those of its input, the size of its kernel, and its stride."""
    if not arguments.get("bottleneck", False):
        return [(out, inner, 3, stride), (out, out, 3, 1)]
    narrow, early = out // _REDUCTION, arguments["early"]
    strides = (stride, 1) if early else (1, stride)
    return [(narrow, inner, 1, strides[0]), (narrow, narrow, 3, strides[1]), (out, narrow, 1, 1)]


def _tensors(arguments: Spec) -> Shapes:
    shapes = _unit("resnet.embedder.embedder", arguments["embedding"], arguments["channels"], 7)
    for place, out, inner, stride in _layers(arguments):
        if out != inner or stride > 1:
            shapes |= _unit(f"{place}.shortcut", out, inner, 1)
        for i, (wide, narrow, kernel, _) in enumerate(_convolutions(arguments, out, inner, stride)):
            shapes |= _unit(f"{place}.layer.{i}", wide, narrow, kernel)
    last = arguments["widths"][-1]
    return shapes | {"classifier.1.weight": (arguments["labels"], last), "classifier.1.bias": (arguments["labels"],)}


def resnet_arguments(shapes: dict[str, Any]) -> Spec:
    """The sizes of a network by the shapes of its weights.

    Raises:
        NoRule: they are not those of one of basic layers.
    """
    first, last = "resnet.embedder.embedder.convolution.weight", "classifier.1.weight"
    try:
        depths: list[int] = []
        widths: list[int] = []
        while (stage := f"resnet.encoder.stages.{len(depths)}.layers") + ".0.layer.0.convolution.weight" in shapes:
            widths.append(shapes[f"{stage}.0.layer.0.convolution.weight"][0])
            depths.append(sum(n.startswith(stage) and n.endswith("layer.0.convolution.weight") for n in shapes))
        sizes = {"embedding": shapes[first][0], "channels": shapes[first][1], "labels": shapes[last][0]}
        return {"widths": widths, "depths": depths, **sizes}
    except (KeyError, IndexError, TypeError) as error:
        raise NoRule("no proof rule for a ResNet of other layers than the basic ones") from error


@rule(RESNET, tensors=_tensors)
def resnet(x: A, arguments: Spec, weights: Weights[A]) -> A:
    """Images ``(B, channels, h, w)`` to logits ``(B, labels)``."""
    if len(x.shape) != 4:
        raise NoRule(f"no proof rule for a ResNet of a tensor of shape {x.shape}")
    x = _convolved(x, below(weights, "resnet.embedder.embedder"), 7, 2).relu()
    x = largest_2d(x, {"kernel_size": 3, "stride": 2, "padding": 1}, weights)
    for place, out, inner, stride in _layers(arguments):
        y, parts = x, _convolutions(arguments, out, inner, stride)
        for i, (_, _, kernel, step) in enumerate(parts):
            y = _convolved(y, below(weights, f"{place}.layer.{i}"), kernel, step)
            y = y.relu() if i < len(parts) - 1 else y
        x = _convolved(x, below(weights, f"{place}.shortcut"), 1, stride) if out != inner or stride > 1 else x
        x = (y + x).relu()
    flat = average_2d(x, {"output_size": 1}, weights).reshape(x.shape[0], x.shape[1])
    return affine(flat, below(weights, "classifier.1")).to_grid()


def _convolved(x: A, weights: Weights[A], kernel: int, stride: int) -> A:
    """A convolution that keeps the image's size but for its stride, and its normalization."""
    plain = {"groups": 1, "padding_mode": "zeros", "dilation": 1, "padding": kernel // 2}
    y = conv_2d(x, plain | {"kernel_size": kernel, "stride": stride}, below(weights, "convolution"))
    return batch_norm_2d(y, {"eps": _EPS}, below(weights, "normalization"))
