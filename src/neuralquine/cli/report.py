"""How results are shown: as text on a terminal, as one JSON object, and as figures in the folder."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import needed, word
from ..files.names import CONFIG
from ..files.strict_json import read_json
from .known import is_factory
from .tables import colored
from .tables import table as table

if TYPE_CHECKING:
    from ..checking.verify import Verification
    from ..quines.quine import Quine
    from ..solving.solution import Solution


def report_solution(
    recipe: str, solution: Solution, out: Path | None, *, kept: bool = False, grid: bool = True
) -> None:
    """Print what a solve found, for a person; ``kept`` says that ``neuralquine keep`` can still write it to a folder."""
    v = solution
    head = (
        "A quine: the network prints its own weights, every bit."
        if v.converged and v.bit_exact
        else "Not a quine to round-off: the network prints its own weights roughly."
        if v.loose
        else "A quine: the network prints its own weights."
        if v.converged
        else "No quine."
    )
    typer.echo(f"{verdict(head, v.converged and not v.loose)} {v.sentence[0].upper()}{v.sentence[1:]}.")
    for words in (v.course_in_words, v.detail):
        if not v.converged and words:
            typer.echo(f"  {words}")
    pairs(
        [
            ("recipe", f"{recipe}, seed {v.seed}, {v.parameters:,} weights in {v.dtype}"),
            *question(v),
            ("relative residual", f"{v.relative_residual:.2e}   (||F(theta) - theta|| / ||theta||)"),
            *_last_iterate(v),
            ("largest difference", f"{v.max_abs_residual:.1e}"),
            *_absolute_loss(v),
            ("RMS weight", f"{v.weight_rms:.3g}"),
            (
                "bit-exact",
                f"{word(v.bit_exact)}: {v.differing_weights:,} of {v.parameters:,} weights differ in some bit",
            ),
            *([("code grid", v.detail)] if v.code_bits is not None else []),
            *([] if v.portable is None else [("portable", "proved" if v.portable else "not proved")]),
            ("self-sensitivity", sensitivity(v) + "   (0 would be a printed constant)"),
            ("spectral radius", radius(v.spectral_radius) + (_attraction(v.spectral_radius) if v.converged else "")),
            (
                "found by",
                f"{_by(v.method)}: {v.map_evaluations:,} map evaluations, {v.jvps:,} JVPs, {v.steps:,} steps, {v.seconds:.3f} s",
            ),
        ]
    )
    if out is not None:
        report_kept(out, recipe)
    elif v.converged:
        after = "`neuralquine keep DIR` writes it to one" if kept else "--out DIR writes it to one"
        typer.echo(f"it is in no folder: {after}")
    if grid and v.converged and not v.bit_exact and v.code_bits is None:
        prospect = f": {v.prospect}" if v.prospect else ""
        typer.echo(f"`--exact` looks for one whose printed bits all equal the stored ones{prospect}")


def report_kept(folder: Path, recipe: str = "") -> None:
    """Say where a quine is, and how to check it.

    Args:
        folder: where it is.
        recipe: as it was typed; a function of somebody's own is asked again where the folder cannot describe its network.
    """
    again = shlex.quote(str(folder))
    if is_factory(recipe) and read_json(folder / CONFIG).get("trunk") is None:
        again += f" --trunk {shlex.quote(recipe)}"
    typer.echo(f"written to {folder}: check it with `neuralquine verify {again}`")


def verdict(text: str, good: bool) -> str:
    """A verdict, green or red on a terminal."""
    return colored(text, "green" if good else "red")


def _by(method: str) -> str:
    """What found a quine: a name that `--method` takes, or the search that `--exact` runs."""
    return "the lattice search of --exact" if method == "lattice" else method


def _attraction(radius: float) -> str:
    """What the spectral radius of a quine says; nothing where it was not computed."""
    if radius < 1:
        return ": attracts   (printed again and again, damaged weights come back to it)"
    return ": repels   (printed again and again, damaged weights leave it)" if radius > 1 else ""


def _last_iterate(v: Solution) -> list[tuple[str, str]]:
    """The row on the last iterate of a search that ended at no quine, where it is not the best one."""
    if v.converged or v.last_relative_residual == v.relative_residual or math.isnan(v.last_relative_residual):
        return []
    return [("last iterate", f"{v.last_relative_residual:.2e}   (the figures are those of the best one)")]


def _absolute_loss(v: Solution) -> list[tuple[str, str]]:
    """The row on the squared residual of what is no quine: the loss that a training loop reports."""
    if v.converged:
        return []
    zero = v.status.name == "ZERO_QUINE"
    return [
        (
            "squared residual",
            f"{v.squared_residual:.1e}   (the loss that {'the post' if zero else 'a loop'} would report)",
        )
    ]


def report_verification(folder: Path | str, v: Verification, portable_reason: str = "") -> None:
    """Print what a verification found, for a person."""
    typer.echo(f"{folder}: {verdict('a quine' if v.is_quine else 'NOT a quine', v.is_quine)}")
    for trick in v.trivial:
        typer.echo(f"  trivial, {trick}")
    pairs(
        [
            *question(v),
            (
                "converged",
                f"{word(v.converged)}   (relative residual {v.relative_residual:.2e}, largest difference {v.max_abs_residual:.1e})",
            ),
            (
                "bit-exact",
                f"{word(v.bit_exact)}   ({v.differing_weights:,} of {v.parameters:,} weights differ, at most {v.max_ulp} ulp)",
            ),
            (
                "portable",
                ("proved" if v.portable else word(v.portable)) + (f"   ({portable_reason})" if portable_reason else ""),
            ),
            ("proved", word(v.proved) + ("   (its certificate holds)" if v.proved else "")),
            ("RMS weight", f"{v.weight_rms:.3g} in {v.dtype}"),
            ("self-sensitivity", sensitivity(v)),
            ("response", f"{radius(v.response)}   (to other weights; 0 would be a printed constant)"),
            ("spectral radius", radius(v.spectral_radius) + (_attraction(v.spectral_radius) if v.converged else "")),
            ("nearest to 1", f"an eigenvalue {radius(v.distance_to_one)} away   (0 would be a line of quines)"),
            ("generations survived", f"{v.generations_survived} of {v.generations_tried}"),
            ("numbers outside", f"{v.numbers_outside} (probe, buffers, attributes)"),
            ("bits outside", v.room),
        ]
    )


def pairs(rows: list[tuple[str, str]]) -> None:
    """Print labels and their values in two columns."""
    for label, value in rows:
        typer.echo(f"  {label:<21}{value}")


def question(v: Solution | Verification) -> list[tuple[str, str]]:
    """What was asked and what answered, as two rows."""
    return [("asked", v.asked), ("answers", v.answers)]


def sensitivity(v: Solution | Verification) -> str:
    """A self-sensitivity as text, with "at least" where only a lower bound is known, as for large networks; why none is."""
    if math.isnan(v.self_sensitivity):
        return "not known: its derivative fails, is not finite, or is not that of what it computes"
    return f"{'at least ' if v.bound else ''}{radius(v.self_sensitivity)}"


def radius(value: float) -> str:
    """A figure as text, or "not computed" for NaN, as of large networks."""
    return "not computed" if value != value else f"{value:.3g}"


def figure(value: Any) -> str:
    """A figure as text for a table; None stands for one that was not computed."""
    if value is None:
        return "not computed"
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def print_json(data: dict[str, Any]) -> None:
    """Print one JSON object.

    Raises:
        ValueError: it holds NaN or infinity, which JSON cannot spell.
    """
    typer.echo(json.dumps(data, allow_nan=False))


def draw(quine: Quine, folder: Path) -> list[Path]:
    """Draw the figures of a quine into its folder; the four words of its verification stand in their titles."""
    needed("matplotlib", "plot", "drawing needs")
    from ..checking.plots import plot
    from ..checking.verify import verify
    from ..keeping.report import saved_trace

    found = verify(quine)
    claims = (("converged", found.converged), ("bit-exact", found.bit_exact), ("trivial", bool(found.trivial)))
    words = ", ".join(word for word, holds in claims if holds)
    return plot(quine, folder / "figures", trace=saved_trace(folder), words=words or "not converged")
