"""Quines that print the same everywhere by how they are made, from a tape of signs or on a grid of activations.

What is found is the small checker's (``checker/``). Here it is written down and put into words, which needs not be believed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .checker.certificates import common, read, sentence
from .checker.held import ULPS
from .checker.tape import Taped
from .form import issued
from .verdicts import NotProved, Portability
from .witness import Asked, hear

_GIVEN = 1 + 1e-9  # of a sum of features, more than what two computers' float64 can differ by


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
    return issued(_proved(folder), folder, witness)


def portability(folder: str | Path, *, witness: Asked = "evaluation") -> Portability:
    """Whether every machine prints the stored bits, with the trunk run in the type that the folder says."""
    try:
        certificate = _proved(folder)
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


def _proved(folder: str | Path) -> dict[str, Any]:
    """The certificate of what is proved, without its digest."""
    quine, machines, reason = read(folder), {}, ""
    for dtype in dict.fromkeys((quine.trunk_dtype, "float64")):
        try:
            machines[dtype] = {name: _less(name, v, quine.given) for name, v in quine.found(dtype).items()}
        except NotProved as error:
            reason = str(error)
    if not machines:
        raise NotProved(reason)
    certificate = common(quine) | {"machines": machines}
    return certificate | {"claim": sentence(certificate, quine)}


def _less(name: str, number: float, given: float) -> float:
    """What is claimed of a number: a little less than was found, so that other computers find it again."""
    if name == "margin":
        return number - given
    return number * _GIVEN if name.endswith("at_most") else number / _GIVEN
