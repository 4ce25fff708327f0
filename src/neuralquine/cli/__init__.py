"""The command line: one module for each command, or for a few that belong together.

A command imports torch and the rest of the package when it runs, so that ``--help`` answers at once. Results go to
stdout, progress and messages to stderr. The exit status is 0 for success, 1 where no quine was found or the answer is
no, 2 for bad input, and 130 for an interruption.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from ..errors import NeuralQuineError, first_line, printable
from ..version import __version__
from .options import app

# Each of these modules adds its commands, which `--help` lists in this order.
from . import solve as solve  # isort: skip
from . import last as last  # isort: skip
from . import zoo as zoo  # isort: skip
from . import names as names  # isort: skip
from . import look as look  # isort: skip
from . import prove as prove  # isort: skip
from . import tasks as tasks  # isort: skip
from . import heal as heal  # isort: skip
from . import export as export  # isort: skip
from . import share as share  # isort: skip
from . import sweep as sweep  # isort: skip
from . import evolve as evolve  # isort: skip
from . import post as post  # isort: skip
from . import lab as lab  # isort: skip


@app.command("help")
def help_(
    context: typer.Context, command: Annotated[str, typer.Argument(help="The command to explain; none for all.")] = ""
) -> None:
    """Explain a command, or list all of them."""
    above = context.parent
    assert above is not None
    _, wanted, _ = above.command.resolve_command(above, [command]) if command else (None, above.command, None)  # pyright: ignore[reportAttributeAccessIssue]
    within = above if not command else typer.Context(wanted, info_name=command, parent=above)
    typer.echo(wanted.get_help(within))


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run a command; an error of this package, of the disk or of memory is one line on stderr and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a path may hold bytes that are no text
    try:
        app(prog_name="neuralquine")  # however it was started: completion and usage have one name
    except NeuralQuineError as error:
        typer.echo(f"neuralquine: {error}", err=True)
    except BrokenPipeError:  # whoever read the output has gone
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"neuralquine: {printable(where + (error.strerror or first_line(error)))}", err=True)
    except MemoryError as error:
        typer.echo(f"neuralquine: not enough memory: {printable(first_line(error))}", err=True)
    else:
        return
    sys.exit(2)
