"""A quine's folder given away and taken: pushed to a repository of the Hugging Face Hub, pulled from one.

What is pulled goes through the gate of :func:`neuralquine.load` before it lies in its place; what is pushed as well, and
its claims are compared with fresh figures.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from torch import nn

from ..checking.verify import Verification, verify
from ..errors import MAX_BYTES, NeuralQuineError, NotSound, QuineFileError, check_bytes
from ..files.atomic import replace_folder
from ..files.names import CARD, CERTIFICATE, CONFIG, SOLUTION, WEIGHTS
from ..quines.quine import Quine
from .dress import dress
from .examples import is_example, located
from .hub import check_repository, fetch, require_token, upload
from .report import false_claims, saved_search
from .store import check_target, load

_FILES = (WEIGHTS, CONFIG, SOLUTION, CARD, CERTIFICATE)


def push_folder(
    folder: Path,
    repo_id: str,
    *,
    proved: bool | None = None,
    unchecked: bool = False,
    private: bool | None = None,
    license: str | None = None,
    token: str | None = None,
    trunk: nn.Module | None = None,
    message: str = "A neural quine",
) -> tuple[str, Verification]:
    """Upload the files of a quine's folder, with a card and a picture that are made afresh.

    Args:
        folder: written by :func:`neuralquine.save`; it stays as it is.
        repo_id: the repository, ``owner/name``, which is made where it is missing.
        proved: whether the folder's certificate was checked and holds; None where that was not examined.
        unchecked: there is a certificate, but it could not be checked here.
        private: whether a repository that is made is private; None for the owner's default.
        license: an identifier that the Hub knows, for the card.
        token: the access token; None for the one that the Hub's library has stored.
        trunk: the module, where the folder cannot describe it.
        message: the message of the commit.

    Returns:
        The address of the commit, and the figures that the card shows.

    Raises:
        NotSound: the folder claims what a fresh evaluation denies.
        NeuralQuineError: there is no quine in the folder, no token, or the Hub refuses the files.
    """
    check_repository(repo_id)
    require_token(token)
    with tempfile.TemporaryDirectory() as place:
        staged = Path(place) / "quine"
        staged.mkdir()
        if not folder.is_dir():
            raise QuineFileError(f"{folder} is not a folder with a quine in it")
        _copy(folder, staged)
        quine = _loaded(staged, folder, trunk)
        verification = replace(verify(quine), proved=proved)
        lies = false_claims(staged, verification, unchecked=unchecked)
        if lies:
            raise NotSound(f"{folder} is not pushed: {lies[0]}")
        search = saved_search(staged)
        dress(staged, quine, verification, search=search, repo_id=repo_id, license=license)
        return upload(staged, repo_id, private=private, token=token, message=message), verification


def pull(
    address: str, target: str | Path, *, most: int = MAX_BYTES, token: str | None = None, trunk: nn.Module | None = None
) -> Path:
    """Copy a quine from the Hub, or one that is installed, to a folder.

    Args:
        address: ``owner/name`` or ``owner/name@revision``, with or without ``hf:`` before it; or ``example:NAME``.
        target: a new folder, or one that holds an older quine, which is replaced in one step.
        most: bytes of its files together above which nothing is downloaded.
        token: the access token, for a private repository.
        trunk: the module, where the folder cannot describe it.

    Raises:
        QuineFileError: there is no such repository, no usable quine in it, or the target holds other files.
        TooLarge: the files are larger than ``most``.
    """
    target = check_target(target)
    source = located(address) if is_example(address) else fetch(address, most=most, token=token)
    sizes = [(source / name).stat().st_size for name in _FILES if (source / name).is_file()]
    check_bytes(address, sum(sizes), "--max-size allows for more", most)  # what was said of them may be wrong
    try:
        with replace_folder(target) as folder:
            _copy(source, folder)
            _loaded(folder, Path(address), trunk)
    except OSError as error:
        raise QuineFileError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def _copy(source: Path, target: Path) -> None:
    """Copy the files that are a quine's, and no other."""
    for name in _FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _loaded(folder: Path, shown: Path, trunk: nn.Module | None) -> Quine:
    """Load a copy; what is wrong with it is told of the original."""
    try:
        return load(folder, trunk=trunk)
    except NeuralQuineError as error:
        raise QuineFileError(str(error).replace(str(folder), str(shown))) from error
