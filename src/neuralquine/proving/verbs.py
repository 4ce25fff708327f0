"""What can be asked about a folder, of whoever proves quines of its kind: the small checker, or tubes and balls.

The checker takes NumPy alone, so that the others, which take python-flint, are imported where they are asked.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import checker
from .verdicts import Portability
from .witness import Asked


def certify(folder: str | Path, *, witness: Asked = "evaluation") -> dict[str, Any]:
    """Prove what can be proved about the quine of a folder: :func:`neuralquine.proving.certificate.certify`."""
    if checker.covers(folder):
        return checker.certify(folder, witness=witness)
    from .certificate import certify as run

    return run(folder, witness=witness)


def check(path: str | Path, folder: str | Path | None = None, *, witness: Asked = "evaluation") -> dict[str, Any]:
    """Verify a certificate again, from the weights alone: :func:`neuralquine.proving.certificate.check`."""
    if checker.covers(Path(path).parent if folder is None else folder):
        return checker.check(path, folder, witness=witness)
    from .certificate import check as run

    return run(path, folder, witness=witness)


def portability(
    folder: str | Path, *, witness: Asked = "evaluation", say: Callable[[str], None] | None = None
) -> Portability:
    """Bound every floating-point evaluation of a stored quine: :func:`neuralquine.proving.portable.portability`."""
    if checker.covers(folder):
        return checker.portability(folder, witness=witness)
    from .portable import portability as run

    return run(folder, witness=witness, say=say)
