"""The quines found since the start: one folder each, in a place that goes when the lab stops."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

from ..errors import NeuralQuineError

_KEPT = 24  # quines: more are not read in one list, and each may take 100 MB of disk


@dataclass
class Entry:
    """One quine on the shelf.

    Attributes:
        id: its name in addresses.
        folder: written by ``nq.save``.
        about: what the search and the verification said.
        making: held while a file about it is made.
    """

    id: str
    folder: Path
    about: dict[str, Any] = field(default_factory=dict)
    making: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @property
    def certificate(self) -> Path:
        """Where the certificate lies, once something is proved."""
        return self.folder / "certificate.json"


class Shelf:
    """Holds the last ``_KEPT`` quines; older ones make room.

    Args:
        place: an empty folder.
    """

    def __init__(self, place: Path) -> None:
        self._place, self._kept, self._made = place, dict[str, Entry](), 0

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._kept.values())

    def reserve(self) -> Entry:
        """Make a name and a place for the next quine, which is not yet on the shelf."""
        self._made += 1
        return Entry(f"q{self._made}", self._place / f"q{self._made}")

    def put(self, entry: Entry, about: dict[str, Any]) -> dict[str, Any]:
        """Put a quine on the shelf, and remove the oldest where there are too many; returns what the page is told of it."""
        entry.about = about
        self._kept[entry.id] = entry
        while len(self._kept) > _KEPT:
            oldest = self._kept.pop(next(iter(self._kept)))
            shutil.rmtree(oldest.folder, ignore_errors=True)
            for file in self._place.glob(f"{oldest.id}.*"):
                file.unlink(missing_ok=True)
        return self.describe(entry)

    def describe(self, entry: Entry) -> dict[str, Any]:
        """Return what the page is told of a quine."""
        return {"id": entry.id, **entry.about, "certificate": entry.certificate.exists()}

    def get(self, name: str) -> Entry:
        """Find a quine by its name.

        Raises:
            NeuralQuineError: it is not there, or no longer.
        """
        if name not in self._kept:
            raise NeuralQuineError(f"there is no quine {name[:20]!r}: the lab keeps the last {_KEPT}")
        return self._kept[name]

    async def made(self, entry: Entry, name: str, make: Callable[[Path], Awaitable[None]]) -> Path:
        """Return a file about a quine that is made once, and never written again: many may be reading it.

        Args:
            entry: the quine; when it goes, so does the file.
            name: the name of the file after the quine's, which must change whenever its content would.
            make: writes the file to the path that it is given.
        """
        path = self._place / f"{entry.id}.{name}"
        async with entry.making:
            if not path.exists():
                partial = self._place / f"{entry.id}.partial.{name}"
                await make(partial)
                partial.replace(path)
        return path

    def found(self, job: str) -> Path:
        """Return where a job leaves what it found beside the quines."""
        return self._place / f"{job}.safetensors"

    async def archive(self, entry: Entry) -> Path:
        """Return the folder as a zip file; one for each state of the folder, which a proof changes."""
        files = sorted(f for f in entry.folder.rglob("*") if f.is_file() and not f.name.startswith("."))
        state = hashlib.sha256(repr([(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]).encode())

        async def pack(path: Path) -> None:
            await asyncio.to_thread(_zipped, path, entry, files)

        return await self.made(entry, f"{state.hexdigest()[:16]}.zip", pack)


def _zipped(path: Path, entry: Entry, files: list[Path]) -> None:
    try:
        with ZipFile(path, "w", ZIP_STORED) as archive:  # weights hardly compress
            for file in files:
                archive.write(file, Path(f"quine-{entry.id}") / file.relative_to(entry.folder))
    except OSError as error:  # the disk is full, or the quine made room for another in this moment
        path.unlink(missing_ok=True)
        raise NeuralQuineError(f"quine {entry.id} cannot be packed: {error.strerror or error}") from error
