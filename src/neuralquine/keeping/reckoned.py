"""What a folder asks for, reckoned from its configuration and the header of its weights before a tensor is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from ..errors import QuineFileError, TooLarge
from ..files.folder import kind_of
from ..quines.networks.cost import ENTRY, Allowance, Cost, check_printing, evaluated
from ..quines.networks.plain import bound
from ..quines.networks.running import Inputs
from ..quines.networks.taking import in_type
from ..quines.printers import PRINTERS
from ..quines.quine import Quine
from ..quines.tables.queries import QueryTable

FLOATS = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
INTEGERS = {
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_IN_PLACE = 1 << 28  # bytes of a derivative, as in quines/self_printer.py
_ASKED = 4096  # queries that are answered at once


@dataclass(frozen=True)
class Header:
    """Names, shapes and types of the tensors of a weights file.

    Attributes:
        shapes: of each tensor.
        types: of each tensor, in the words of safetensors.
        weights: bytes of those that belong to the trunk.
    """

    shapes: dict[str, tuple[int, ...]]
    types: dict[str, str]
    weights: int

    @classmethod
    def of(cls, path: Path) -> Header:
        """Read the header; safetensors has compared it with the length of the file."""
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            shapes = {name: tuple(s.get_shape()) for name, s in slices.items()}
            types = {name: str(s.get_dtype()) for name, s in slices.items()}
        odd = next((name for name in shapes if not name.isprintable()), None)
        if odd is not None:
            raise QuineFileError(f"{path} names a tensor {odd[:40]!r}")
        width = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
        weights = sum(math.prod(s) * width.get(types[n], 1) for n, s in shapes.items() if n.startswith("trunk."))
        return cls(shapes, types, weights)


def check_cost(config: dict[str, Any], shell: nn.Module, header: Header, allowance: Allowance, *, own: bool) -> None:
    """Refuse what would take more memory or time than the weights in the file allow for.

    Args:
        config: the checked configuration.
        shell: the trunk, without memory.
        header: of the weights file; it fits the trunk.
        allowance: of the file.
        own: the module is the user's, who knows what it takes to run it.

    Raises:
        TooLarge: it would.
    """
    weights = sum(math.prod(shape) for _, shape in config["tensors"])
    dtype = getattr(torch, config["dtype"])
    probe = {
        n.removeprefix("probe."): _meta(s, header.types[n], dtype)
        for n, s in header.shapes.items()
        if n.startswith("probe.")
    }
    kind = kind_of(config)
    if kind == "queried":
        _check_queries(config, shell, probe, weights, dtype, allowance, own=own)
        return
    inputs = probe if isinstance(config["probe"], list) else tuple(probe[str(i)] for i in range(config["probe"]))
    numbers = sum(t.numel() for t in probe.values())
    chunked = getattr(PRINTERS.get(config["expansion"]), "chunked", False)

    def check(cost: Cost) -> None:
        allowance.check("one evaluation of the network it describes", cost.memory, cost.work)
        if kind == Quine.kind:
            in_place = chunked and weights * config["code_size"] * max(4, dtype.itemsize) > _IN_PLACE
            check_printing(config, weights, numbers, cost, allowance, in_place=in_place)

    _fits(in_type(shell, dtype), inputs, allowance, check, own=own)


def _fits(shell: nn.Module, inputs: Inputs, allowance: Allowance, check: Callable[[Cost], None], *, own: bool) -> None:
    """Let a check judge the cost of an evaluation: by a bound where this is enough, or else as it is counted."""
    if own:
        check(Cost())
        return
    at_most = bound(shell, inputs)
    if at_most is not None:
        with suppress(TooLarge):
            check(at_most)
            return
    check(evaluated(shell, inputs, allowance))


def _check_queries(
    config: dict[str, Any],
    shell: nn.Module,
    probe: Mapping[str, Tensor],
    weights: int,
    dtype: torch.dtype,
    allowance: Allowance,
    *,
    own: bool,
) -> None:
    """The same of a network that is asked for its weights one by one, some thousands at a time."""
    table = next(iter(probe.values()), None)
    if table is None:
        shapes = [shape for _, shape in config["tensors"]]
        width = QueryTable(config["queries"], shapes, width=config["width"], scale=config["scale"]).width
        table = torch.empty((weights, width), dtype=dtype, device="meta")
        allowance.check(f"a table of {width} numbers for each weight", 24.0 * table.numel(), ENTRY * table.numel())
    if not own:
        parts = max(1, -(-len(table) // _ASKED)) if table.ndim else 1
        asked = (table[:_ASKED] if parts > 1 else table,)

        def check(cost: Cost) -> None:
            allowance.check(f"asking for {weights} weights", 3 * cost.memory, parts * cost.work)

        _fits(in_type(shell, dtype), asked, allowance, check, own=own)


def _meta(shape: tuple[int, ...], kind: str, dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=INTEGERS.get(kind, dtype), device="meta")
