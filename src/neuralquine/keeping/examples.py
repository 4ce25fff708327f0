"""Five small quines that are installed with the package: ``example:NAME`` stands for the folder of one.

``benchmarks/examples.py`` makes them. They are read like every other folder, and nothing writes to them.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import QuineFileError, UnknownName

SCHEME = "example:"
PLACE = Path(__file__).parent / "example_quines"


def names() -> list[str]:
    """The names of the quines that are installed."""
    return sorted(path.name for path in PLACE.iterdir() if path.is_dir()) if PLACE.is_dir() else []


def is_example(path: str | Path) -> bool:
    """Whether a path names an installed quine."""
    return str(path).startswith(SCHEME)


def located(path: str | Path) -> Path:
    """Find the folder of ``example:NAME``; any other path is its own.

    Raises:
        UnknownName: there is no such quine; the message lists those there are.
    """
    if not is_example(path):
        return Path(path)
    name = str(path).removeprefix(SCHEME)
    if name not in names():
        raise UnknownName(f"no example {name!r}: there are {', '.join(SCHEME + known for known in names())}")
    return PLACE / name


def own(path: str | Path) -> Path:
    """Refuse to write into an installed quine; any other path is its own.

    Raises:
        QuineFileError: the path names an installed quine; the message says how to copy it.
    """
    if located(path).parent == PLACE:
        raise QuineFileError(f"{path} is installed, and only read: copy it with `neuralquine pull {path} DIR`")
    return Path(path)


def shown(path: Path) -> str:
    """A path as a person would type it: ``example:NAME`` for the folder of an installed quine."""
    return f"{SCHEME}{path.name}" if path.parent == PLACE else str(path)
