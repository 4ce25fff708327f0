"""The quines found since the start: one folder each, in a place that goes when the lab stops."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
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
    """

    id: str
    folder: Path
    about: dict[str, Any] = field(default_factory=dict)

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

    def file(self, name: str) -> Path:
        """Return the path of something that is written beside the quines."""
        return self._place / name

    def archive(self, entry: Entry) -> Path:
        """The folder as a zip file; weights hardly compress."""
        path = self._place / f"{entry.id}.zip"
        with ZipFile(path, "w", ZIP_STORED) as archive:
            for file in sorted(f for f in entry.folder.rglob("*") if f.is_file()):
                archive.write(file, Path(f"quine-{entry.id}") / file.relative_to(entry.folder))
        return path
