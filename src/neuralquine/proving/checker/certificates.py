"""Certificates of quines of two kinds, verified from the weights alone.

Whoever made a certificate is not believed: each number is found again, and may claim less than that, never more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...files.folder import kind_of, read_config
from ...files.names import CONFIG
from ..form import FORMAT, check_seal, check_words, verified
from ..rules import NoRule
from ..verdicts import NotProved
from ..witness import Asked
from . import rounded, tape
from .rounded import Rounded
from .stored import Stored
from .tape import Taped

_KINDS = {kind.name: kind for kind in (Taped, Rounded)}
_SHARE = 0.5  # of what is found, at least: a claim of less is hardly one of these weights


def covers(folder: str | Path) -> bool:
    """Whether the quine of a folder is of a kind that is proved here, without balls."""
    return (Path(folder) / CONFIG).is_file() and _reader(Path(folder)) is not None


def read(folder: str | Path) -> Stored:
    """The quine of a folder as the checker sees it.

    Raises:
        NotProved: the theorem does not apply.
        NoRule: a module has no proof rule.
        QuineFileError: the folder is not readable.
    """
    reader = _reader(Path(folder))
    if reader is None:
        raise NoRule("no proof rule for a quine without a tape and without a grid of activations")
    return reader(folder)


def _reader(folder: Path) -> type[Stored] | None:
    config = read_config(folder)
    return Taped if kind_of(config) == tape.KIND else Rounded if rounded.GRID in config else None


def check(path: str | Path, folder: str | Path | None = None, *, witness: Asked = "evaluation") -> dict[str, Any]:
    """Verify a certificate again, from the weights alone.

    Args:
        path: the certificate.
        folder: the quine; by default the folder that the certificate lies in.
        witness: is asked whether a plain evaluation agrees, once the certificate holds.

    Returns:
        The certificate, if it holds.

    Raises:
        NotProved: it was altered, the weights are not its own, or the theorem does not apply.
        QuineFileError: a file is not readable.
    """
    return verified(path, folder, witness, _check)


def _check(c: dict[str, Any], folder: Path) -> None:
    check_seal(c, _KINDS)
    quine = read(folder)
    check_words(c, common(quine), ["machines"], lambda said: sentence(said, quine))
    if not c["machines"] or not set(c["machines"]) <= {quine.trunk_dtype, "float64"}:
        raise NotProved("the certificate is of machines that are not looked at")
    for dtype, said in c["machines"].items():
        _check_numbers(said, quine.found(dtype))


def _check_numbers(said: dict[str, Any], found: dict[str, float]) -> None:
    if set(said) != set(found) or not all(type(number) is float for number in said.values()):
        raise NotProved("the certificate does not give the numbers of its theorem")
    for name, number in found.items():
        low, high = (number, number / _SHARE) if name.endswith("at_most") else (_SHARE * number, number)
        if not low <= said[name] <= high:
            raise NotProved(f"the certificate's {name} is not what is found, {number!r}")


def common(quine: Stored) -> dict[str, Any]:
    """What a certificate says of a quine, beside its theorem."""
    return {
        "format": FORMAT,
        "kind": quine.name,
        "weights_sha256": quine.sha256,
        "parameters": len(quine.theta),
        "dtype": quine.dtype,
        **({} if quine.trunk_dtype == quine.dtype else {"trunk_dtype": quine.trunk_dtype}),
        **quine.about(),
    }


def sentence(c: dict[str, Any], quine: Stored) -> str:
    """The theorem in words, by what a certificate says of its machines."""
    return quine.claim(c, " and ".join(c["machines"]), min(machine["margin"] for machine in c["machines"].values()))
