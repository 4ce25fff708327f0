"""The application with all its commands: one module for each, or for a few that belong together."""

from __future__ import annotations

from typing import Annotated

import typer

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
    context: typer.Context,
    command: Annotated[str, typer.Argument(help="The command to explain; none for all.", metavar="COMMAND")] = "",
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
