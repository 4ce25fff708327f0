"""Strict JSON: a file from elsewhere is read with suspicion, and what is written can be read by every other parser."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ..errors import QuineFileError, first_line

_MAX_JSON = 16 << 20  # bytes; the largest description of a trunk that was ever written takes less than one MiB


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from an untrusted file.

    Raises:
        QuineFileError: the file is missing, is larger than 16 MiB, is not a JSON object, holds NaN or infinity, or
            names a key twice.
    """
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait forever
            raise QuineFileError(f"{path} is not a file")
        if path.stat().st_size > _MAX_JSON:
            raise QuineFileError(f"{path} is larger than {_MAX_JSON >> 20} MiB: not a file of neuralquine")
        data = json.loads(
            path.read_text(encoding="utf-8"), parse_float=_finite, parse_constant=_finite, object_pairs_hook=_unique
        )
    except FileNotFoundError as error:
        raise QuineFileError(f"{path} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise QuineFileError(f"{path} is not readable JSON: {first_line(error)}") from error
    if not isinstance(data, dict):
        raise QuineFileError(f"{path} does not hold a JSON object")
    return data


def canonical(data: dict[str, Any]) -> str:
    """Write JSON in one spelling, so that equal objects are equal texts and have equal hashes.

    Raises:
        ValueError: the object holds NaN or infinity.
    """
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def finite_or_none(value: Any) -> Any:
    """Replace NaN and infinity by None, because JSON has no spelling for them; everything else is returned as it is."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):  # also 1e400, which JSON allows
        raise ValueError(f"it holds {text[:20]}")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError("it names a key twice")
    return data
