"""The errors that a user can meet. Each message is one line: what is wrong, then what to do about it."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_LONGEST = 1000  # characters of a message: what a file calls itself may be of any length


def printable(text: str, longest: int = _LONGEST) -> str:
    """Make one line of a text that may come from a file: control characters and lone surrogates are written as escapes."""
    shown = text[: longest + 1]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)
    return shown if len(shown) <= longest else shown[: longest - 3] + "..."


class NeuralQuineError(Exception):
    """Base of every error that this package raises on purpose. Its text is one line, whatever was put into it."""

    def __str__(self) -> str:
        return printable(super().__str__())


class TrunkError(NeuralQuineError):
    """The module or the probe cannot be made into a quine."""


class NoDerivative(TrunkError):
    """The module answers, but something inside raises when it is differentiated."""


class UnknownName(NeuralQuineError):
    """A recipe, method, damage or option that does not exist; the message suggests the nearest name."""


class BadOption(NeuralQuineError, ValueError):
    """An option or argument exists, but its value is out of range, of the wrong type, or in conflict with another."""


class QuineFileError(NeuralQuineError):
    """A folder or file that is not a readable quine: missing, truncated, altered or foreign."""


class TooLarge(NeuralQuineError):
    """An object would need more memory than allowed; the message states the bytes."""


class NotSound(NeuralQuineError):
    """A network is to be proved a quine, and a plain evaluation denies it."""


class NothingToSolve(NeuralQuineError):
    """The network prints itself by construction, whatever it has learned, so that there is nothing to solve."""


class Irreparable(NeuralQuineError):
    """A guarded network was damaged beyond what it can repair."""


class NotSolved(NeuralQuineError):
    """No quine was found. The best iterate is in ``solution``, a :class:`neuralquine.Solution`."""

    def __init__(self, message: str, solution: Any) -> None:
        super().__init__(message)
        self.solution = solution


def did_you_mean(name: str, known: list[str]) -> str:
    """The tail of an error message: the nearest known name, else all of them."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(known)


def plural(count: int, noun: str) -> str:
    """``1 probe``, ``2 probes``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def word(value: bool | None) -> str:
    """A verdict as a person reads it; None stands for what was not examined."""
    return "not examined" if value is None else ("yes" if value else "no")


MAX_BYTES = 2 << 30  # of one table or matrix; above it, a structured or matrix-free way has to be taken


def check_bytes(what: str, size: int, remedy: str, limit: int = MAX_BYTES) -> None:
    """Refuse an allocation of ``size`` bytes above ``limit`` bytes; the message names both and the remedy."""
    if size > limit:
        raise TooLarge(f"{what} would take {size / 2**30:.3g} GiB, more than {limit / 2**30:.3g} GiB: {remedy}")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def needed(module: str, extra: str, purpose: str, package: str = "") -> Any:
    """Import a library of an extra.

    Args:
        module: what is imported, such as ``"pyarrow.parquet"``.
        extra: the extra of this package that installs it.
        purpose: the subject of the message, with its verb: ``"sweeps need"``.
        package: the name that the message calls it by; by default the first part of ``module``.

    Raises:
        NeuralQuineError: the library is not installed; the message says how to install it.
    """
    try:
        found = importlib.import_module(module)
    except ImportError:
        found = None
    if getattr(found, "__file__", None) is None:  # a folder of that name, as wandb leaves one, is no package
        name = package or module.partition(".")[0]
        raise NeuralQuineError(f"{purpose} {name}: {installing(extra)}")
    return found


def installing(extra: str) -> str:
    """The command that adds an extra to this installation: to the clone or the file that it came from, with the pip beside it."""
    pip, here = Path(sys.executable).with_name("pip"), sys.prefix in (sys.base_prefix, os.environ.get("VIRTUAL_ENV"))
    command = "pip" if here or not pip.exists() else _short(pip)
    try:
        origin = json.loads(metadata.distribution("neuralquine").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        origin = {}
    url, what, editable = origin.get("url", ""), f"neuralquine[{extra}]", ""
    if "dir_info" in origin:  # a clone, such as `make quine` installs
        what = f"{_short(Path(unquote(urlsplit(url).path)))}[{extra}]"
        editable = "-e " if origin["dir_info"].get("editable") else ""
    elif url:
        what += f" @ {url}"
    return f"{command} install {editable}{shlex.quote(what)}"


def _short(path: Path) -> str:
    """A path as it is called from the current folder, where it lies in it."""
    with contextlib.suppress(ValueError, OSError):
        path = path.relative_to(Path.cwd())
    return str(path)
