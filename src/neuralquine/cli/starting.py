"""A process starts and ends quickly: nothing looks for garbage among what lives as long as the process."""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, get_args


class _Resting(MetaPathFinder):
    """Imports torch with the garbage collector at rest, which takes a seventh of the time: it makes a million objects to keep."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def resting(module: ModuleType) -> None:
                on = gc.isenabled()
                gc.disable()
                try:
                    execute(module)
                finally:
                    gc.freeze()  # nor is it looked through later
                    if on:
                        gc.enable()

            spec.loader.exec_module = resting
        return spec


@contextlib.contextmanager
def briefly() -> Iterator[None]:
    """Let a command import torch quickly inside, and the process end without looking for garbage that goes with it."""
    resting = _Resting()
    sys.meta_path.insert(0, resting)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    try:
        yield
    finally:
        if resting in sys.meta_path:
            sys.meta_path.remove(resting)


def spared(parameters: list[Any]) -> list[Any]:
    """The parameters of a command, which convert by pydantic (as typer does since 0.29) only what needs it."""
    for parameter in parameters:
        whole = getattr(parameter, "get_runtime_param", None)
        if whole is not None and "get_runtime_param" not in vars(parameter):
            vars(parameter)["get_runtime_param"] = functools.partial(_AsItIs, whole)
    return parameters


class _AsItIs:
    """What typer makes of a value that needs no conversion: a word, or a default. Its own way first imports pydantic.

    Args:
        whole: gives typer's own conversion, for every other value.
    """

    def __init__(self, whole: Callable[[], Any]) -> None:
        self._whole = whole

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value as the command is handed it."""
        info, kind = param.type_descriptor.parameter_info, param.type_descriptor.annotation
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if getattr(info, "parser", None) is getattr(info, "click_type", None) is None:
            if kind is str and type(value) is str:
                return value
            if kind in (int, float) and value is param.default:
                return kind(value)
            if get_args(kind) == (str,) and isinstance(value, list | tuple) and all(type(v) is str for v in value):
                return value
        return self._whole().coerce(value, param=param, ctx=ctx)
