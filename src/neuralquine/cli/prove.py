"""The commands that prove: certify, check-proof, digits."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..errors import NotSound, needed
from ..files.names import CERTIFICATE
from ..keeping.examples import located
from ..keeping.patience import patience
from .options import AsJson, Folder, OwnFolder, app
from .report import print_json, verdict
from .tables import colored

_PATIENCE = 0.5  # seconds after which a person wonders whether something is still going on

TimeLimit = Annotated[
    float | None,
    typer.Option(
        help="Give up after so many seconds of the processor; by default 12, and one more for each 1,000 bytes of weights.",
        metavar="SECONDS",
        min=1,
    ),
]


def saying(what: str) -> Callable[[str], None] | None:
    """Say on a terminal what a proof is doing, on one line of stderr; None where nobody reads it."""
    if not sys.stderr.isatty():
        return None
    started = time.perf_counter()

    def say(done: str) -> None:
        seconds = time.perf_counter() - started
        if seconds > _PATIENCE:
            sys.stderr.write(f"\r\x1b[K{what}: {done} ({seconds:.0f} s)\r")  # what comes next is written over it
            sys.stderr.flush()

    return say


@app.command()
def certify(folder: OwnFolder, time_limit: TimeLimit = None, as_json: AsJson = False) -> None:
    """Prove that a quine exists where the weights are.

    The certificate is written to the folder.
    """
    from ..keeping.theorems import certify as run

    with _refusal("not proved", as_json):
        certificate = run(folder, time_limit=time_limit, say=saying("certify"))
    if as_json:
        print_json({"proved": True, **certificate})
    else:
        typer.echo(f"{verdict('proved.', True)} {certificate['claim']}")
        hint = f"neuralquine check-proof {shlex.quote(str(folder))}"
        typer.echo(f"written to {folder / CERTIFICATE}: check it with `{hint}`")


@app.command("check-proof")
def check_proof(
    certificate: Annotated[
        Path,
        typer.Argument(
            help="The folder of a quine, or its certificate written by `neuralquine certify`.",
            parser=located,
            metavar="FOLDER",
        ),
    ],
    weights: Annotated[
        Path | None,
        typer.Option(help="The quine's folder; by default the one that the certificate lies in.", metavar="FOLDER"),
    ] = None,
    time_limit: TimeLimit = None,
    as_json: AsJson = False,
) -> None:
    """Verify a certificate from the weights alone.

    This needs no torch, and no extra unless balls proved the certificate. Where torch is installed, the network is also run once.
    """
    if certificate.is_dir():
        certificate = certificate / CERTIFICATE
    home = weights or certificate.parent
    import importlib.util

    if certificate.is_file() and importlib.util.find_spec("torch") is not None:
        from ..keeping.theorems import check

        run = partial(check, time_limit=time_limit)
    else:
        from ..proving.verbs import check as run
    with _refusal("refused", as_json), patience(home, time_limit):
        held = run(certificate, weights, say=saying("check-proof"))
    if as_json:
        print_json({"proved": True, "claim": held["claim"]})
    else:
        typer.echo(f"{verdict('the proof holds.', True)} {held['claim']}")


@app.command()
def digits(
    folder: Folder,
    count: Annotated[
        int,
        typer.Option(
            "--digits", help="Write so many significant digits of each weight.", metavar="N", min=1, max=1_000_000
        ),
    ] = 50,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the digits to this file, one weight a line; by default to stdout.", metavar="FILE"),
    ] = None,
    time_limit: TimeLimit = None,
    as_json: AsJson = False,
) -> None:
    """Write the weights of the real quine to many digits.

    Every digit is guaranteed (extra `proof`).
    """
    needed("flint", "proof", "digits need", "python-flint")
    from ..files.atomic import replace_file
    from ..keeping.theorems import digits as run

    with _refusal("not proved", as_json):
        weights = run(folder, count, time_limit=time_limit)
    if out is not None:
        with replace_file(out) as path:
            path.write_text("\n".join(weights) + "\n", encoding="ascii")
    if as_json:
        data = {"digits": count, "parameters": len(weights), "out": str(out) if out else None}
        print_json(data if out else data | {"weights": weights})
    elif out is None:
        for weight in weights:
            typer.echo(weight)
    else:
        typer.echo(f"{len(weights):,} weights to {count:,} digits written to {out}")


@contextmanager
def _refusal(denied: str, as_json: bool) -> Iterator[None]:
    """Report a theorem that does not apply, or a certificate that cannot be checked here, and exit with 1."""
    from ..proving.verdicts import NotChecked, NotProved

    try:
        yield
    except (NotProved, NotSound) as error:
        unknown = isinstance(error, NotChecked)
        typer.echo(f"{colored('not checked' if unknown else denied, 'red', err=True)}: {error}", err=True)
        if as_json:
            print_json({"proved": None if unknown else False, "reason": str(error)})
        raise typer.Exit(1) from error
