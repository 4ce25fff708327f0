"""The command that solves many problems: sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .interruption import interrupted, terminate_like_interrupt
from .known import check_name, check_recipe
from .options import AsJson, app
from .report import print_json


@app.command()
def sweep(
    spec: Annotated[
        Path, typer.Argument(help="TOML file: recipe = [...], seed = '0-99', exact, method, [options].", metavar="FILE")
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Write the results to this folder; an interrupted sweep in it is continued.", metavar="FOLDER"
        ),
    ],
    processes: Annotated[
        int,
        typer.Option(
            "-j",
            "--processes",
            help="Use so many processes; by default one per core.",
            metavar="N",
            show_default=False,
            min=0,
        ),
    ] = 0,
    ray: Annotated[bool, typer.Option("--ray", help="Solve on a Ray cluster (extra `ray`).")] = False,
    as_json: AsJson = False,
) -> None:
    """Solve many problems into one table.

    Every combination of recipes, seeds and options is solved, and the table is a Parquet file (extra `sweep`).
    """
    from ..solving.sweep import read_spec
    from ..solving.sweep import sweep as run

    jobs = read_spec(spec)
    for job in jobs.jobs:
        check_recipe(job["recipe"])
        if job.get("method"):
            check_name(job["method"], "method")

    def show(done: int, total: int) -> None:
        typer.echo(f"{done} of {total}", err=True)

    try:
        with terminate_like_interrupt():
            table = run(jobs, out, processes=processes, ray=ray, progress=None if as_json else show)
    except KeyboardInterrupt as error:
        raise interrupted(f"finished jobs are in {out}", resume="") from error
    if as_json:
        print_json({"jobs": len(jobs.jobs), "table": str(table)})
    else:
        typer.echo(f"{len(jobs.jobs)} jobs in {table}")
