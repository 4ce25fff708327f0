"""What several commands share: arguments and options, reading a folder, progress on stderr, interruption."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import NeuralQuineError, TooLarge
from ..files.names import CERTIFICATE
from ..keeping.examples import located, own
from .group import App, Group
from .known import completed

if TYPE_CHECKING:
    from ..quines.quine import Quine

app = App(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find, verify, prove, keep and show neural quines: networks that print their own weights.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Recipe = Annotated[
    str,
    typer.Argument(
        help="A named problem (`neuralquine recipes` lists them), or a function of your own, FILE.py:FUNCTION.",
        autocompletion=completed("recipe"),
        metavar="RECIPE",
    ),
]
Folder = Annotated[
    Path,
    typer.Argument(
        help="A folder that a quine was written to, such as by `neuralquine solve --out`, or `example:NAME`.",
        parser=located,
        metavar="FOLDER",
    ),
]
OwnFolder = Annotated[
    Path,
    typer.Argument(
        help="A folder that a quine was written to, such as by `neuralquine solve --out`.", parser=own, metavar="FOLDER"
    ),
]
Seed = Annotated[
    int,
    typer.Option(help="Seed of everything random: initial weights, probe, expansion, starts.", metavar="N", min=0),
]
Device = Annotated[str, typer.Option(help="Compute on this torch device, such as cuda.", metavar="NAME")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
RecipeOption = Annotated[
    list[str],
    typer.Option("--recipe-option", "-r", metavar="KEY=VALUE", help="Set an option of the recipe, such as alpha=0.3."),
]
TrunkOption = Annotated[
    str,
    typer.Option(
        "--trunk",
        metavar="FILE.py:FUNCTION",
        help="Take the network from this Python function (or MODULE:FUNCTION), for a folder that cannot describe its own.",
    ),
]


def named(path: Path | None) -> Path | None:
    """A folder by its own name: beside ``.`` nothing can be written."""
    return path.resolve() if path is not None and not path.name else path


def load_quine(folder: Path, trunk: str, device: str = "cpu") -> Quine:
    """Read the quine of a folder; ``trunk`` and ``device`` are the values of ``--trunk`` and ``--device``."""
    from ..keeping.store import load
    from ..quines.networks.running import usable

    place = usable(device)  # before a large folder is read
    return load(folder, trunk=import_trunk(trunk) if trunk else None).to(place)


def check_certificate(folder: Path) -> tuple[bool | None, str]:
    """Check the folder's own certificate.

    Returns:
        Whether it holds, and if not, why. None if there is no certificate, or where it cannot be checked here, or not in time.
    """
    from ..proving.verbs import check
    from ..proving.verdicts import NotChecked

    if not (folder / CERTIFICATE).exists():
        return None, ""
    try:
        check(folder / CERTIFICATE)
    except (TooLarge, NotChecked) as error:
        return None, f"{CERTIFICATE}: {error}"
    except NeuralQuineError as error:
        return False, f"{CERTIFICATE}: {error}"
    return True, ""


def import_trunk(path: str) -> Any:
    """Call the user's own factory of a trunk. The command line names it; a file never does."""
    from ..recipes.own import own_trunk

    try:
        return own_trunk(path)
    except NeuralQuineError as error:
        raise typer.BadParameter(str(error), param_hint="--trunk") from error


def key_values(pairs: list[str], flag: str, *, texts: Collection[str] = ()) -> dict[str, Any]:
    """Read KEY=VALUE pairs. A value that is JSON (a number, true, false) or Python's True or False is read as such, any other as text.

    Args:
        pairs: as they were typed.
        flag: the option that they were given to, for messages.
        texts: keys whose values are words, such as ``true``: an option of a method has the type of its default.
    """
    options = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint=flag)
        if key == "seed":
            raise typer.BadParameter("the seed has an option of its own: --seed", param_hint=flag)
        key = key.replace("-", "_")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = {"True": True, "False": False}.get(text, text)
        options[key] = text if key in texts and not isinstance(value, str) else value
    return options


@contextlib.contextmanager
def status_line(title: str, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows a text on one line of stderr; it does nothing where stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status(title) as status:
        yield lambda text: status.update(f"{title}: {text}")
