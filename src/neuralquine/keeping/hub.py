"""The Hugging Face Hub: a quine's folder is uploaded as it is, and downloaded under the name of its repository.

``hf:owner/name`` or ``hf:owner/name@revision`` stands for such a folder wherever :func:`neuralquine.load` takes one. A
downloaded folder is checked like every other.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from ..errors import BadOption, NeuralQuineError, QuineFileError, check_bytes, first_line, needed
from ..files.names import CARD, CERTIFICATE, CONFIG, SOLUTION, WEIGHTS

SCHEME = "hf:"
_FILES = [WEIGHTS, CONFIG, SOLUTION, CARD, CERTIFICATE]  # nothing else is downloaded, whatever the repository holds
_TRANSPORTS = ("httpx", "httpx2")  # of huggingface_hub 1 and 2; the errors of requests, of the first, are OSError
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def is_address(path: str | Path) -> bool:
    """Whether a path names a repository of the Hub."""
    return str(path).startswith(SCHEME)


def download(address: str | Path, *, revision: str | None = None, token: str | None = None) -> Path:
    """Download the folder of ``hf:owner/name[@revision]``, if it is not in the cache, and return where it lies.

    Args:
        address: the repository and, after ``@``, the branch, tag or commit.
        revision: the branch, tag or commit, if the address names none.
        token: the access token, for a private repository.

    Raises:
        QuineFileError: the address is malformed, there is no such repository, or the Hub cannot be reached.
    """
    name, pinned = _parts(address)
    hub = _library()
    try:
        found = hub.snapshot_download(name, revision=pinned or revision, token=token, allow_patterns=_FILES)
    except _refusals(hub) as error:
        raise QuineFileError(f"{address} cannot be fetched from the Hub: {first_line(error)}") from error
    return Path(found)


def fetch(address: str, *, most: int, token: str | None = None) -> Path:
    """Download as :func:`download` does, but ask for the sizes first, and take the commit that they were told of.

    Args:
        address: ``owner/name`` or ``owner/name@revision``, with or without ``hf:`` before it.
        most: bytes of a quine's files together above which nothing is downloaded.
        token: the access token, for a private repository.

    Raises:
        QuineFileError: the address is malformed, the repository holds no quine, or the Hub cannot be reached.
        TooLarge: the files are larger than ``most``.
    """
    name, pinned = _parts(address)
    hub = _library()
    try:
        found = hub.HfApi(token=token).model_info(name, revision=pinned or None, files_metadata=True)
    except _refusals(hub) as error:
        raise QuineFileError(f"{address} cannot be fetched from the Hub: {first_line(error)}") from error
    sizes = {file.rfilename: file.size for file in found.siblings or () if file.rfilename in _FILES}
    for needed_file in (WEIGHTS, CONFIG):
        if needed_file not in sizes:
            raise QuineFileError(f"{address} holds no quine: it has no {needed_file}")
    if None in sizes.values():
        raise QuineFileError(f"{address} cannot be fetched: the Hub does not say how large its files are")
    check_bytes(address, sum(sizes.values()), "--max-size allows for more", most)
    return download(f"{SCHEME}{name}@{found.sha}", token=token)


def _parts(address: str | Path) -> tuple[str, str]:
    """The repository of an address, and the revision, which may be empty."""
    name, _, pinned = str(address).removeprefix(SCHEME).partition("@")
    if not _NAME.fullmatch(name):
        raise QuineFileError(f"{address} is not an address on the Hub, owner/name or owner/name@revision")
    return name, pinned


def upload(folder: Path, repo_id: str, *, private: bool | None, token: str | None, message: str) -> str:
    """Commit the files of a quine's folder to a repository, which is made where it is missing.

    A certificate of the quine that was there before is removed.

    Args:
        folder: a folder written by :func:`neuralquine.save`.
        repo_id: the repository, as ``owner/name``.
        private: whether a repository that is made is private; None for the owner's default.
        token: the access token; None for the one that the Hub's library has stored.
        message: the message of the commit.

    Returns:
        The address of the commit.

    Raises:
        BadOption: the repository is not named as ``owner/name``.
        NeuralQuineError: the Hub refuses the files, or cannot be reached.
    """
    check_repository(repo_id)
    hub = _library()
    try:
        api = hub.HfApi(token=token)
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id, folder_path=folder, commit_message=message, delete_patterns=[CERTIFICATE]
        )
    except _refusals(hub) as error:
        raise NeuralQuineError(f"{repo_id} cannot be written on the Hub: {first_line(error)}") from error
    return str(commit.commit_url)


def require_token(token: str | None) -> None:
    """Refuse to begin where nobody is logged in: the Hub takes nothing from a stranger."""
    if not (token or _library().get_token()):
        raise NeuralQuineError("no token for the Hub: log in with `hf auth login`, or set HF_TOKEN")


def check_repository(repo_id: str) -> None:
    """Refuse a name that is not ``owner/name``, before a quine is verified and saved for nothing."""
    if not _NAME.fullmatch(repo_id):
        raise BadOption(f"{repo_id!r} is not the name of a repository: write owner/name")


def _refusals(hub: Any) -> tuple[type[Exception], ...]:
    """What the Hub's library raises where it is refused, or where nobody answers: it lets errors of its transport through."""
    transports = (getattr(sys.modules.get(name), "HTTPError", None) for name in _TRANSPORTS)
    return OSError, ValueError, hub.errors.HfHubHTTPError, *(error for error in transports if isinstance(error, type))


def _library() -> Any:
    """Import huggingface_hub, or raise an error that says how to install it."""
    needed("huggingface_hub.errors", "hub", "the Hub needs")  # the library does not import it by itself
    return needed("huggingface_hub", "hub", "the Hub needs")
