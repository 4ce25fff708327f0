"""The form of a certificate, whatever its theorem: a digest, the words that say of what it is, and no others.

The mathematics is elsewhere: of balls and tubes in ``certificate.py``, of the small checker in ``checker/``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..errors import QuineFileError
from ..files.atomic import replace_file
from ..files.names import CERTIFICATE
from ..files.strict_json import canonical, read_json
from .verdicts import NotProved
from .witness import Asked, hear

FORMAT = 1

Certificate = dict[str, Any]


def digest(certificate: Certificate) -> str:
    """The hash of all that a certificate says."""
    body = {k: v for k, v in certificate.items() if k != "digest"}
    return hashlib.sha256(canonical(body).encode()).hexdigest()


def issued(certificate: Certificate, folder: str | Path, witness: Asked) -> Certificate:
    """Write a certificate beside its quine, unless the witness contradicts.

    Raises:
        NotProved: it does.
    """
    certificate["digest"] = digest(certificate)
    hear(witness, folder)
    with replace_file(Path(folder) / CERTIFICATE) as path:
        path.write_text(json.dumps(certificate, indent=1) + "\n", encoding="utf-8")
    return certificate


def verified(
    path: str | Path, folder: str | Path | None, witness: Asked, check: Callable[[Certificate, Path], None]
) -> Certificate:
    """Read a certificate, have it checked against a folder, by default its own, and ask the witness.

    Raises:
        NotProved: the check or the witness says so.
        QuineFileError: the file holds no certificate.
    """
    path = Path(path)
    folder = path.parent if folder is None else Path(folder)
    claimed = read_json(path)
    try:
        check(claimed, folder)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        raise QuineFileError(f"{path} is not a certificate: {type(error).__name__} {error}") from error
    hear(witness, folder)
    return claimed


def check_seal(c: Certificate, kinds: Iterable[str]) -> None:
    """Raise NotProved for a certificate of none of these kinds, or one whose digest does not fit."""
    if c["format"] != FORMAT or c["kind"] not in kinds:
        raise NotProved("the certificate is of another format")
    if c["digest"] != digest(c):
        raise NotProved("the certificate was altered: its digest does not fit")


def check_words(c: Certificate, common: Certificate, more: Iterable[str], claim: Callable[[Certificate], str]) -> None:
    """Raise NotProved where a certificate is of another network, or says what nobody checks.

    Args:
        c: the certificate.
        common: what it must say, in one spelling, because True and 1.0 are equal to 1.
        more: keys whose values the theorem is about.
        claim: the theorem in a sentence, by what the certificate says.
    """
    if c["weights_sha256"] != common["weights_sha256"]:
        raise NotProved("the certificate is of other weights")
    odd = set(c) - {*common, *more, "claim", "digest"}
    if odd:
        raise NotProved(f"the certificate says more than is checked: {min(odd)[:40]!r}")
    if canonical({k: c[k] for k in common}) != canonical(common) or c["claim"] != claim(c):
        raise NotProved("the certificate describes another network")
