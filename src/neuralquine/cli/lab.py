"""The command that opens the lab."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

from ..errors import NeuralQuineError
from .options import app, terminate_like_interrupt


@app.command()
def lab(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 for any free one.", min=0, max=65535)] = 8765,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Open a page on this machine: solve, look, damage, heal, draw (extra `lab`)."""
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise NeuralQuineError("the lab needs starlette and uvicorn: pip install 'neuralquine[lab]'")
    from ..lab.serve import serve

    with terminate_like_interrupt():  # uvicorn hands the signal on, and the temporary folder must still go
        serve(port, browser=browser, say=typer.echo)
