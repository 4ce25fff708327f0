"""The command that solves many: sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, app, terminate_like_interrupt
from .report import print_json


@app.command()
def sweep(
    spec: Annotated[Path, typer.Argument(help="TOML file: recipe = [...], seed = '0-99', exact, method, [options].")],
    out: Annotated[Path, typer.Option(help="Folder of the sweep; one that was interrupted is continued.")],
    processes: Annotated[int, typer.Option("-j", "--processes", help="Processes; 0 for one a core.", min=0)] = 0,
    ray: Annotated[bool, typer.Option("--ray", help="Over a Ray cluster (extra `ray`).")] = False,
    as_json: AsJson = False,
) -> None:
    """Solve every combination of recipes, seeds and options into one Parquet table (extra `sweep`)."""
    from ..solving.sweep import read_spec
    from ..solving.sweep import sweep as run

    jobs = read_spec(spec)

    def show(done: int, all_of_them: int) -> None:
        typer.echo(f"{done} of {all_of_them}", err=True)

    try:
        with terminate_like_interrupt():
            table = run(jobs, out, processes=processes, ray=ray, progress=None if as_json else show)
    except KeyboardInterrupt as error:
        typer.echo("interrupted: the same command continues", err=True)
        raise typer.Exit(130) from error
    if as_json:
        print_json({"jobs": len(jobs.jobs), "table": str(table)})
    else:
        typer.echo(f"{len(jobs.jobs)} jobs in {table}")
