"""The finding of a check: the name of a trick, and a sentence that says how it shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One trick that explains the printed weights better than a quine does.

    Attributes:
        kind: its name.
        sentence: what was seen.
    """

    kind: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}"
