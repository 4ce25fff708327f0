"""The command that lets populations live: evolve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson, RecipeOption, app, key_values, terminate_like_interrupt
from .report import print_json

if TYPE_CHECKING:
    from ..evolution import World


@app.command()
def evolve(
    recipe: Annotated[str, typer.Argument(help="soup, digits or fertility; docs/evolution.md describes them.")],
    out: Annotated[Path, typer.Option(help="Folder of the tables, the figures and the state.")],
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.", min=0)] = 0,
    generations: Annotated[int, typer.Option(help="How many; 0 for the recipe's own number.", min=0)] = 0,
    time_limit: Annotated[float, typer.Option(help="Seconds after which no generation begins; 0 for none.", min=0)] = 0,
    recipe_option: RecipeOption = [],  # noqa: B006
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the state in --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let a population of self-printing networks live (extras `sweep` and `plot`)."""
    from ..evolution import live, world

    options = key_values(recipe_option, "--recipe-option")
    made = world(recipe, seed=seed, generations=generations or None, **options)

    shown = sys.stderr.isatty() and not as_json

    def show(now: World) -> None:
        typer.echo(f"\r\x1b[Kgeneration {now.age} of {now.generations}: {now.status()}", err=True, nl=False)

    try:
        with terminate_like_interrupt():
            life = live(made, out, time_limit=time_limit or None, resume=resume, progress=show if shown else None)
    except KeyboardInterrupt:
        typer.echo(f"\nneuralquine: interrupted: the same command with --resume goes on from {out}", err=True)
        raise typer.Exit(130) from None
    if shown:
        typer.echo("\r\x1b[K", err=True, nl=False)
    if as_json:
        print_json({"recipe": recipe, "seed": seed} | life.figures())
        return
    typer.echo(f"{recipe}, seed {seed}: {life.generations} generations in {life.seconds:.0f} s. {made.status()}.")
    for name, value in life.result.items():
        typer.echo(f"  {name.replace('_', ' '):<21}{f'{value:.4g}' if isinstance(value, float) else value}")
    typer.echo(f"written to {out}: {', '.join(life.files)}")
    if not life.finished:
        typer.echo("the time limit came first: --resume goes on")
