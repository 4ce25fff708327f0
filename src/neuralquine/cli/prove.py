"""Commands that prove: certify, check-proof, digits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Folder, app, prover
from .report import print_json


@app.command()
def certify(folder: Folder, as_json: AsJson = False) -> None:
    """Prove that a quine exists where the weights are, and write the certificate (extra `proof`)."""
    certificates = prover("certificate")
    try:
        certificate = certificates.certify(folder)
    except certificates.NotProved as error:
        typer.echo(f"not proved: {error}", err=True)
        if as_json:
            print_json({"proved": False, "reason": str(error)})
        raise typer.Exit(1) from error
    if as_json:
        print_json({"proved": True, **certificate})
    else:
        typer.echo(f"proved. {certificate['claim']}")
        typer.echo(f"written to {folder / certificates.CERTIFICATE}: check it with `neuralquine check-proof`")


@app.command("check-proof")
def check_proof(
    certificate: Annotated[Path, typer.Argument(help="A certificate written by `neuralquine certify`.")],
    weights: Annotated[
        Path | None, typer.Option(help="The quine's folder; by default the one the certificate lies in.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify a certificate again from the weights alone, without torch (extra `proof`)."""
    certificates = prover("certificate")
    try:
        held = certificates.check(certificate, weights)
    except certificates.NotProved as error:
        typer.echo(f"refused: {error}", err=True)
        if as_json:
            print_json({"proved": False, "reason": str(error)})
        raise typer.Exit(1) from error
    if as_json:
        print_json({"proved": True, "claim": held["claim"]})
    else:
        typer.echo(f"the proof holds. {held['claim']}")


@app.command()
def digits(
    folder: Folder,
    count: Annotated[
        int, typer.Option("--digits", help="Significant digits of each weight.", min=1, max=1_000_000)
    ] = 50,
    out: Annotated[
        Path | None, typer.Option(help="File to write them to, one weight a line; by default stdout.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the weights of the real quine to any number of guaranteed digits (extra `proof`)."""
    from ..files.atomic import replace_file

    certificates = prover("certificate")
    try:
        weights = prover("digits").digits(folder, count)
    except certificates.NotProved as error:
        typer.echo(f"not proved: {error}", err=True)
        if as_json:
            print_json({"proved": False, "reason": str(error)})
        raise typer.Exit(1) from error
    if out is not None:
        with replace_file(out) as path:
            path.write_text("\n".join(weights) + "\n", encoding="ascii")
    if as_json:
        print_json(
            {"digits": count, "parameters": len(weights), "out": str(out) if out else None}
            | ({} if out else {"weights": weights})
        )
    elif out is None:
        for weight in weights:
            typer.echo(weight)
    else:
        typer.echo(f"{len(weights)} weights to {count} digits written to {out}")
