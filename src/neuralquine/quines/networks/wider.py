"""Running a module in a wider type than that of the weights which it holds.

The weights stay what is stored and printed. Every evaluation takes them, the buffers and the inputs into the wider type first,
which is exact; so the network is the one that ``copy.deepcopy(module).double()`` would be, and its round-off is smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ...errors import BadOption, TrunkError

_NAMES = {"float64": torch.float64}  # the types that are wider than another one


def wider_type(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """The type in which a trunk is to run, by itself or by its name.

    Raises:
        BadOption: no trunk runs in it.
    """
    found = _NAMES.get(dtype.removeprefix("torch.")) if isinstance(dtype, str) else dtype
    if dtype is not None and found not in _NAMES.values():
        raise BadOption(f"trunk_dtype must be float64, not {dtype}: the weights' own type is dtype=")
    return found


def wider_than(own: torch.dtype, dtype: torch.dtype | None) -> torch.dtype | None:
    """A type, if it is wider than one's own; else None."""
    return dtype if dtype is not None and torch.finfo(dtype).bits > torch.finfo(own).bits else None


def wide_tensors(module: nn.Module, given: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Every parameter and buffer of a module by its places, in a type; those that are given take the places of its own."""
    held: dict[str, Tensor] = dict(module.named_parameters(remove_duplicate=False))
    held |= dict(module.named_buffers(remove_duplicate=False))
    held |= given
    cast: dict[int, Tensor] = {}  # one that has several places stays one
    return {name: cast.setdefault(id(t), t.to(dtype) if t.is_floating_point() else t) for name, t in held.items()}


def refuse_narrow(rough: Callable[[], bool], dtype: torch.dtype) -> None:
    """Refuse a module that computes in a narrower type inside, whatever the type of its weights.

    Raises:
        TrunkError: it does.
    """
    if rough():
        name = str(dtype).removeprefix("torch.")
        raise TrunkError(f"the trunk computes in a narrower type inside, so it cannot run in trunk_dtype={name}")
