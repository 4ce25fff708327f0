"""Which network a folder holds: by the plain-data description of its trunk, or by the name of a class of this package."""

from __future__ import annotations

from typing import Any

from ..quines.tables.queries import QueryTable
from .rules import NoRule
from .rules.resnet import RESNET, resnet_arguments

Spec = dict[str, Any]

_RESNET = "transformers.models.resnet.modeling_resnet"
_SEQUENCE = (
    "neuralquine.quines.networks.sequence.",
    "neuralquine.printers.sequence.",
)  # where these classes are, and were


def description(config: Spec) -> Spec:
    """The description of a folder's trunk.

    Modules that are not described in the file but made by a recipe are known by their class, and their sizes by the shapes of
    their weights.

    Raises:
        NoRule: nothing says what the trunk computes.
    """
    trunk = config.get("trunk")
    if trunk is not None:
        return trunk
    whole, shapes = config["trunk_class"], dict(map(tuple, config["tensors"]))
    home, _, name = whole.rpartition(".")
    if f"{home}." in _SEQUENCE:
        match name, shapes:
            case "Clocked", {"hear.weight": [int(size), int(heard)]}:
                return _spec("Clocked", size=size, clock=heard - 1)
    if (
        home == _RESNET
        and name == "ResNetForImageClassification"
        and (config["recipe"] or {}).get("name") == "resnet18"
    ):
        return {"type": RESNET, "arguments": resnet_arguments(shapes)}
    raise NoRule(f"no proof rule for {name[:80]}: only listed torch modules have one")


def _spec(name: str, **arguments: int) -> Spec:
    return {"type": f"neuralquine.{name}", "arguments": arguments}


def named_probe(config: Spec) -> Any:
    """The query table of a folder that names one instead of holding it; None where the folder holds its input."""
    if config.get("queries") in (None, "table") or config["probe"] != 0:
        return None
    shapes = [shape for _, shape in config["tensors"]]
    table = QueryTable(config["queries"], shapes, width=config["width"], scale=config["scale"], seed=config["seed"])
    return table.rows()
