"""The commands that share quines: push, pull."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import NotSound, word
from ..keeping.examples import is_example
from ..keeping.patience import patience
from .options import AsJson, Folder, TrunkOption, app, check_certificate, import_trunk
from .report import print_json, report_kept

_GIB = 1 << 30


@app.command()
def push(
    folder: Folder,
    repository: Annotated[
        str, typer.Argument(help="The repository, owner/name; it is made if it is missing.", metavar="OWNER/NAME")
    ],
    private: Annotated[bool, typer.Option("--private", help="Make a missing repository a private one.")] = False,
    license: Annotated[
        str,
        typer.Option(
            help="The licence in the card, such as cc0-1.0; by default apache-2.0 for the networks of recipes, else none.",
            metavar="NAME",
        ),
    ] = "",
    message: Annotated[str, typer.Option(help="The message of the commit.", metavar="TEXT")] = "A neural quine",
    trunk: TrunkOption = "",
    as_json: AsJson = False,
) -> None:
    """Upload a quine to the Hugging Face Hub.

    The folder is loaded and verified first, and its card is made anew, with a picture (extra `plot`). This needs the
    extra `hub` and a token: `hf auth login`, or HF_TOKEN.
    """
    from ..keeping.hub import check_repository, require_token
    from ..keeping.share import push_folder

    check_repository(repository)
    require_token(None)
    with patience(folder):
        proved, reason = check_certificate(folder)
    if proved is False:
        raise NotSound(f"{folder} is not pushed: {reason}")
    made = import_trunk(trunk) if trunk else None
    address, verification = push_folder(
        folder,
        repository,
        proved=proved,
        unchecked=proved is None and bool(reason),
        private=private or None,
        license=license or None,
        trunk=made,
        message=message,
    )
    if as_json:
        print_json({"repository": repository, "commit": address, "is_quine": verification.is_quine})
        return
    typer.echo(f"{'a quine' if verification.is_quine else 'no quine, and the card says so'}: {address}")
    typer.echo(f"  bit-exact: {word(verification.bit_exact)}, proved: {word(verification.proved)}")
    typer.echo(f"  anybody can load it: neuralquine pull {repository} DIR")


@app.command()
def pull(
    address: Annotated[
        str, typer.Argument(help="owner/name, owner/name@revision, or example:NAME.", metavar="OWNER/NAME")
    ],
    folder: Annotated[Path, typer.Argument(help="The folder to write, such as quines/theirs.", metavar="FOLDER")],
    max_size: Annotated[
        float, typer.Option(help="Take no more than this together.", metavar="GIB", min=0.001, max=1 << 20)
    ] = 2.0,
    trunk: TrunkOption = "",
    as_json: AsJson = False,
) -> None:
    """Download a quine from the Hugging Face Hub to a folder.

    Only the files of a quine are taken, none is executed, and nothing is written unless they load. Of the quines that are
    installed with the package, example:NAME, a copy is made. The Hub needs the extra `hub`.
    """
    from ..keeping.share import pull as run

    made = import_trunk(trunk) if trunk else None
    target = run(address, folder if folder.name else folder.resolve(), most=int(max_size * _GIB), trunk=made)
    if as_json:
        print_json({"address": address, "out": str(target)})
        return
    typer.echo(f"{address if is_example(address) else 'hf:' + address.removeprefix('hf:')}: loaded")
    report_kept(target)
