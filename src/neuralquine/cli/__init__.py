"""The command line. Nothing heavy is imported before a command runs, so that ``--help`` answers at once.

Results go to stdout, progress and messages to stderr. Exit status: 0 success, 1 no quine, 2 bad input,
130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..errors import NeuralQuineError
from ..version import __version__
from .options import app

# These add their commands, in the order of `--help`.
from . import solve as solve  # isort: skip
from . import look as look  # isort: skip
from . import prove as prove  # isort: skip
from . import tasks as tasks  # isort: skip
from . import export as export  # isort: skip
from . import sweep as sweep  # isort: skip
from . import evolve as evolve  # isort: skip
from . import lab as lab  # isort: skip


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point: errors of this package become one line on stderr and exit status 2."""
    try:
        app()
    except NeuralQuineError as error:
        typer.echo(f"neuralquine: {error}", err=True)
        sys.exit(2)
