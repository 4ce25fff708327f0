"""Certificates of what the small checker proves, and their verification from the weights alone.

Whoever made a certificate is not believed: each number is computed again, and may claim less than is found, never more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...files.folder import kind_of, read_config
from ...files.names import CONFIG
from ..form import FORMAT, check_seal, check_words, issued, verified
from ..rules import NoRule
from ..verdicts import NotProved, Portability
from ..witness import Asked, hear
from . import rounded, tape
from .held import ULPS
from .rounded import Rounded
from .stored import Stored
from .tape import Taped

_KINDS = {kind.name: kind for kind in (Taped, Rounded)}


def covers(folder: str | Path) -> bool:
    """Whether the quine of a folder is of a kind that is proved here, without balls."""
    return (Path(folder) / CONFIG).is_file() and _reader(Path(folder)) is not None


def read(folder: str | Path) -> Stored:
    """The quine of a folder as the checker sees it; the errors are those of :func:`certify`."""
    reader = _reader(Path(folder))
    if reader is None:
        raise NoRule("no proof rule for a quine without a tape and without a grid of activations")
    return reader(folder)


def _reader(folder: Path) -> type[Stored] | None:
    config = read_config(folder)
    return Taped if kind_of(config) == tape.KIND else Rounded if rounded.GRID in config else None


def certify(folder: str | Path, *, witness: Asked = "evaluation") -> dict[str, Any]:
    """Prove that the quine of a folder prints itself, and write ``certificate.json`` beside it.

    Args:
        folder: of the quine.
        witness: is asked whether a plain evaluation agrees, before the certificate is written.

    Returns:
        The certificate.

    Raises:
        NotProved: the theorem does not apply.
        NoRule: a module has no proof rule.
        QuineFileError: the folder is not readable.
    """
    return issued(_proved(Path(folder)), folder, witness)


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


def portability(folder: str | Path, *, witness: Asked = "evaluation") -> Portability:
    """Whether every machine prints the stored bits, with the trunk run in the type that the folder says."""
    try:
        certificate = _proved(Path(folder))
        hear(witness, folder)
    except NotProved as error:
        return Portability(False, str(error), ulps=ULPS)
    machines, dtype = certificate["machines"], certificate.get("trunk_dtype", certificate["dtype"])
    if dtype not in machines:
        reason = (
            f"no bound of the trunk's round-off is known in {dtype}; run in float64, it prints the same bits everywhere: "
            "make it with trunk_dtype=float64"
        )
        return Portability(False, reason, ulps=ULPS, wider="float64")
    margin = machines[dtype]["margin"]
    if certificate["kind"] == Taped.name:
        reason = f"every vote is at least {margin:.3g} times what makes a full sign, in any order of summation"
        return Portability(True, reason, ulps=ULPS)
    reason = f"round-off ends at every rounding of the activations, and leaves a margin of {margin:.2g} grid steps"
    return Portability(True, reason, margin, margin, ULPS)


def _proved(folder: Path) -> dict[str, Any]:
    """The certificate of what is proved, without its digest."""
    quine, machines, reason = read(folder), {}, ""
    for dtype in dict.fromkeys((quine.trunk_dtype, "float64")):
        try:
            machines[dtype] = quine.proved(dtype)
        except NotProved as error:
            reason = str(error)
    if not machines:
        raise NotProved(reason)
    certificate = _common(quine) | {"machines": machines}
    return certificate | {"claim": _claim(certificate, quine)}


def _common(quine: Stored) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": quine.name,
        "weights_sha256": quine.sha256,
        "parameters": len(quine.theta),
        "dtype": quine.dtype,
        **({} if quine.trunk_dtype == quine.dtype else {"trunk_dtype": quine.trunk_dtype}),
        **quine.about(),
    }


def _claim(c: dict[str, Any], quine: Stored) -> str:
    return quine.claim(c, " and ".join(c["machines"]), min(machine["margin"] for machine in c["machines"].values()))


def _check(c: dict[str, Any], folder: Path) -> None:
    check_seal(c, _KINDS)
    quine = read(folder)
    check_words(c, _common(quine), ["machines"], lambda said: _claim(said, quine))
    if not c["machines"] or not set(c["machines"]) <= {quine.trunk_dtype, "float64"}:
        raise NotProved("the certificate is of machines that are not looked at")
    for dtype, said in c["machines"].items():
        quine.check_said(said, dtype)
