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
from . import solving as solving  # isort: skip
from . import looking as looking  # isort: skip
from . import proving as proving  # isort: skip
from . import working as working  # isort: skip
from . import handing_on as handing_on  # isort: skip
from . import sweeping as sweeping  # isort: skip
from . import living as living  # isort: skip
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
