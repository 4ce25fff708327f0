"""The command that runs the post from start to end: post."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .interruption import terminate_like_interrupt
from .options import AsJson, Seed, app, named
from .report import pairs, print_json

if TYPE_CHECKING:
    from ..keeping.post.run import Show


@app.command()
def post(
    out: Annotated[
        Path, typer.Option(help="Write the page and everything on it to this folder.", metavar="FOLDER")
    ] = Path("post"),
    steps: Annotated[
        int,
        typer.Option(
            help="Take so many steps of the post's loop; 0 for its 200,000, or 4,000 with --quick.", metavar="N", min=0
        ),
    ] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Take few steps, so that all is done within a minute.")
    ] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Run the blog post from start to end, into one page.

    Its network, its loop with the real loss at every step, part 1's Newton and the zero quine; then a quine, every bit of
    one, and the proof. The page needs nothing else. After Ctrl-C the same command goes on where it was.
    """
    from ..keeping.post.run import plan
    from ..keeping.post.run import run as run_post
    from ..keeping.post.write import figures, write

    out = named(out) or out
    wanted = plan(seed, steps or None, quick=quick)
    with terminate_like_interrupt(), _shown(quiet=as_json) as show:
        try:
            page = write(out, story := run_post(out, wanted, show))
        except KeyboardInterrupt:
            typer.echo(f"neuralquine: interrupted; what is done is kept in {out}: the same command goes on", err=True)
            raise typer.Exit(130) from None
    found = figures(story)
    if as_json:
        print_json({**found, "page": str(page)})
        return
    loop, ours = found["loop"], found["quine"]
    pairs(
        [
            (
                "the post's loop",
                f"{loop['steps']:,} steps: last {loop['last']:.2g}, best {loop['best']:.2g} (relative)",
            ),
            (
                "the zero quine",
                f"loss {found['zero']['squared_residual']:.1e}, relative {found['zero']['relative']:.2g}",
            ),
            ("a quine", f"{ours['relative_residual']:.1e} in {ours['seconds']:.2g} s"),
            ("every bit", "yes" if found["exact"]["bit_exact"] else "no"),
            ("proved", "yes" if found["proved"] else "no"),
        ]
    )
    typer.echo(f"written to {page}: open it in a browser")


@contextlib.contextmanager
def _shown(*, quiet: bool) -> Iterator[Show]:
    """Yield a function that shows the work on stderr: a bar on a terminal, a line for each chapter elsewhere."""
    if quiet:
        yield lambda *_: None
    elif sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        told: set[str] = set()

        def tell(name: str, done: int, total: int, loss: float | None) -> None:
            if name not in told:
                told.add(name)
                typer.echo(f"{100 * done // total:3d} %  {name}", err=True)

        yield tell


@contextlib.contextmanager
def _bar() -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = TextColumn("{task.description}"), BarColumn(24), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(
        *columns, TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task, due = bar.add_task("starting"), 0.0
        first: int | None = None

        def show(name: str, done: int, total: int, loss: float | None) -> None:
            nonlocal due, first
            first = done if first is None else first  # what an earlier run has done took none of this one's time
            if (now := time.monotonic()) >= due or loss is None:
                due = now + _REDRAW
                what = name if loss is None else f"{name}: loss {loss:.2e}"
                bar.update(task, description=f"{what:<48}", completed=done, total=total)

        yield show


_REDRAW = 0.1  # seconds between two updates of the bar: a step takes less than a thousandth
