"""The command that opens the lab."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import needed
from .interruption import terminate_like_interrupt
from .options import app


@app.command()
def lab(
    port: Annotated[
        int,
        typer.Option(
            help="Serve the page on this port of 127.0.0.1; 0 for any free one.", metavar="PORT", min=0, max=65535
        ),
    ] = 8765,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Open a page to solve, see, damage and heal quines.

    It is served on this machine, to this machine alone (extra `lab`).
    """
    for module in ("starlette", "uvicorn"):
        needed(module, "lab", "the lab needs")
    from ..lab.serve import serve

    with terminate_like_interrupt():  # uvicorn hands the signal on, and the temporary folder must still be removed
        serve(port, browser=browser, say=typer.echo)
