"""Who is asked whether a plain evaluation agrees with a proof, where nobody is named.

A theorem is no better than the rules and the folder that it was read from, so what it claims is compared with one run of the
network. This room runs nothing itself. The package's face names the witness when it is imported, which is
``keeping.gate.contradiction`` wherever torch is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from .verdicts import NotProved

Witness = Callable[[Path], str | None]  # what a plain evaluation of a folder's quine says against a proof, if anything
Asked = Witness | Literal["evaluation"] | None
"""A witness, the one that the package names, or none: then a theorem is the arithmetic's alone."""

_named: list[Witness] = []


def name_witness(witness: Witness) -> None:
    """Let this one be asked where a proof names no other."""
    _named[:] = [witness]


def heard(asked: Asked, folder: str | Path) -> str | None:
    """What the witness has against the quine of a folder; None where it agrees, or where there is none."""
    witnesses = _named if asked == "evaluation" else [] if asked is None else [asked]
    return next((reason for reason in (witness(Path(folder)) for witness in witnesses) if reason is not None), None)


def hear(witness: Asked, folder: str | Path) -> None:
    """Raise NotProved where the witness contradicts: then a rule is wrong, or the folder is not what torch loads."""
    reason = heard(witness, folder)
    if reason is not None:
        raise NotProved(f"the proof is contradicted: {reason}")
