"""Certificates of what the small checker proves, and their verification from the weights alone.

Whoever made a certificate is not believed: each number is computed again, and may claim less than is found, never more.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from ...errors import QuineFileError
from ...files.atomic import replace_file
from ...files.folder import kind_of, read_config
from ...files.names import CERTIFICATE
from ...files.strict_json import canonical, read_json
from ..verdicts import NotProved, Portability
from ..witness import Asked, hear
from . import tape
from .held import ULPS, Machine
from .tape import Taped

FORMAT = 1
TAPE = "tape of signs"


def covers(folder: str | Path) -> bool:
    """Whether the quine of a folder is of a kind that is proved here, without balls."""
    return kind_of(read_config(Path(folder))) == tape.KIND


def read(folder: str | Path) -> Taped:
    """The quine of a folder as the checker sees it; the errors are those of :func:`certify`."""
    return Taped(folder)


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
    reason = f"every vote is at least {machines[dtype]['margin']:.3g} times what makes a full sign, in any order of summation"
    return Portability(True, reason, ulps=ULPS)


def _proved(folder: Path) -> dict[str, Any]:
    """The certificate of what is proved, without its digest."""
    quine = Taped(folder)
    quine.check_print()
    machines, reason = {}, ""
    for dtype in dict.fromkeys((quine.dtype, "float64")):
        try:
            votes = quine.votes(Machine.of(dtype))
        except NotProved as error:
            reason = str(error)
        else:
            machines[dtype] = {"features_at_least": votes.least, "features_at_most": votes.most, "margin": votes.margin}
    if not machines:
        raise NotProved(reason)
    certificate = _common(quine) | {"machines": machines}
    return certificate | {"claim": _claim(certificate)}


def _common(quine: Taped) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": TAPE,
        "weights_sha256": quine.sha256,
        "parameters": len(quine.theta),
        "code_size": quine.d,
        "repeats": quine.repeats,
        "features": quine.places,
        "dtype": quine.dtype,
    }


def _claim(c: dict[str, Any]) -> str:
    types, least = " and ".join(c["machines"]), min(machine["margin"] for machine in c["machines"].values())
    return (
        f"In exact real arithmetic, and in IEEE arithmetic of {types} with sums in any order, the network reads the "
        f"{c['code_size']} signs of its tape, each with at least {least!r} times the votes that make a sign, and prints its "
        f"{c['parameters']} weights of {c['dtype']} bit for bit."
    )


def _digest(certificate: dict[str, Any]) -> str:
    body = {k: v for k, v in certificate.items() if k != "digest"}
    return hashlib.sha256(canonical(body).encode()).hexdigest()


def _check(c: dict[str, Any], folder: Path) -> None:
    if c["format"] != FORMAT or c["kind"] != TAPE:
        raise NotProved("the certificate is of another format")
    if c["digest"] != _digest(c):
        raise NotProved("the certificate was altered: its digest does not fit")
    quine = Taped(folder)
    if c["weights_sha256"] != quine.sha256:
        raise NotProved("the certificate is of other weights")
    common = _common(quine)
    odd = set(c) - {*common, "machines", "claim", "digest"}
    if odd:
        raise NotProved(f"the certificate says more than is checked: {min(odd)[:40]!r}")
    # In one spelling, because True and 1.0 are equal to 1.
    if canonical({k: c[k] for k in common}) != canonical(common) or c["claim"] != _claim(c):
        raise NotProved("the certificate describes another network")
    if not c["machines"] or not set(c["machines"]) <= {quine.dtype, "float64"}:
        raise NotProved("the certificate is of machines that are not looked at")
    quine.check_print()
    for dtype, said in c["machines"].items():
        _check_votes(said, quine, Machine.of(dtype))


def _check_votes(said: dict[str, Any], quine: Taped, machine: Machine) -> None:
    least, most, margin = (said[name] for name in ("features_at_least", "features_at_most", "margin"))
    if len(said) != 3 or not all(type(v) is float and math.isfinite(v) for v in (least, most, margin)):
        raise NotProved("the certificate gives no bounds of the votes")
    found = quine.votes(machine)
    if not 0 < least <= found.least or not found.most <= most:
        raise NotProved("the features may be smaller or larger than claimed")
    if not 1 <= margin <= quine.margin(machine, least, most):
        raise NotProved("the votes may be smaller than claimed")
