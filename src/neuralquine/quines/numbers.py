"""Numbers as a user hands them in: Python's, or those of NumPy and of tensors, which files and hashes do not know."""

from __future__ import annotations

import operator
from typing import Any

from ..errors import BadOption


def whole(name: str, value: Any) -> int:
    """An integer of any library as Python's own.

    Raises:
        BadOption: it is none; 16.0 is not either.
    """
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise BadOption(f"{name} must be an integer, not {value!r}")


def real(name: str, value: Any) -> float:
    """A number of any library as Python's own.

    Raises:
        BadOption: it is none.
    """
    try:
        if not isinstance(value, bool | str | bytes):
            return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        pass
    raise BadOption(f"{name} must be a number, not {value!r}")
