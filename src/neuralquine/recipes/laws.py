"""The law of each tensor's initialization, read from what an initializer does, without drawing a number.

A large network is printed anew from a code before anything else happens to it, so that of its initialization nothing is
needed but the mean and the spread of each tensor. Here its constructor runs with parameters that take no memory; every
operation that would fill one of them is noted and left out. The law does not depend on the seed, nor on the machine. The
means and gains that follow from it stand in the quine's settings, as they do where they were measured on drawn weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..quines.networks.cost import Register, registering

DRAWN = 1 << 24  # weights up to which a recipe draws its weights, in a tenth of a second
_CUT_OFF = "_no_grad_trunc_normal_"
_SKIPPED = (
    _CUT_OFF,
    "orthogonal_",
    "sparse_",
    "eye_",
    "dirac_",
)  # of torch.nn.init: they see that a tensor has no memory
_LEFT_OUT = ("normal_", "uniform_", "fill_", "zero_", "erfinv_", "mul_", "div_", "add_", "sub_", "clamp_")

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Law:
    """The mean and the standard deviation of a tensor's numbers, and the interval of a uniform law."""

    mean: float
    spread: float
    interval: tuple[float, float] | None = None


def without_drawing(make: Callable[[], M]) -> tuple[M, list[tuple[float, float]]] | None:
    """A large module without memory for its parameters, and the mean and the spread of each tensor.

    None for a small module, and where some tensor is filled in a way that is no law which is known here: then it is drawn.
    """
    module, laws = built_without_memory(make)
    if sum(p.numel() for p in module.parameters()) <= DRAWN:
        return None
    known = [law for law in laws.values() if law is not None]
    return (module, [(law.mean, law.spread) for law in known]) if len(known) == len(laws) else None


def given_memory(module: nn.Module, values: list[float], device: torch.device) -> None:
    """Give every parameter without memory its memory on a device, filled with one value each; shared ones stay shared.

    Args:
        module: from :func:`built_without_memory`. Its buffers move to the device.
        values: one for each parameter, in the order of ``named_parameters()``.
        device: where to.
    """
    made: dict[int, nn.Parameter] = {}
    for parameter, value in zip(list(module.parameters()), values, strict=True):
        filled = torch.full_like(parameter, value, device=device)
        made[id(parameter)] = nn.Parameter(filled, requires_grad=parameter.requires_grad)
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = made[id(parameter)]
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else buffer.to(device)


def built_without_memory(make: Callable[[], M]) -> tuple[M, dict[str, Law | None]]:
    """Run a constructor without memory for parameters and without random numbers; buffers are computed as always.

    Returns:
        The module, with parameters on the meta device, and the law of each by name: None where what filled it is no law that
        is known here.
    """
    reading = _Reading()
    with registering(reading.registered), _skipped(reading), reading:
        module = make()
    return module, {name: reading.laws.get(_place(p)) for name, p in module.named_parameters()}


@contextmanager
def _skipped(reading: _Reading) -> Iterator[None]:
    """Note what torch does not even begin for tensors without memory."""
    skipped = {name: getattr(nn.init, name) for name in _SKIPPED if hasattr(nn.init, name)}

    def noted(name: str) -> Callable[..., Tensor]:
        def note(tensor: Tensor, *given: Any, **named: Any) -> Tensor:
            if not (tensor.is_meta and _place(tensor) in reading.laws):
                return skipped[name](tensor, *given, **named)
            reading.laws[_place(tensor)] = _normal_cut_off(*given, **named) if name == _CUT_OFF else None
            return tensor

        return note

    try:
        for name in skipped:
            setattr(nn.init, name, noted(name))
        yield
    finally:
        for name, function in skipped.items():
            setattr(nn.init, name, function)


class _Reading(TorchDispatchMode):
    """Notes what fills the tensors without memory, and leaves it out."""

    def __init__(self) -> None:
        super().__init__()
        self.laws: dict[int, Law | None] = {}
        self._held: list[Tensor] = []  # so that no other tensor takes the place of one that has a law
        self._unfilled: set[int] = set()

    def registered(self, register: Register, module: nn.Module, name: str, param: nn.Parameter | None) -> None:
        """Put a parameter on the meta device; one that has numbers already has the law of these."""
        if param is not None and not param.is_meta:
            law = None if _place(param) in self._unfilled else _of_numbers(param.detach())
            param = nn.Parameter(torch.empty_like(param, device="meta"), requires_grad=param.requires_grad)
            self.laws[_place(param)] = law
            self._held.append(param)
        register(module, name, param)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name, target = func.overloadpacket.__name__, args[0] if args else None
        if isinstance(target, Tensor) and target.is_meta and name.endswith("_"):
            known = _place(target) in self.laws
            if known and target.numel() * target.element_size() == target.untyped_storage().nbytes():
                self.laws[_place(target)] = _after(name, self.laws[_place(target)], args[1:], kwargs)
            if known or name in _LEFT_OUT:
                return target
        out = func(*args, **kwargs)
        unfilled = name.startswith(("empty", "new_empty"))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, Tensor) and not tensor.is_meta:
                viewed = isinstance(target, Tensor) and not target.is_meta and _place(target) == _place(tensor)
                if unfilled:
                    self._unfilled.add(_place(tensor))
                elif name.endswith("_") or not viewed:
                    self._unfilled.discard(_place(tensor))
        return out


def _place(tensor: Tensor) -> int:
    """What identifies the memory of a tensor, or what stands for it on the meta device."""
    return tensor.untyped_storage()._cdata


def _of_numbers(values: Tensor) -> Law:
    if values.numel() == 0:
        return Law(0.0, 0.0)
    values = values.double()
    return Law(float(values.mean()), float(values.std(correction=0)))


def _after(name: str, law: Law | None, given: tuple[Any, ...], named: dict[str, Any]) -> Law | None:
    """The law of a tensor after one operation on it in place; None where it is not known."""
    numbers = [v for v in given if isinstance(v, int | float)]
    if len(numbers) != len(given):
        return None
    if name in ("zero_", "fill_"):
        return Law(float(numbers[0]) if numbers else 0.0, 0.0)
    if name == "normal_":
        mean, spread = (*numbers, *(0.0, 1.0)[len(numbers) :])
        return Law(float(named.get("mean", mean)), float(named.get("std", spread)))
    if name == "uniform_":
        low, high = (*numbers, *(0.0, 1.0)[len(numbers) :])
        return Law((low + high) / 2, (high - low) / math.sqrt(12.0), (low, high))
    if law is None or named:
        return None
    if name == "erfinv_" and law.interval is not None:
        return _cut_off(*law.interval)
    if name in ("mul_", "div_") and len(numbers) == 1 and numbers[0]:
        factor = numbers[0] if name == "mul_" else 1 / numbers[0]
        return Law(law.mean * factor, law.spread * abs(factor))
    if name in ("add_", "sub_") and len(numbers) == 1:
        return Law(law.mean + (numbers[0] if name == "add_" else -numbers[0]), law.spread)
    return replace(law, interval=None) if name == "clamp_" else None  # to the ends that it was cut off at


def _cut_off(low: float, high: float) -> Law:
    """The law of ``erfinv(u)`` with u uniform, from which torch's older versions make a normal law that is cut off."""
    ends = [float(torch.erfinv(torch.tensor(end, dtype=torch.float64))) for end in (low, high)]
    return _normal_cut_off(0.0, math.sqrt(0.5), *ends)


def _normal_cut_off(mean: float, std: float, a: float, b: float, generator: object = None) -> Law:
    """The mean and the spread of a normal law between ``a`` and ``b``."""
    ends = [(end - mean) / std for end in (a, b)]
    heights = [math.exp(-end * end / 2) / math.sqrt(2 * math.pi) for end in ends]
    share = (math.erf(ends[1] / math.sqrt(2.0)) - math.erf(ends[0] / math.sqrt(2.0))) / 2
    if not share > 0.0:
        return Law(math.nan, math.nan)
    shift = (heights[0] - heights[1]) / share
    moments = [end * height if math.isfinite(end) else 0.0 for end, height in zip(ends, heights, strict=True)]
    return Law(mean + std * shift, std * math.sqrt(max(0.0, 1 + (moments[0] - moments[1]) / share - shift * shift)))
