"""The quines found since the start: one folder each, in a place that goes when the lab stops."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

from ..errors import NeuralQuineError

_KEPT = 24


@dataclass
class Kept:
    """One quine.

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
        return self.folder / "certificate.json"


class Shelf:
    """Holds the last ``_KEPT`` quines; older ones make room.

    Args:
        place: an empty folder.
    """

    def __init__(self, place: Path) -> None:
        self._place, self._kept, self._made = place, dict[str, Kept](), 0

    def __iter__(self) -> Iterator[Kept]:
        return iter(self._kept.values())

    def reserve(self) -> Kept:
        """A name and a place for the next quine, not yet on the shelf."""
        self._made += 1
        return Kept(f"q{self._made}", self._place / f"q{self._made}")

    def put(self, kept: Kept, about: dict[str, Any]) -> dict[str, Any]:
        """Show it; the oldest goes where there are too many. What the page is told of it."""
        kept.about = about
        self._kept[kept.id] = kept
        while len(self._kept) > _KEPT:
            oldest = self._kept.pop(next(iter(self._kept)))
            shutil.rmtree(oldest.folder, ignore_errors=True)
        return self.describe(kept)

    def describe(self, kept: Kept) -> dict[str, Any]:
        return {"id": kept.id, **kept.about, "certificate": kept.certificate.exists()}

    def get(self, name: str) -> Kept:
        if name not in self._kept:
            raise NeuralQuineError(f"there is no quine {name[:20]!r}: the lab keeps the last {_KEPT}")
        return self._kept[name]

    def file(self, name: str) -> Path:
        """Where something beside the quines may be written."""
        return self._place / name

    def archive(self, kept: Kept) -> Path:
        """The folder as a zip file; weights hardly compress."""
        path = self._place / f"{kept.id}.zip"
        with ZipFile(path, "w", ZIP_STORED) as archive:
            for file in sorted(f for f in kept.folder.rglob("*") if f.is_file()):
                archive.write(file, Path(f"quine-{kept.id}") / file.relative_to(kept.folder))
        return path
