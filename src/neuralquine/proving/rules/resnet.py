"""ResNet as ``transformers`` has it, of basic layers: two 3 x 3 convolutions around which each layer is a residual.

The first layer of every stage but the first halves the image. Convolutions have no bias; batch normalization is frozen.
"""

from __future__ import annotations

from typing import Any

from .common import A, NoRule, Shapes, Spec, Weights, affine, below, rule
from .convolution import average_2d, conv_2d, largest_2d
from .normalized import batch_norm_2d

RESNET = "transformers.ResNetForImageClassification"
_NORM = ("weight", "bias", "running_mean", "running_var")
_EPS = 1e-5


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
            found.append((place, width, inner, 2 if stage and not layer else 1))
            inner = width
    return found


def _tensors(arguments: Spec) -> Shapes:
    shapes = _unit("resnet.embedder.embedder", arguments["embedding"], arguments["channels"], 7)
    for place, out, inner, stride in _layers(arguments):
        if out != inner or stride > 1:
            shapes |= _unit(f"{place}.shortcut", out, inner, 1)
        shapes |= _unit(f"{place}.layer.0", out, inner, 3) | _unit(f"{place}.layer.1", out, out, 3)
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
        y = _convolved(x, below(weights, f"{place}.layer.0"), 3, stride).relu()
        y = _convolved(y, below(weights, f"{place}.layer.1"), 3, 1)
        x = _convolved(x, below(weights, f"{place}.shortcut"), 1, stride) if out != inner or stride > 1 else x
        x = (y + x).relu()
    flat = average_2d(x, {"output_size": 1}, weights).reshape(x.shape[0], x.shape[1])
    return affine(flat, below(weights, "classifier.1")).to_grid()


def _convolved(x: A, weights: Weights[A], kernel: int, stride: int) -> A:
    """A convolution that keeps the image's size but for its stride, and its normalization."""
    plain = {"groups": 1, "padding_mode": "zeros", "dilation": 1, "padding": kernel // 2}
    y = conv_2d(x, plain | {"kernel_size": kernel, "stride": stride}, below(weights, "convolution"))
    return batch_norm_2d(y, {"eps": _EPS}, below(weights, "normalization"))
