"""Quines that were kept and come back: folders beside which the lab was started, and archives that it had handed out."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

from ..errors import BadOption, NeuralQuineError
from ..files.names import CONFIG, WEIGHTS
from .guard import MAX_ARCHIVE

HOME = Path("quines")  # where the documents put every quine
_LISTED = 200  # folders: a list that a person still reads
_READ = (CONFIG, WEIGHTS)  # what a quine is made of again; the rest of a folder are words about it


def folders() -> list[str]:
    """The names of the folders in ``quines/`` that may hold a quine, the newest first."""
    try:
        found = [f for f in HOME.iterdir() if (f / CONFIG).is_file() and f.name.isprintable()]
        found.sort(key=lambda f: (-(f / CONFIG).stat().st_mtime, f.name))
    except OSError:  # there is none, or somebody is writing in it
        return []
    return [f.name for f in found[:_LISTED]]


def folder(name: str) -> Path:
    """Return one of the listed folders.

    Raises:
        BadOption: there is none of that name.
    """
    if name not in folders():
        raise BadOption(f"{HOME}/ holds no quine of that name")
    return HOME / name


def unpack(data: bytes, target: Path) -> None:
    """Write the two files that a quine is made of from an untrusted archive to an empty folder.

    Raises:
        BadOption: it is no zip file, does not hold these files once, or more than may be uploaded.
    """
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            for wanted in _READ:
                entries = [entry for entry in archive.infolist() if PurePosixPath(entry.filename).name == wanted]
                if len(entries) != 1:
                    raise BadOption(f"this is no folder of one quine: it holds {wanted} {len(entries)} times")
                with archive.open(entries[0]) as packed:
                    content = packed.read(MAX_ARCHIVE + 1)  # what an entry says of its size is not believed
                if len(content) > MAX_ARCHIVE:
                    raise BadOption(f"{wanted} is larger than {MAX_ARCHIVE >> 20} MiB")
                (target / wanted).write_bytes(content)
    except NeuralQuineError:
        raise
    except Exception as error:  # a broken archive makes its readers raise a dozen things, zlib.error among them
        raise BadOption("this is no zip file of a quine that can be read here") from error
