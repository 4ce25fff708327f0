"""The command that lets populations live: evolve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .interruption import interrupted, terminate_like_interrupt
from .known import check_name, completed
from .options import AsJson, RecipeOption, app, key_values
from .report import print_json

if TYPE_CHECKING:
    from ..evolution import World
    from ..evolution.life import Life


WorldName = Annotated[
    str,
    typer.Argument(
        help="A world: soup, digits or fertility. docs/evolution.md describes them.",
        autocompletion=completed("world"),
        metavar="WORLD",
    ),
]
Generations = Annotated[
    int,
    typer.Option(
        help="End after so many generations; by default after the world's own number.",
        metavar="N",
        show_default=False,
        min=0,
    ),
]
TimeLimit = Annotated[
    float,
    typer.Option(
        help="Begin no generation after so many seconds; by default there is no limit.",
        metavar="SECONDS",
        show_default=False,
        min=0,
    ),
]


@app.command()
def evolve(
    recipe: WorldName,
    out: Annotated[
        Path, typer.Option(help="Write the tables, the figures and the state to this folder.", metavar="FOLDER")
    ],
    seed: Annotated[int, typer.Option(help="Seed of everything random.", metavar="N", min=0)] = 0,
    generations: Generations = 0,
    time_limit: TimeLimit = 0,
    recipe_option: RecipeOption = [],  # noqa: B006
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the state in --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let a population of self-printing networks live.

    Their histories become tables and figures (extras `sweep` and `plot`).
    """
    check_name(recipe, "world")
    from ..evolution import live, world

    made = world(recipe, seed=seed, generations=generations or None, **key_values(recipe_option, "--recipe-option"))
    shown = sys.stderr.isatty() and not as_json

    def show(now: World) -> None:
        typer.echo(f"\r\x1b[Kgeneration {now.age} of {now.generations}: {now.status()}", err=True, nl=False)

    try:
        with terminate_like_interrupt():
            life = live(made, out, time_limit=time_limit or None, resume=resume, progress=show if shown else None)
    except KeyboardInterrupt:
        if shown:
            typer.echo("", err=True)
        raise interrupted(f"the last state is in {out}", resume="--resume") from None
    if shown:
        typer.echo("\r\x1b[K", err=True, nl=False)
    if as_json:
        print_json({"recipe": recipe, "seed": seed} | life.figures())
    else:
        _report(f"{recipe}, seed {seed}", made, life, out)


def _report(title: str, lived: World, life: Life, out: Path) -> None:
    """Print what became of a population, for a person."""
    typer.echo(f"{title}: {life.generations} generations in {life.seconds:.0f} s. {lived.status()}.")
    for name, value in life.result.items():
        typer.echo(f"  {name.replace('_', ' '):<21}{_text(value)}")
    typer.echo(f"written to {out}: {', '.join(life.files)}")
    if not life.finished:
        typer.echo("the time limit came first: the same command with --resume goes on")


def _text(value: Any) -> str:
    """A figure as a person reads it; those of a table are named or listed."""
    if isinstance(value, dict):
        return ", ".join(f"{str(key).replace('_', ' ')} {_text(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
