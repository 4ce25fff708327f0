"""What a request asks for, checked field by field before anything is done."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from ..errors import BadOption

INK = 64  # numbers of a drawing, 8 x 8
_FULL = 16  # the darkest number of a drawing
_PAINTED = 20_000  # cells of one wound: every cell of a heat map is 96 x 192
_DIGITS = 9  # of a number in an address
_EDGE = 1000  # rows, columns or layers: more than any network of the lab has


async def body(request: Request, *known: str) -> dict[str, Any]:
    """Read the JSON object of a request.

    Raises:
        BadOption: it is no JSON object, or has other fields than the known ones.
    """
    try:
        data = await request.json()
    except (ValueError, RecursionError) as error:
        raise BadOption("the body is not JSON") from error
    if not isinstance(data, dict) or set(data) - set(known):
        raise BadOption(f"the body must be an object of {', '.join(known) or 'nothing'}")
    return data


def number(text: str) -> int:
    """Return a number from an address or a header; -1 where it is none, or so long that nothing is numbered so."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) < _DIGITS else -1


def whole(data: dict[str, Any], key: str, low: int, high: int, default: int) -> int:
    """Return a whole number from ``low`` to ``high``."""
    value = data.get(key, default)
    if type(value) is not int or not low <= value <= high:
        raise BadOption(f"{key} must be a whole number from {low} to {high}")
    return value


def seed(data: dict[str, Any]) -> int:
    """Return the seed, which a page can hold exactly."""
    return whole(data, "seed", 0, 2**32 - 1, 0)


def flag(data: dict[str, Any], key: str) -> bool:
    """Return true or false; false where the field is missing."""
    value = data.get(key, False)
    if type(value) is not bool:
        raise BadOption(f"{key} must be true or false")
    return value


def name(data: dict[str, Any], key: str, known: list[str], default: str | None = None) -> str:
    """Return one of the known names."""
    value = data.get(key, default)
    if value not in known:
        raise BadOption(f"{key} must be one of {', '.join(map(repr, known))}")
    return value


def share(data: dict[str, Any]) -> float:
    """Return a share of the weights, from 0 to 1."""
    value = data.get("share", 0)
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise BadOption("share must be a number from 0 to 1")
    return value


def layer(data: dict[str, Any]) -> int | None:
    """Return the number of a tensor; None stands for all of them."""
    return None if data.get("layer") is None else whole(data, "layer", 0, _EDGE, 0)


def cells(data: dict[str, Any]) -> list[list[list[int]]] | None:
    """Return the painted cells of each tensor's heat map; None where nothing was painted."""
    value = data.get("cells")
    if value is not None and not _are_cells(value):
        raise BadOption(f"cells must be lists of [row, column], one for each layer, at most {_PAINTED} in all")
    return value


def _are_cells(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(painted, list) for painted in value):
        return False
    every = [cell for painted in value for cell in painted]
    return len(every) <= _PAINTED and all(
        isinstance(cell, list) and len(cell) == 2 and all(type(v) is int and 0 <= v < _EDGE for v in cell)
        for cell in every
    )


def ink(data: dict[str, Any]) -> list[float]:
    """Return a drawing of 8 x 8 numbers from 0 to 16."""
    value = data.get("ink")
    if (
        not isinstance(value, list)
        or len(value) != INK
        or not all(type(v) in (int, float) and 0 <= v <= _FULL for v in value)
    ):
        raise BadOption(f"ink must be {INK} numbers from 0 to {_FULL}")
    return value
