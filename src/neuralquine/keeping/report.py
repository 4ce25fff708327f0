"""The claims of a folder about itself, which are shown and compared and never believed."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..checking.verify import Verification
from ..files.names import SOLUTION
from ..files.strict_json import read_json

_LARGEST = 1e36  # of a figure of a search: seconds, steps and residuals are far below


@dataclass(frozen=True, slots=True)
class Search:
    """How a quine was found, as its folder says."""

    method: str
    status: str
    seed: int
    map_evaluations: int
    jvps: int
    steps: int


def saved_search(folder: Path) -> Search | None:
    """How a folder says that its quine was found; None if it does not, or in another form."""
    solve = _read_report(folder).get("solve")
    if not isinstance(solve, dict):
        return None
    told = {field.name: solve.get(field.name) for field in fields(Search)}
    words = all(isinstance(told[w], str) and re.fullmatch(r"[\w -]{1,40}", str(told[w])) for w in ("method", "status"))
    counts = [v for name, v in told.items() if name not in ("method", "status")]
    if not words or not all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 1 << 64 for v in counts):
        return None
    return Search(**told)  # pyright: ignore[reportArgumentType]


def saved_accuracy(folder: Path) -> float | None:
    """The test accuracy that a folder says its quine had; None if it says none, or no share."""
    said = _read_report(folder).get("test_accuracy")
    return float(said) if isinstance(said, int | float) and not isinstance(said, bool) and 0 <= said <= 1 else None


def saved_trace(folder: Path) -> list[dict[str, Any]]:
    """The trace of the search, for drawing; empty if there is none or it is malformed."""
    solve = _read_report(folder).get("solve")
    trace = solve.get("trace") if isinstance(solve, dict) else None
    keys = ("step", "seconds", "relative_residual")
    points = trace if isinstance(trace, list) else []
    return [p for p in points if isinstance(p, dict) and all(_drawable(p.get(k)) for k in keys)]


def false_claims(folder: Path, verification: Verification, *, unchecked: bool = False) -> list[str]:
    """Claims of ``solution.json`` that the recomputed figures deny.

    Args:
        folder: of the quine.
        verification: what was found.
        unchecked: its certificate could not be checked, so that "proved" is neither confirmed nor denied.
    """
    claimed = _read_report(folder).get("verification")
    if not isinstance(claimed, dict):
        return []
    found = verification.figures()
    words = ("is_quine", "converged", "bit_exact", "portable", *(() if unchecked else ("proved",)))
    lies = [f"{w} is claimed, and is not so" for w in words if claimed.get(w) is True and found[w] is not True]
    said, seen = claimed.get("relative_residual"), verification.relative_residual
    if isinstance(said, int | float) and seen > 10 * max(said, 1e-15):
        shown = f"{said:.1e}" if _drawable(said) else "below 0"
        lies.append(f"relative residual {shown} is claimed, {seen:.1e} is found")
    return lies


def _drawable(value: Any) -> bool:
    """Whether this is a number that an axis can be drawn for."""
    return isinstance(value, int | float) and -_LARGEST <= value <= _LARGEST


def _read_report(folder: Path) -> dict[str, Any]:
    return read_json(folder / SOLUTION) if (folder / SOLUTION).exists() else {}
