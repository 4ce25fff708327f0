"""What several commands share: their arguments, reading folders, progress, interruption."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import NeuralQuineError

if TYPE_CHECKING:
    from ..quines.quine import Quine
    from ..solving.solution import TracePoint

app = typer.Typer(
    help="Find, verify, keep and show neural quines: networks that print their own weights.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Recipe = Annotated[str, typer.Argument(help="A named problem; see `neuralquine recipes`.")]
Folder = Annotated[Path, typer.Argument(help="A folder written by `neuralquine solve --out`.")]
Seed = Annotated[
    int, typer.Option(help="Seed of the initial weights, the probe, the projection and the starts.", min=0)
]
Device = Annotated[str, typer.Option(help="Torch device to compute on, such as cuda.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
RecipeOption = Annotated[
    list[str],
    typer.Option("--recipe-option", "-r", metavar="KEY=VALUE", help="Option of the recipe, such as alpha=0.3."),
]
TrunkOption = Annotated[
    str,
    typer.Option(
        "--trunk",
        metavar="MODULE:FACTORY",
        help="Python factory of the trunk, for a folder that cannot describe its own.",
    ),
]


def load_quine(folder: Path, trunk: str) -> Quine:
    from ..keeping.store import load

    return load(folder, trunk=import_trunk(trunk) if trunk else None)


def prover(module: str) -> Any:
    """A module of ``prove``, or the one line that says how to get it."""
    import importlib
    import importlib.util

    if importlib.util.find_spec("flint") is None:
        raise NeuralQuineError("proofs need python-flint: pip install 'neuralquine[proof]'")
    return importlib.import_module(f"neuralquine.proving.{module}")


def check_certificate(folder: Path) -> tuple[bool | None, str]:
    """Whether the folder's own certificate holds; None if there is none, or nothing to check it with."""
    import importlib.util

    if not (folder / "certificate.json").exists() or importlib.util.find_spec("flint") is None:
        return None, ""
    try:
        prover("certificate").check(folder / "certificate.json")
    except NeuralQuineError as error:
        return False, f"certificate.json: {error}"
    return True, ""


def import_trunk(path: str) -> Any:
    """The user's own factory: named on the command line, never by a file."""
    import importlib

    module, _, factory = path.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), factory)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise typer.BadParameter(f"{path} gives no module: {error}", param_hint="--trunk") from error


def key_values(pairs: list[str], flag: str) -> dict[str, Any]:
    """KEY=VALUE pairs; values are read as JSON where they are (numbers, true, false), else as text."""
    options = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint=flag)
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        options[key.replace("-", "_")] = value
    return options


@contextlib.contextmanager
def terminate_like_interrupt() -> Iterator[None]:
    """``kill`` ends a solve as Ctrl-C does: the best iterate is kept."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def progress(title: str, *, quiet: bool) -> Iterator[Any]:
    """A line on stderr that shows how a long search is getting on; nothing where nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title)

        def show(point: TracePoint) -> None:
            what = f"{title}: step {point.step}, {point.map_evaluations} map evaluations, relative residual {point.relative_residual:.1e}"
            bar.update(task, description=what)

        yield show


@contextlib.contextmanager
def status_line(title: str, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A line on stderr that says how far long work has come; nothing where nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status(title) as status:
        yield lambda text: status.update(f"{title}: {text}")


def draw(quine: Quine, folder: Path) -> list[Path]:
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise NeuralQuineError("drawing needs matplotlib: pip install 'neuralquine[plot]'")
    from ..checking.plots import plot as draw
    from ..checking.verify import verify as run
    from ..keeping.report import saved_trace

    verification = run(quine)
    words = [
        word for word, is_so in (("converged", verification.converged), ("bit-exact", verification.bit_exact)) if is_so
    ]
    if verification.trivial:
        words.append("trivial")
    return draw(quine, folder / "figures", trace=saved_trace(folder), words=", ".join(words) or "not converged")
