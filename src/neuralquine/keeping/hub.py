"""Quines on the Hugging Face Hub: the files of a folder as they are, fetched by name and believed no more than others.

``hf:owner/name`` or ``hf:owner/name@revision`` stands for such a folder wherever :func:`neuralquine.load` takes one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..errors import NeuralQuineError, QuineFileError, first_line
from ..files.folder import CARD, CONFIG, SOLUTION, WEIGHTS

SCHEME = "hf:"
_FILES = [WEIGHTS, CONFIG, SOLUTION, CARD, "certificate.json"]  # and nothing else, whatever the repository holds
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def is_address(path: str | Path) -> bool:
    """Whether a path names a repository of the Hub."""
    return str(path).startswith(SCHEME)


def download(address: str | Path, *, revision: str | None = None, token: str | None = None) -> Path:
    """The local folder of ``hf:owner/name[@revision]``, fetched if it is not in the cache.

    Args:
        revision: branch, tag or commit, if the address names none.

    Raises:
        QuineFileError: the address is malformed, there is no such repository, or no connection.
    """
    name, _, pinned = str(address).removeprefix(SCHEME).partition("@")
    if not _NAME.fullmatch(name):
        raise QuineFileError(f"{address} is no address on the Hub: write hf:owner/name or hf:owner/name@revision")
    hub = _library()
    try:
        found = hub.snapshot_download(name, revision=pinned or revision, token=token, allow_patterns=_FILES)
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        raise QuineFileError(f"{address} cannot be fetched from the Hub: {first_line(error)}") from error
    return Path(found)


def upload(folder: Path, repo_id: str, *, private: bool | None, token: str | None, message: str) -> str:
    """Commit a folder's files to a repository, which is made if need be; returns the commit's address.

    Raises:
        NeuralQuineError: the Hub refuses it, or cannot be reached.
    """
    if not _NAME.fullmatch(repo_id):
        raise NeuralQuineError(f"{repo_id!r} is no name of a repository: write owner/name")
    hub = _library()
    try:
        api = hub.HfApi(token=token)
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            commit_message=message,
            delete_patterns=["certificate.json"],  # of the quine that was there before
        )
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        raise NeuralQuineError(f"{repo_id} cannot be written on the Hub: {first_line(error)}") from error
    return str(commit.commit_url)


def _library() -> Any:
    """huggingface_hub, or the one line that says how to get it."""
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise NeuralQuineError("the Hub needs huggingface_hub: pip install 'neuralquine[hub]'") from error
    return huggingface_hub
