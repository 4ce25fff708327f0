"""Methods by name. A new method is one new file, whose class registers its names here.

A class outside this package does the same, and is found by name as soon as its module is imported::

    from neuralquine.solving.methods import method

    @method({"halley": {}})
    @dataclass(frozen=True, kw_only=True)
    class Halley: ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from ...errors import BadOption, UnknownName, did_you_mean
from .base import Method

METHODS: dict[str, Method] = {}
"""Every registered method by name, in the order in which their files are imported."""

M = TypeVar("M", bound=type)


def method(names: Mapping[str, Mapping[str, Any]]) -> Callable[[M], M]:
    """Register a class of methods under one name or several.

    Args:
        names: every name with the hyper-parameters that it stands for; others have their defaults.

    Raises:
        BadOption: a name is taken by another class.
    """

    def register(made: M) -> M:
        for name, options in names.items():
            other = type(METHODS.get(name))
            if name in METHODS and (other.__module__, other.__qualname__) != (made.__module__, made.__qualname__):
                raise BadOption(f"the method name {name!r} is taken by {other.__qualname__}: choose another")
            METHODS[name] = made(**options)
        return made

    return register


def name_of(tool: Method) -> str:
    """The name that a method goes by: of those of its class the one whose hyper-parameters are the nearest."""
    same = {name: made for name, made in METHODS.items() if type(made) is type(tool)}
    if not same:
        return type(tool).__name__.lower()
    return min(same, key=lambda name: sum(getattr(same[name], f.name) != getattr(tool, f.name) for f in fields(tool)))


def make_method(name: str, options: dict[str, Any] | None = None) -> Method:
    """A method by name with some of its hyper-parameters changed.

    Raises:
        UnknownName: there is no such method or option; the message suggests the nearest.
        BadOption: the value of an option is of the wrong type.
    """
    if name not in METHODS:
        raise UnknownName(f"no method {name!r}: {did_you_mean(name, list(METHODS))}")
    found = METHODS[name]
    known = {f.name: f for f in fields(found)}
    for key, value in (options or {}).items():
        if key not in known:
            raise UnknownName(f"{name} has no option {key!r}: {did_you_mean(key, list(known))}")
        wanted = type(getattr(found, key))
        number = wanted is float and isinstance(value, int | float) and not isinstance(value, bool)
        if not number and type(value) is not wanted:
            raise BadOption(f"{name}: {key} must be {wanted.__name__}, not {value!r}")
    return replace(found, **(options or {}))
