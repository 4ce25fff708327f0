"""Describing a module as plain data, and building it again without running code from a file.

Only classes on the list below are described or built: a file is never unpickled and never names code to import.
Of a module with anything else in it the file keeps the weights alone, and whoever loads it hands in the module.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from ...errors import NeuralQuineError, QuineFileError, first_line
from .bodies import Body, Taped, TokenMean, Tokens
from .causal import CausalTransformer
from .cost import Register, registering
from .normalize import InstanceNorm

_CONV = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "bias",
    "padding_mode",
)
_TRANSPOSED = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "output_padding",
    "groups",
    "bias",
    "dilation",
    "padding_mode",
)
_RECURRENT = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
_BATCHNORM = ("num_features", "eps", "momentum", "affine", "track_running_stats")
_ENCODER = (
    "d_model",
    "nhead",
    "dim_feedforward",
    "dropout",
    "activation",
    "layer_norm_eps",
    "batch_first",
    "norm_first",
    "bias",
)
_PADDINGS = ("Zero", "Reflection", "Replication", "Circular")
_POOL = ("kernel_size", "stride", "padding")

_CLASSES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Linear: ("in_features", "out_features", "bias"),
    nn.Bilinear: ("in1_features", "in2_features", "out_features", "bias"),
    nn.Conv1d: _CONV,
    nn.Conv2d: _CONV,
    nn.Conv3d: _CONV,
    nn.ConvTranspose1d: _TRANSPOSED,
    nn.ConvTranspose2d: _TRANSPOSED,
    nn.ConvTranspose3d: _TRANSPOSED,
    nn.Embedding: ("num_embeddings", "embedding_dim", "padding_idx"),
    nn.RNN: (*_RECURRENT, "nonlinearity"),
    nn.GRU: _RECURRENT,
    nn.LSTM: (*_RECURRENT, "proj_size"),
    nn.RNNCell: ("input_size", "hidden_size", "bias", "nonlinearity"),
    nn.GRUCell: ("input_size", "hidden_size", "bias"),
    nn.LSTMCell: ("input_size", "hidden_size", "bias"),
    nn.TransformerEncoderLayer: _ENCODER,
    nn.LayerNorm: ("normalized_shape", "eps", "elementwise_affine", "bias"),
    nn.RMSNorm: ("normalized_shape", "eps", "elementwise_affine"),
    nn.GroupNorm: ("num_groups", "num_channels", "eps", "affine"),
    nn.BatchNorm1d: _BATCHNORM,
    nn.BatchNorm2d: _BATCHNORM,
    nn.InstanceNorm1d: _BATCHNORM,
    nn.InstanceNorm2d: _BATCHNORM,
    InstanceNorm: ("eps",),
    CausalTransformer: ("vocabulary", "width", "layers", "heads"),
    nn.Tanh: (),
    nn.Sigmoid: (),
    nn.ReLU: (),
    nn.SiLU: (),
    nn.SELU: (),
    nn.Mish: (),
    nn.Softsign: (),
    nn.GELU: ("approximate",),
    nn.ELU: ("alpha",),
    nn.CELU: ("alpha",),
    nn.LeakyReLU: ("negative_slope",),
    nn.Softplus: ("beta", "threshold"),
    nn.Hardtanh: ("min_val", "max_val"),
    nn.ReLU6: (),
    nn.Hardsigmoid: (),
    nn.Hardswish: (),
    nn.Softshrink: ("lambd",),
    nn.Tanhshrink: (),
    nn.RReLU: ("lower", "upper"),
    nn.PReLU: ("num_parameters",),
    nn.GLU: ("dim",),
    nn.Softmax: ("dim",),
    nn.Softmin: ("dim",),
    nn.Identity: (),
    nn.Dropout: ("p",),
    nn.Dropout1d: ("p",),
    nn.Dropout2d: ("p",),
    nn.Dropout3d: ("p",),
    nn.AlphaDropout: ("p",),
    nn.FeatureAlphaDropout: ("p",),
    nn.Flatten: ("start_dim", "end_dim"),
    nn.Unflatten: ("dim", "unflattened_size"),
    nn.MaxPool1d: _POOL,
    nn.MaxPool2d: _POOL,
    nn.MaxPool3d: _POOL,
    nn.AvgPool1d: _POOL,
    nn.AvgPool2d: _POOL,
    nn.AvgPool3d: _POOL,
    nn.AdaptiveAvgPool1d: ("output_size",),
    nn.AdaptiveAvgPool2d: ("output_size",),
    nn.AdaptiveAvgPool3d: ("output_size",),
    **{getattr(nn, f"{kind}Pad{n}d"): ("padding",) for kind in _PADDINGS for n in (1, 2, 3)},
    Tokens: ("count", "width"),
    TokenMean: (),
}
_ACTIVATIONS = {"relu": nn.functional.relu, "gelu": nn.functional.gelu}
_OWN = (CausalTransformer, InstanceNorm, TokenMean, Tokens)
_BY_NAME = {f"neuralquine.{cls.__name__}" if cls in _OWN else cls.__name__: cls for cls in _CLASSES}
_NAMES = {cls: name for name, cls in _BY_NAME.items()}
_MAX_MODULES = 10_000


def describe(module: nn.Module) -> dict[str, Any] | None:
    """The module as JSON-ready data, or None if a part of it is not on the list."""
    if type(module) is nn.Sequential:
        # A list, because the order matters and JSON objects have none.
        children = [[name, describe(child)] for name, child in module.named_children() if name.isprintable()]
        if any(child is None for _, child in children) or len(children) != len(module):  # one used twice is named once
            return None
        return {"type": "Sequential", "children": children}
    if type(module) is Body:
        return _with_parts("neuralquine.Body", stem=module.stem, head=module.head)
    if type(module) is Taped:
        sizes = {"features": module.tape.in_features, "rows": module.tape.out_features}
        return _with_parts("neuralquine.Taped", {**sizes, "bias": module.tape.bias is not None}, body=module.body)
    if type(module) not in _CLASSES:
        return None
    if type(module) is nn.TransformerEncoderLayer:
        return _describe_encoder(module)
    arguments = {}
    for name in _CLASSES[type(module)]:
        value = getattr(module, name)
        if name == "bias" and not isinstance(value, bool):
            value = value is not None
        arguments[name] = list(value) if isinstance(value, tuple) else value
    return {"type": _NAMES[type(module)], "arguments": arguments}


def undescribed(module: nn.Module) -> str | None:
    """The first layer that keeps a module of listed containers from being described: its place and its class.

    Returns:
        Such as ``1: MaxPool3d``; None for a module that is described, or that is itself what is not.
    """
    if describe(module) is not None or type(module) not in (nn.Sequential, Body, Taped):
        return None
    for name, child in module.named_children():
        if describe(child) is None:
            inside = undescribed(child)
            return f"{name}.{inside}" if inside else f"{name}: {type(child).__name__}"
    return None


def _with_parts(kind: str, arguments: dict[str, Any] | None = None, **parts: nn.Module) -> dict[str, Any] | None:
    described = {name: describe(part) for name, part in parts.items()}
    if any(part is None for part in described.values()):
        return None
    return {"type": kind, "parts": described, **({"arguments": arguments} if arguments else {})}


def _describe_encoder(module: nn.TransformerEncoderLayer) -> dict[str, Any] | None:
    """The arguments of a module's constructor, which the module does not keep under their names."""
    activation = next((n for n, f in _ACTIVATIONS.items() if module.activation is f), None)
    if activation is None:
        return None
    attention = module.self_attn
    arguments = {
        "d_model": attention.embed_dim,
        "nhead": attention.num_heads,
        "dim_feedforward": module.linear1.out_features,
        "dropout": module.dropout.p,
        "activation": activation,
        "layer_norm_eps": module.norm1.eps,
        "batch_first": attention.batch_first,
        "norm_first": module.norm_first,
        "bias": module.linear1.bias is not None,
    }
    return {"type": "TransformerEncoderLayer", "arguments": arguments}


def build(spec: Any) -> nn.Module:
    """The module of a description. Call it under ``torch.device("meta")`` and ``counted_parameters``: no size is to be trusted.

    Raises:
        QuineFileError: the description is malformed, or names a class that is not listed.
    """
    return _build(spec, [0], 0)


def _build(spec: Any, count: list[int], depth: int) -> nn.Module:
    count[0] += 1
    if not isinstance(spec, dict) or depth > 64 or count[0] > _MAX_MODULES:
        raise QuineFileError("the trunk's description is malformed")
    kind = spec.get("type")
    if not isinstance(kind, str):
        raise QuineFileError("the trunk's description is malformed")
    if kind == "Sequential" and set(spec) == {"type", "children"} and isinstance(spec["children"], list):
        sequential = nn.Sequential()
        for pair in spec["children"]:
            if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
                raise QuineFileError("the trunk's description is malformed")
            name, child = pair
            if not name or not name.isprintable() or "." in name or hasattr(sequential, name):
                raise QuineFileError(f"the trunk's description has a child named {name[:40]!r}")
            sequential.add_module(name, _build(child, count, depth + 1))
        return sequential
    if kind in ("neuralquine.Body", "neuralquine.Taped"):
        return _build_parts(spec, count, depth)
    if kind not in _BY_NAME or set(spec) != {"type", "arguments"} or not isinstance(spec["arguments"], dict):
        raise QuineFileError(f"the trunk's description names {str(kind)[:40]!r}, which neuralquine does not build")
    arguments = spec["arguments"]
    if set(arguments) != set(_CLASSES[_BY_NAME[kind]]) or not all(_plain(v) for v in arguments.values()):
        raise QuineFileError(f"the trunk's description of a {kind} is malformed")
    frozen = {name: tuple(v) if isinstance(v, list) else v for name, v in arguments.items()}
    try:
        constructor: Any = _BY_NAME[kind]
        return constructor(**frozen)
    except NeuralQuineError:  # it asks for more than it may
        raise
    except Exception as error:  # whatever torch says of absurd arguments
        raise QuineFileError(f"the trunk's description of a {kind} does not build: {first_line(error)}") from error


def _build_parts(spec: dict[str, Any], count: list[int], depth: int) -> nn.Module:
    parts, arguments = spec.get("parts"), spec.get("arguments", {})
    if isinstance(parts, dict) and isinstance(arguments, dict):
        made = {
            name: _build(part, count, depth + 1) for name, part in parts.items() if name in ("stem", "head", "body")
        }
        if spec["type"] == "neuralquine.Body" and set(made) == set(parts) == {"stem", "head"} and not arguments:
            return Body(**made)
        sizes = arguments.get("features"), arguments.get("rows")
        whole = all(type(n) is int and 1 <= n < 2**40 for n in sizes) and type(arguments.get("bias")) is bool
        taped = spec["type"] == "neuralquine.Taped" and set(made) == set(parts) == {"body"}
        if taped and set(arguments) == {"features", "rows", "bias"} and whole:
            try:
                return Taped(**made, **arguments)
            except RuntimeError as error:  # sizes whose product no integer holds
                raise QuineFileError(
                    f"the trunk's description of a tape does not build: {first_line(error)}"
                ) from error
    raise QuineFileError(f"the trunk's description of a {spec['type']} is malformed")


def _plain(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= 8 and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    return value is None or isinstance(value, bool | float | str) or (isinstance(value, int) and abs(value) < 2**40)


def same_settings(built: nn.Module, original: nn.Module) -> bool:
    """Whether two modules of the same classes were given the same numbers, names and switches, and have no hooks.

    A description leaves out what is rarely set, such as the largest norm of an embedding: that shows here.
    """
    ours, theirs = list(built.modules()), list(original.modules())
    return len(ours) == len(theirs) and all(
        type(a) is type(b) and _as_set(a, b) for a, b in zip(ours, theirs, strict=True)
    )


def _as_set(built: nn.Module, original: nn.Module) -> bool:
    held = vars(original)
    if "forward" in held or any(held[name] for name in held if name.endswith("_hooks")):
        return False
    plain = int | float | str | tuple | list | None
    public = {
        k: v for k, v in vars(built).items() if not k.startswith("_") and k != "training" and isinstance(v, plain)
    }
    return all(k in held and held[k] == v for k, v in public.items())


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Build modules whose parameters take no memory, while their buffers are computed as always."""

    def on_meta(register: Register, module: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and not param.is_meta:  # one that is shared must stay the same object
            param = nn.Parameter(param.to("meta"), requires_grad=param.requires_grad)
        register(module, name, param)

    with registering(on_meta):
        yield
