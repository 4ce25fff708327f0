"""The command that finds several quines of one network: zoo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import plural
from ..files.strict_json import finite_or_none
from .interruption import interrupted, terminate_like_interrupt
from .known import check_recipe
from .options import AsJson, Device, Recipe, RecipeOption, Seed, app, key_values
from .report import figure, print_json, table

if TYPE_CHECKING:
    from ..quines.quine import Quine
    from ..solving.zoo import Zoo

_COLUMNS = (
    "spectral_radius",
    "self_sensitivity",
    "relative_residual",
    "max_abs_residual",
    "weight_rms",
    "differing_weights",
)


@app.command()
def zoo(
    recipe: Recipe,
    starts: Annotated[int, typer.Option(help="Search from so many starting points.", metavar="N", min=1)] = 40,
    seed: Seed = 0,
    recipe_option: RecipeOption = [],  # noqa: B006
    device: Device = "cpu",
    out: Annotated[
        Path | None, typer.Option(help="Write each quine to a folder of its own in this one.", metavar="FOLDER")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the distinct quines of one network and probe."""
    check_recipe(recipe)
    from ..quines.networks.running import usable
    from ..recipes.own import recipe_or_own
    from ..solving.zoo import zoo as run

    place = usable(device)
    quine = recipe_or_own(recipe, seed=seed, **key_values(recipe_option, "--recipe-option")).to(place)
    with terminate_like_interrupt():
        found = run(quine, starts=starts, progress=None if as_json else lambda n: typer.echo(f"{n} found", err=True))
    rows = _rows(quine, found, out)
    if as_json:
        print_json({"recipe": recipe, "seed": seed, **_figures(quine, found), "quines": rows})
    else:
        headings = ["quine", *(c.replace("_", " ") for c in _COLUMNS)]
        table(headings, [[str(i), *(figure(r[c]) for c in _COLUMNS)] for i, r in enumerate(rows, 1)])
        typer.echo(
            f"{plural(len(rows), 'distinct quine')} of {recipe} (seed {seed}) from {plural(starts, 'start')}: "
            f"{found.map_evaluations} map evaluations, {found.jvps} JVPs, {found.seconds:.2f} s"
        )
    if found.interrupted:
        raise interrupted("these are the quines that were found until then")
    if not rows:
        raise typer.Exit(1)


def _rows(quine: Quine, found: Zoo, out: Path | None) -> list[dict[str, Any]]:
    """The figures of each quine; it is written to a folder where one is named."""
    from ..keeping.store import save

    rows = []
    for number, entry in enumerate(found.quines, 1):
        row = {k: finite_or_none(v) for k, v in entry.figures().items()}
        if out is not None:
            folder = out / f"quine-{number:02d}"
            quine.code_bits = None  # they are quines of the unrounded map
            quine.theta = entry.theta
            save(quine, folder)
            row["out"] = str(folder)
        rows.append(row)
    return rows


def _figures(quine: Quine, found: Zoo) -> dict[str, Any]:
    """The figures of the whole search."""
    return {
        "starts": found.starts,
        "distinct": len(found.quines),
        "rejected": found.rejected,
        "parameters": quine.parameter_count,
        "map_evaluations": found.map_evaluations,
        "jvps": found.jvps,
        "seconds": found.seconds,
        "interrupted": found.interrupted,
    }
