"""Every number that a network can read and that is not one of its weights: where a copy of the answer would lie.

The search follows what Python and torch hold in the open: buffers, attributes, containers, closures, defaults, literals,
globals, hooks, classes and modules that nobody registered. Files, other libraries and arithmetic are out of its reach.
"""

from __future__ import annotations

import functools
import re
import sys
import types
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..quines.networks.running import named
from ..quines.quine import Quine

_DEPTH = 16  # how deep attributes are searched
_TEXT = 1 << 24  # letters of a text that are read
_FEW_NUMBERS = 1 << 20  # numbers that are kept from one walk to the next
_FEW = 4  # single numbers fewer than these are settings
_LIBRARIES = {"torch", "numpy", "scipy", "neuralquine", "builtins"} | set(sys.stdlib_module_names)
_HOLDERS = (Tensor, np.ndarray, nn.Module, list, tuple, dict, set, frozenset, deque, bytes, bytearray, str)
_SPELLED = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?")
_BUILTIN = types.BuiltinFunctionType | types.MethodWrapperType

Found = Iterator[tuple[str, Tensor]]
_WALKED: ContextVar[dict[int, list[tuple[str, Tensor]]] | None] = ContextVar("walked", default=None)


def outside_numbers(quine: Quine) -> Found:
    """``(name, flat float64 values)`` of the probe, frozen and hidden parameters, and what :class:`_Search` finds."""
    walked = _WALKED.get()
    if walked is not None and id(quine) in walked:
        yield from walked[id(quine)]
        return
    found: list[tuple[str, Tensor]] = []
    total = 0
    for name, values in _walk(quine):
        total += values.numel()
        if walked is not None and total <= _FEW_NUMBERS:
            found.append((name, values))
        yield name, values
    if walked is not None and total <= _FEW_NUMBERS:
        walked[id(quine)] = found


@contextmanager
def walked_once() -> Iterator[None]:
    """Walk through a network once inside, while nobody asks it anything: what it holds is then the same."""
    token = _WALKED.set({})
    try:
        yield
    finally:
        _WALKED.reset(token)


def _walk(quine: Quine) -> Found:
    stored = quine.stored_inputs()
    for name, tensor in named(stored).items():
        yield f"probe {name}", tensor.detach().double().reshape(-1).cpu()
    search = _Search({id(p) for p in quine.weights} | {id(m) for _, m in module_tree(quine.trunk)})
    for name, module in module_tree(quine.trunk):
        yield from search.module(name or "the trunk", module)
    yield from search.numbers("select", quine.select, _DEPTH)


def module_tree(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """``named_modules()`` as torch keeps them, whatever a module says of itself."""
    seen: set[int] = set()
    waiting = [("", root)]
    while waiting:
        name, module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield name, module
        children = [(f"{name}.{n}" if name else n, m) for n, m in vars(module)["_modules"].items() if m is not None]
        waiting += reversed(children)


def hidden_parameters(quine: Quine) -> list[str]:
    """Names of parameters that the trunk holds and does not name when it is asked for them."""
    told = {id(p) for p in quine.trunk.parameters()} & {id(p) for _, p in quine.trunk.named_parameters()}
    return [
        f"{name}.{key}" if name else key
        for name, module in module_tree(quine.trunk)
        for key, parameter in vars(module)["_parameters"].items()
        if parameter is not None and id(parameter) not in told
    ]


class _Search:
    """One walk through a trunk; it passes over what it has ``seen``."""

    def __init__(self, seen: set[int]) -> None:
        self.seen = seen

    def module(self, name: str, module: nn.Module, depth: int = _DEPTH) -> Found:
        foreign = not _of_library(type(module))
        attributes = {k: v for k, v in vars(module).items() if k != "_modules"}
        for key, value in attributes.items():
            yield from self.numbers(name if key == "_parameters" else f"{name}.{key}", value, depth)
        if foreign:
            yield from _settings(f"{name}'s settings", attributes.values())
            yield from self.members(name, type(module), depth)

    def members(self, name: str, cls: type, depth: int) -> Found:
        """Search a class and the classes it comes from."""
        for base in cls.__mro__:
            if _of_library(base) or id(base) in self.seen:
                continue
            self.seen.add(id(base))
            for key, value in list(vars(base).items()):
                if not key.startswith("__") or isinstance(value, types.FunctionType):
                    yield from self.numbers(f"{name}.{key}", value, depth - 1)

    def numbers(self, name: str, value: Any, depth: int) -> Found:
        """What a value holds; nothing where it raises when it is looked at."""
        try:
            yield from self.held(name, value, depth)
        except Exception:  # whatever somebody's object raises: of such a network not all is known anyway
            return

    def held(self, name: str, value: Any, depth: int) -> Found:
        if depth == 0 or id(value) in self.seen or value is None or isinstance(value, int | float):
            return
        if isinstance(value, str):
            yield from _spelled(name, value)
            return
        self.seen.add(id(value))
        if isinstance(value, Tensor | np.ndarray | np.generic):
            for part in _parts(value):
                yield name, part
            if isinstance(value, np.ndarray) and value.dtype == object:
                yield from self.items(name, value.reshape(-1).tolist(), depth)
        elif isinstance(value, bytes | bytearray | memoryview):
            for part in _reinterpreted(np.frombuffer(bytes(value), np.uint8)):
                yield name, part
            yield from _spelled(name, bytes(value).decode("utf-8", "ignore"))
        elif isinstance(value, nn.Module):
            for inner, module in module_tree(value):
                if id(module) not in self.seen or module is value:
                    self.seen.add(id(module))
                    yield from self.module(f"{name}.{inner}" if inner else name, module, depth - 1)
        elif isinstance(value, Mapping):
            yield from _settings(name, value.values())
            for key, item in list(value.items()):
                yield from self.numbers(f"{name}[{key!r}]" if name else str(key), item, depth - 1)
        elif isinstance(value, list | tuple | set | frozenset | deque) or type(value).__module__ == "array":
            yield from self.items(name, list(value), depth)
        elif isinstance(value, type):
            yield from self.members(name, value, depth)
        elif isinstance(value, functools.partial):
            yield from self.items(name, [value.func, value.args, value.keywords], depth)
        elif isinstance(value, property):
            yield from self.numbers(name, value.fget, depth - 1)
        elif isinstance(value, types.MethodType | staticmethod | classmethod):
            yield from self.numbers(name, value.__func__, depth)
            yield from self.numbers(name, getattr(value, "__self__", None), depth - 1)
        elif isinstance(value, _BUILTIN):
            if not isinstance(value.__self__, types.ModuleType):
                yield from self.numbers(name, value.__self__, depth - 1)
        elif isinstance(value, types.FunctionType):
            yield from self.function(name, value, depth)
        elif not isinstance(value, types.ModuleType):
            yield from self.object(name, value, depth)

    def items(self, name: str, values: list[Any], depth: int) -> Found:
        if values and all(isinstance(v, int | float) for v in values):
            yield name, torch.tensor([float(v) for v in values], dtype=torch.float64)
            return
        arrays = (v for v in values if isinstance(v, Tensor | np.ndarray | np.generic) and id(v) not in self.seen)
        parts = [torch.as_tensor(v) for v in arrays]
        if 1 < len(parts) == len(values) and all(_real(part) for part in parts):
            yield name, torch.cat([part.detach().double().reshape(-1).cpu() for part in parts])
        for item in values:
            yield from self.numbers(name, item, depth - 1)

    def function(self, name: str, function: types.FunctionType, depth: int) -> Found:
        if _root(function.__module__) in _LIBRARIES:
            return
        for cell in function.__closure__ or ():
            try:
                yield from self.numbers(f"{name} (closure)", cell.cell_contents, depth - 1)
            except ValueError:  # a cell that is still empty
                continue
        yield from self.numbers(f"{name} (defaults)", function.__defaults__, depth - 1)
        yield from self.numbers(f"{name} (defaults)", function.__kwdefaults__, depth - 1)
        yield from self.code(name, function.__code__, function, depth)

    def code(self, name: str, code: types.CodeType, function: types.FunctionType, depth: int) -> Found:
        literals = f"{name} (literals)"
        yield from _settings(literals, code.co_consts)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                yield from self.code(name, constant, function, depth)
            elif isinstance(constant, tuple | frozenset | bytes | str) and len(constant) >= _FEW:
                yield from self.numbers(literals, constant, depth - 1)
        for used in code.co_names:
            held = function.__globals__.get(used)
            if isinstance(held, _HOLDERS) or (
                _root(getattr(held, "__module__", None) or type(held).__module__) == _root(function.__module__)
                or isinstance(held, types.SimpleNamespace | functools.partial)
            ):
                yield from self.numbers(f"global {used}", held, depth - 1)

    def object(self, name: str, value: Any, depth: int) -> Found:
        attributes = dict(getattr(value, "__dict__", {}))
        for cls in type(value).__mro__:
            slots = vars(cls).get("__slots__", ()) if not _of_library(cls) else ()
            for key in (slots,) if isinstance(slots, str) else tuple(slots):
                if hasattr(value, key):
                    attributes[key] = getattr(value, key)
        yield from _settings(f"{name}'s settings", attributes.values())
        for key, item in attributes.items():
            yield from self.numbers(f"{name}.{key}", item, depth - 1)
        if callable(value):
            yield from self.members(name, type(value), depth - 1)


def _root(module: str | None) -> str:
    return (module or "").partition(".")[0]


def _of_library(cls: type) -> bool:
    return _root(cls.__module__) in _LIBRARIES


def _settings(name: str, values: Any) -> Found:
    """Single floating-point numbers that stand side by side, if they are more than settings usually are."""
    numbers = [v for v in values if issubclass(type(v), float)]  # a class may lie about itself, or raise
    if len(numbers) >= _FEW:
        yield name, torch.tensor(numbers, dtype=torch.float64)


def _spelled(name: str, text: str) -> Found:
    """The numbers that a text spells, if they are more than those of a version or a size."""
    numbers = [float(found) for found in _SPELLED.findall(text[:_TEXT])]
    if len(numbers) >= _FEW:
        yield name, torch.tensor(numbers, dtype=torch.float64)


def _real(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_complex() and not tensor.is_meta


def _parts(value: Tensor | np.ndarray | np.generic) -> Iterator[Tensor]:
    """The numbers of an array, and those that its bytes may stand for."""
    try:
        if isinstance(value, Tensor):
            tensor = value.detach().cpu()
            tensor = (tensor if tensor.layout == torch.strided else tensor.to_dense()).resolve_conj()
        else:
            array = np.ascontiguousarray(value).reshape(-1)
            tensor = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    except (
        TypeError,
        RuntimeError,
        ValueError,
        NotImplementedError,
    ):  # objects, texts, meta and quantized tensors: no numbers
        return
    if tensor.is_complex():
        yield from (part.double().reshape(-1) for part in (tensor.real, tensor.imag))
    elif tensor.dtype != torch.bool:
        yield tensor.double().reshape(-1)
        if not tensor.is_floating_point():
            yield from _reinterpreted(np.frombuffer(tensor.contiguous().numpy().tobytes(), np.uint8))


def _reinterpreted(data: np.ndarray) -> Iterator[Tensor]:
    """The numbers that bytes may stand for, wherever the first begins."""
    for kind in (np.float64, np.float32):
        width = np.dtype(kind).itemsize
        for start in range(width if len(data) <= _TEXT else 1):
            count = (len(data) - start) // width
            if count < _FEW:
                continue
            values = torch.from_numpy(data[start : start + count * width].view(kind).astype(np.float64))
            if bool(torch.isfinite(values).all()):
                yield values
