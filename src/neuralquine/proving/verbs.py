"""What can be asked about a folder, of whoever proves quines of its kind: the small checker, or tubes. Both take NumPy alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import certificate, checker, constructed, portable
from .tubes.margins import Say
from .verdicts import Portability
from .witness import Asked


def certify(folder: str | Path, *, witness: Asked = "evaluation", say: Say | None = None) -> dict[str, Any]:
    """Prove what can be proved about the quine of a folder: :func:`neuralquine.proving.certificate.certify`."""
    if checker.covers(folder):
        return constructed.certify(folder, witness=witness)
    return certificate.certify(folder, witness=witness, say=say)


def check(
    path: str | Path, folder: str | Path | None = None, *, witness: Asked = "evaluation", say: Say | None = None
) -> dict[str, Any]:
    """Verify a certificate again, from the weights alone: :func:`neuralquine.proving.certificate.check`."""
    if checker.covers(Path(path).parent if folder is None else folder):
        return checker.check(path, folder, witness=witness)
    return certificate.check(path, folder, witness=witness, say=say)


def portability(folder: str | Path, *, witness: Asked = "evaluation", say: Say | None = None) -> Portability:
    """Bound every floating-point evaluation of a stored quine: :func:`neuralquine.proving.portable.portability`."""
    if checker.covers(folder):
        return constructed.portability(folder, witness=witness)
    return portable.portability(folder, witness=witness, say=say)
