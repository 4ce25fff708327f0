"""Theorems about a kept quine, behind the gate: what does not load, or is denied by a plain evaluation, is not looked at.

The same verbs of ``proving`` run without torch, and are asked here only after the folder was loaded and its network has
printed once; the folder is a stranger's, and to load it costs no more than its weights allow for. What is proved of it takes
no more than its time either: ``time_limit`` seconds of the processor, by default 12 and one more for each 1,000 bytes of weights.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NotSound, TooLarge, needed
from ..proving import verbs
from ..quines.quine import Quine
from .gate import check_sound, contradiction
from .patience import patience
from .store import save

if TYPE_CHECKING:
    from ..proving.tubes.margins import Say
    from ..proving.verdicts import Portability

_FEW = 100  # digits of a weight up to which the limit holds that a proof has
_AT_ONCE = 1 << 22  # numbers P d of an expansion, as of every small recipe, whose round-off is bounded in a second


def certify(folder: str | Path, *, time_limit: float | None = None, say: Say | None = None) -> dict[str, Any]:
    """Prove what can be proved about the quine of a folder, and write ``certificate.json`` beside it.

    Args:
        folder: of the quine.
        time_limit: seconds of the processor.
        say: is told what is done next.

    Returns:
        The certificate; its ``claim`` is the theorem in a sentence.

    Raises:
        QuineFileError: the folder holds no usable quine.
        NotSound: a plain evaluation says that it is no quine.
        NotProved: the theorem does not apply.
        NoRule: a module has no proof rule.
        TooLarge: it takes longer than the limit.
    """
    with patience(folder, time_limit):
        check_sound(folder)
        return verbs.certify(folder, witness=contradiction, say=say)


def check(
    path: str | Path,
    folder: str | Path | None = None,
    *,
    time_limit: float | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """Verify a certificate again, from the weights alone; the errors are those of :func:`certify`.

    Args:
        path: the certificate.
        folder: the quine; by default the folder that the certificate lies in.
        time_limit: seconds of the processor.
        say: is told what is done next.

    Returns:
        The certificate, if it holds.
    """
    home = Path(path).parent if folder is None else folder
    with patience(home, time_limit):
        check_sound(home)
        return verbs.check(path, folder, witness=contradiction, say=say)


def digits(folder: str | Path, count: int, *, time_limit: float | None = None) -> list[str]:
    """Each weight of the real quine as a decimal string of ``count`` guaranteed digits; the errors are those of :func:`certify`.

    Whoever asks for more than 100 digits has asked for the time, too: then there is no limit but ``time_limit``.
    """
    needed("flint", "proof", "digits need", "python-flint")
    from ..proving.digits import digits as run

    with patience(folder, math.inf if time_limit is None and count > _FEW else time_limit):
        check_sound(folder)
        return run(folder, count, witness=contradiction)


def portability_at_once(quine: Quine, folder: Path | None) -> Portability | None:
    """:func:`portability` of a bit-exact quine where it takes a second or three; None where it takes longer, or has no rule.

    Args:
        quine: the network.
        folder: where it was saved, if it was.
    """
    if quine.parameter_count * quine.code_size > _AT_ONCE:
        return None
    from ..proving.rules import NoRule

    try:
        if folder is not None:
            return portability(folder)
        with tempfile.TemporaryDirectory() as place:
            save(quine, Path(place) / "quine")
            return portability(Path(place) / "quine")
    except (NoRule, NotSound, TooLarge):
        return None


def portability(folder: str | Path, *, time_limit: float | None = None) -> Portability:
    """Whether every machine is proved to print the same bits; the errors are those of :func:`certify`, but for NotProved."""
    with patience(folder, time_limit):
        check_sound(folder)
        return verbs.portability(folder, witness=contradiction)
