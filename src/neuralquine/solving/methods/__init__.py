"""Methods for fixed points of a map on rows of points: one file, one method.

A method is a frozen dataclass of its hyper-parameters with ``init`` and ``step``. It proposes points; whether
a point is good is decided by ``judge.py``, by one rule for all of them.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from ...errors import UnknownName, did_you_mean
from .anderson import Anderson
from .base import Method, State
from .broyden import Broyden
from .epochs import Epochs
from .gradient import OPTIMIZERS, Gradient
from .hill_climbing import HillClimbing
from .krylov_lm import KrylovLM
from .newton import Newton
from .newton_krylov import NewtonKrylov
from .picard import Picard

METHODS: dict[str, Method] = {
    "picard": Picard(),
    "regeneration": Picard(space="full"),
    "anderson": Anderson(),
    "broyden": Broyden(),
    "newton": Newton(),
    "newton-krylov": NewtonKrylov(),
    "krylov-lm": KrylovLM(),
    "newton-full": Newton(space="full", line_search=False),
    "deflation": Newton(deflate=True),
    "epochs": Epochs(),
    "hill-climbing": HillClimbing(),
    **{name: Gradient(optimizer=name) for name in OPTIMIZERS},
}


def make_method(name: str, options: dict[str, Any] | None = None) -> Method:
    """A method by name with some of its hyper-parameters changed.

    Raises:
        UnknownName: no such method or option; the message suggests the nearest.
        TypeError: an option of the wrong type.
    """
    if name not in METHODS:
        raise UnknownName(f"no method {name!r}: {did_you_mean(name, list(METHODS))}")
    method = METHODS[name]
    known = {f.name: f for f in fields(method)}
    for key, value in (options or {}).items():
        if key not in known:
            raise UnknownName(f"{name} has no option {key!r}: {did_you_mean(key, list(known))}")
        wanted = type(getattr(method, key))
        number = wanted is float and isinstance(value, int | float) and not isinstance(value, bool)
        if not number and type(value) is not wanted:
            raise TypeError(f"{name}: {key} must be {wanted.__name__}, not {value!r}")
    return replace(method, **(options or {}))


__all__ = [
    "METHODS",
    "Anderson",
    "Broyden",
    "Epochs",
    "Gradient",
    "HillClimbing",
    "KrylovLM",
    "Method",
    "Newton",
    "NewtonKrylov",
    "Picard",
    "State",
    "make_method",
]
