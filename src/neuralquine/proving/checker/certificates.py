"""Certificates of what the small checker proves, and their verification from the weights alone.

Whoever made a certificate is not believed: each number is computed again, and may claim less than is found, never more.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ...errors import QuineFileError
from ...files.atomic import replace_file
from ...files.folder import kind_of, read_config
from ...files.names import CERTIFICATE, CONFIG
from ...files.strict_json import canonical, read_json
from ..rules import NoRule
from ..verdicts import NotProved, Portability
from ..witness import Asked, hear
from . import rounded, tape
from .held import ULPS
from .rounded import Rounded
from .tape import Taped

FORMAT = 1


def covers(folder: str | Path) -> bool:
    """Whether the quine of a folder is of a kind that is proved here, without balls."""
    return (Path(folder) / CONFIG).is_file() and _reader(Path(folder)) is not None


def read(folder: str | Path) -> Taped | Rounded:
    """The quine of a folder as the checker sees it; the errors are those of :func:`certify`."""
    reader = _reader(Path(folder))
    if reader is None:
        raise NoRule("no proof rule for a quine without a tape and without a grid of activations")
    return reader(folder)


def _reader(folder: Path) -> type[Taped] | type[Rounded] | None:
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
    folder = Path(folder)
    certificate = _proved(folder)
    certificate["digest"] = _digest(certificate)
    hear(witness, folder)
    with replace_file(folder / CERTIFICATE) as path:
        path.write_text(json.dumps(certificate, indent=1) + "\n", encoding="utf-8")
    return certificate


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
    path = Path(path)
    folder = path.parent if folder is None else Path(folder)
    claimed = read_json(path)
    try:
        _check(claimed, folder)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        raise QuineFileError(f"{path} is not a certificate: {type(error).__name__} {error}") from error
    hear(witness, folder)
    return claimed


def portability(folder: str | Path, *, witness: Asked = "evaluation") -> Portability:
    """Whether every machine prints the stored bits, with the trunk run in the type of the weights."""
    try:
        certificate = _proved(Path(folder))
        hear(witness, folder)
    except NotProved as error:
        return Portability(False, str(error), ulps=ULPS)
    machines, dtype = certificate["machines"], certificate["dtype"]
    if dtype not in machines:
        reason = (
            f"no bound of the trunk's round-off is known in {dtype}; run in float64, it prints the same bits everywhere"
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
    for dtype in dict.fromkeys((quine.dtype, "float64")):
        try:
            machines[dtype] = quine.proved(dtype)
        except NotProved as error:
            reason = str(error)
    if not machines:
        raise NotProved(reason)
    certificate = _common(quine) | {"machines": machines}
    return certificate | {"claim": _claim(certificate, quine)}


def _common(quine: Taped | Rounded) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": quine.name,
        "weights_sha256": quine.sha256,
        "parameters": len(quine.theta),
        "dtype": quine.dtype,
        **quine.about(),
    }


def _claim(c: dict[str, Any], quine: Taped | Rounded) -> str:
    return quine.claim(c, " and ".join(c["machines"]), min(machine["margin"] for machine in c["machines"].values()))


def _digest(certificate: dict[str, Any]) -> str:
    body = {k: v for k, v in certificate.items() if k != "digest"}
    return hashlib.sha256(canonical(body).encode()).hexdigest()


def _check(c: dict[str, Any], folder: Path) -> None:
    if c["format"] != FORMAT or c["kind"] not in (Taped.name, Rounded.name):
        raise NotProved("the certificate is of another format")
    if c["digest"] != _digest(c):
        raise NotProved("the certificate was altered: its digest does not fit")
    quine = read(folder)
    if c["weights_sha256"] != quine.sha256:
        raise NotProved("the certificate is of other weights")
    common = _common(quine)
    odd = set(c) - {*common, "machines", "claim", "digest"}
    if odd:
        raise NotProved(f"the certificate says more than is checked: {min(odd)[:40]!r}")
    # In one spelling, because True and 1.0 are equal to 1.
    if canonical({k: c[k] for k in common}) != canonical(common) or c["claim"] != _claim(c, quine):
        raise NotProved("the certificate describes another network")
    if not c["machines"] or not set(c["machines"]) <= {quine.dtype, "float64"}:
        raise NotProved("the certificate is of machines that are not looked at")
    for dtype, said in c["machines"].items():
        quine.check_said(said, dtype)
