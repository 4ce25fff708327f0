"""How results read on a terminal, and as one JSON object."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..keeping.card import word

if TYPE_CHECKING:
    from ..checking.verify import Verification
    from ..solving.solution import Solution


def report_solution(recipe: str, solution: Solution, out: Path | None) -> None:
    """What a solve found, for a person."""
    v = solution
    head = (
        "A quine: the network prints its own weights, every bit."
        if v.converged and v.bit_exact
        else "A quine: the network prints its own weights."
        if v.converged
        else "No quine."
    )
    typer.echo(f"{head} {v.status.value[0].upper()}{v.status.value[1:]}.")
    if not v.converged and v.detail:
        typer.echo(f"  {v.detail}")
    pairs(
        [
            ("recipe", f"{recipe}, seed {v.seed}, {v.parameters} weights in {v.dtype}"),
            ("relative residual", f"{v.relative_residual:.2e}   (||F(theta) - theta|| / ||theta||)"),
            ("largest difference", f"{v.max_abs_residual:.1e}"),
            ("RMS weight", f"{v.weight_rms:.3g}"),
            (
                "bit-exact",
                f"{'yes' if v.bit_exact else 'no'}: {v.differing_weights} of {v.parameters} weights differ in some bit",
            ),
            *([("code grid", v.detail)] if v.code_bits is not None else []),
            ("self-sensitivity", sensitivity(v) + "   (0 would be a printed constant)"),
            ("spectral radius", radius(v.spectral_radius) + "   (above 1, plain regeneration is repelled)"),
            (
                "found by",
                f"{v.method}: {v.map_evaluations} map evaluations, {v.jvps} JVPs, {v.steps} steps, {v.seconds:.3f} s",
            ),
        ]
    )
    if out is not None:
        typer.echo(f"written to {out}: check it with `neuralquine verify {out}`")
    elif v.converged:
        typer.echo("keep it with --out DIR")


def report_verification(folder: Path, v: Verification, portable_reason: str = "") -> None:
    """What a verification found, for a person."""
    typer.echo(f"{folder}: {'a quine' if v.is_quine else 'NOT a quine'}")
    for trick in v.trivial:
        typer.echo(f"  trivial, {trick}")
    pairs(
        [
            (
                "converged",
                f"{word(v.converged)}   (relative residual {v.relative_residual:.2e}, largest difference {v.max_abs_residual:.1e})",
            ),
            (
                "bit-exact",
                f"{word(v.bit_exact)}   ({v.differing_weights} of {v.parameters} weights differ, at most {v.max_ulp} ulp)",
            ),
            (
                "portable",
                ("proved" if v.portable else word(v.portable)) + (f"   ({portable_reason})" if portable_reason else ""),
            ),
            ("proved", word(v.proved) + ("   (its certificate holds)" if v.proved else "")),
            ("RMS weight", f"{v.weight_rms:.3g} in {v.dtype}"),
            ("self-sensitivity", sensitivity(v)),
            ("response", f"{radius(v.response)}   (to other weights; 0 would be a printed constant)"),
            ("spectral radius", radius(v.spectral_radius)),
            ("generations survived", f"{v.generations_survived} of {v.generations_tried}"),
            ("numbers outside", f"{v.numbers_outside} (probe, buffers, attributes)"),
        ]
    )


def pairs(rows: list[tuple[str, str]]) -> None:
    """Labels and what they stand for, in two columns."""
    for label, value in rows:
        typer.echo(f"  {label:<21}{value}")


def sensitivity(v: Solution | Verification) -> str:
    """Of a large network, whose spectral radius is not computed, only a lower bound is."""
    bound = math.isnan(v.spectral_radius) and not math.isnan(v.self_sensitivity)
    return f"{'at least ' if bound else ''}{v.self_sensitivity:.3g}"


def radius(value: float) -> str:
    """A large network's eigenvalues are not computed unasked."""
    return "not computed" if value != value else f"{value:.3g}"


def figure(value: Any) -> str:
    """A number as it stands in a table."""
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def table(columns: list[str], rows: list[list[str]]) -> None:
    """Rows under headings."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        grid.add_row(*row)
    Console().print(grid)


def listing(columns: list[str], rows: list[list[str]], as_json: bool, key: str) -> None:
    """Things that can be named: recipes or methods."""
    if as_json:
        print_json({key: [dict(zip(("name", "summary", "options"), row, strict=True)) for row in rows]})
        return
    for name, summary, options in rows:
        typer.echo(f"{name}\n    {summary}" + (f"\n    options: {options}" if options else ""))


def print_json(data: dict[str, Any]) -> None:
    """One JSON object; NaN is refused."""
    typer.echo(json.dumps(data, allow_nan=False))
