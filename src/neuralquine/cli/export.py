"""The command that makes a file for other programs: export."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Folder, app
from .report import print_json


@app.command()
def export(
    folder: Folder,
    out: Annotated[Path, typer.Argument(help="The file to write, such as self.onnx.", metavar="FILE")],
    as_json: AsJson = False,
) -> None:
    """Write a portable quine as an ONNX model.

    The model says in any runtime whether it prints its own weights (extra `onnx`). That of a task quine also answers its
    input `x`, one example at a time.
    """
    from ..keeping.export import export as run
    from ..keeping.export import ports

    file = run(folder, out)
    inputs, outputs = ports(file)
    size = file.stat().st_size
    if as_json:
        print_json({"out": str(file), "bytes": size, "inputs": inputs, "outputs": outputs})
        return
    ask = shlex.quote(f"import onnxruntime as o; print(o.InferenceSession({json.dumps(str(file))}).run(None, {{}})[2])")
    taken = f"input {inputs[0]}, which may be left out" if inputs else "no inputs"
    typer.echo(f"written to {file}, {size:,} bytes: {taken}; outputs {', '.join(outputs[:-1])} and {outputs[-1]}")
    typer.echo("  It is proved that every machine prints the same bits, and ONNX Runtime on this one says True.")
    typer.echo(f"  ask it: python -c {ask}")
