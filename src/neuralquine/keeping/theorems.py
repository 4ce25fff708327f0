"""Theorems about a kept quine, behind the gate: what does not load, or is denied by a plain evaluation, is not looked at.

The same verbs of ``proving`` run without torch, and are asked here only after the folder was loaded and its network has
printed once; the folder is a stranger's, and to load it costs no more than its weights allow for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .gate import check_sound, contradiction

if TYPE_CHECKING:
    from ..proving.portable import Portability


def certify(folder: str | Path) -> dict[str, Any]:
    """Prove what can be proved about the quine of a folder, and write ``certificate.json`` beside it.

    Returns:
        The certificate; its ``claim`` is the theorem in a sentence.

    Raises:
        QuineFileError: the folder holds no usable quine.
        NotSound: a plain evaluation says that it is no quine.
        NotProved: the theorem does not apply.
        NoRule: a module has no proof rule.
    """
    from ..proving.certificate import certify as run

    check_sound(folder)
    return run(folder, witness=contradiction)


def check(path: str | Path, folder: str | Path | None = None) -> dict[str, Any]:
    """Verify a certificate again, from the weights alone; the errors are those of :func:`certify`.

    Args:
        path: the certificate.
        folder: the quine; by default the folder that the certificate lies in.

    Returns:
        The certificate, if it holds.
    """
    from ..proving.certificate import check as run

    check_sound(Path(path).parent if folder is None else folder)
    return run(path, folder, witness=contradiction)


def digits(folder: str | Path, count: int) -> list[str]:
    """Each weight of the real quine as a decimal string of ``count`` guaranteed digits; the errors are those of :func:`certify`."""
    from ..proving.digits import digits as run

    check_sound(folder)
    return run(folder, count, witness=contradiction)


def portability(folder: str | Path) -> Portability:
    """Whether every machine is proved to print the same bits; the errors are those of :func:`certify`, but for NotProved."""
    from ..proving.portable import portability as run

    check_sound(folder)
    return run(folder, witness=contradiction)
