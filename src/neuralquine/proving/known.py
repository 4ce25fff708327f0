"""Which network a folder holds: by the plain-data description of its trunk, or by the name of a class of this package."""

from __future__ import annotations

from typing import Any

from ..errors import QuineFileError
from ..quines.tables.queries import QueryTable
from .rules import NoRule
from .rules.gpt2 import GPT2
from .rules.models import MODELS, read_of, short
from .rules.resnet import RESNET, resnet_arguments

Spec = dict[str, Any]

_SMALLEST = {"float64": 2.0**-52, "float32": 2.0**-23}  # distance from 1 to the next number

_GPT2 = "transformers.models.gpt2.modeling_gpt2"
_RESNET = "transformers.models.resnet.modeling_resnet"
_SEQUENCE = (
    "neuralquine.quines.networks.sequence.",
    "neuralquine.printers.sequence.",
)  # where these classes are, and were


_CONTAINERS = ("torch.nn.modules.container.Sequential", "neuralquine.bodies.Body", "neuralquine.bodies.Taped")


def description(config: Spec) -> Spec:
    """The description of a folder's trunk.

    Modules that are not described in the file but made by a recipe are known by their class, and their sizes by the shapes of
    their weights.

    Raises:
        NoRule: nothing says what the trunk computes.
    """
    trunk = config.get("trunk")
    if trunk is not None:
        try:
            if trunk["type"] in MODELS:
                model = MODELS[trunk["type"]]
                return _model(config, trunk["type"], model.understood(trunk["type"], trunk["arguments"]))
            return _pinned(trunk, _SMALLEST.get(config.get("trunk_dtype", config["dtype"])))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise QuineFileError("the trunk's description is malformed") from error
    whole, shapes = config["trunk_class"], dict(map(tuple, config["tensors"]))
    home, _, name = whole.rpartition(".")
    if f"{home}." in _SEQUENCE:
        match name, shapes:
            case "Clocked", {"hear.weight": [int(size), int(heard)]}:
                return _spec("neuralquine.Clocked", size=size, clock=heard - 1)
    if home == _GPT2 and name == "GPT2LMHeadModel":
        return _gpt2(config, shapes)
    if (
        home == _RESNET
        and name == "ResNetForImageClassification"
        and (config["recipe"] or {}).get("name") == "resnet18"
    ):
        return _model(config, RESNET, resnet_arguments(shapes))
    if "undescribed" in config:
        place, _, layer = config["undescribed"].rpartition(": ")
        raise NoRule(f"no proof rule for {layer} (layer {place} of a {name[:80]}): only listed torch modules have one")
    if whole in _CONTAINERS:
        raise NoRule(
            f"no proof rule for a {name} whose layers do more than their classes say: hooks, shared weights or the like"
        )
    raise NoRule(f"no proof rule for {name[:80]}: only listed torch modules have one")


def _pinned(spec: Spec, smallest: float | None) -> Spec:
    """The description with the number that torch adds in a normalization which names none: it depends on the type."""
    if spec["type"] == "Sequential":
        return spec | {"children": [[name, _pinned(child, smallest)] for name, child in spec["children"]]}
    if spec["type"] == "RMSNorm" and spec["arguments"].get("eps") is None:
        return spec | {"arguments": spec["arguments"] | {"eps": smallest}}
    if "parts" in spec:
        return spec | {"parts": {name: _pinned(part, smallest) for name, part in spec["parts"].items()}}
    return spec


def _spec(name: str, **arguments: int) -> Spec:
    return {"type": name, "arguments": arguments}


def _gpt2(config: Spec, shapes: dict[str, Any]) -> Spec:
    """GPT-2 as a recipe of this package makes it: the number of heads is not to be seen in a weight."""
    if (config["recipe"] or {}).get("name") not in ("gpt2", "gpt2-xl"):
        raise NoRule("no proof rule for a GPT2LMHeadModel other than that of the recipes gpt2 and gpt2-xl")
    match shapes.get("transformer.wte.weight"), shapes.get("transformer.wpe.weight"):
        case [int(vocabulary), int(width)], [int(positions), int()]:
            layers = sum(name.endswith(".ln_1.weight") for name in shapes)
            sizes = {"vocabulary": vocabulary, "width": width, "positions": positions, "layers": layers}
            rest = {"heads": max(1, width // 64), "inner": 4 * width, "eps": 1e-5, "activation": "gelu_tanh"}
            return _model(config, GPT2, sizes | rest)
    raise NoRule("no proof rule for a GPT2LMHeadModel without tables of tokens and positions")


def _model(config: Spec, kind: str, arguments: Spec) -> Spec:
    """A model of ``transformers`` with what is read of it.

    Raises:
        NoRule: it is asked for something else than its rule gives, or runs in another type than it says.
    """
    if arguments.get("narrow") and config.get("trunk_dtype", config["dtype"]) != "float32":
        raise NoRule(f"no proof rule for a {short(kind)} in any type but float32, in which it computes inside")
    return {"type": kind, "arguments": arguments | {"read": read_of(kind, config)}}


def named_probe(config: Spec) -> Any:
    """The query table of a folder that names one instead of holding it; None where the folder holds its input."""
    if config.get("queries") in (None, "table") or config["probe"] != 0:
        return None
    shapes = [shape for _, shape in config["tensors"]]
    table = QueryTable(config["queries"], shapes, width=config["width"], scale=config["scale"], seed=config["seed"])
    return table.rows()
