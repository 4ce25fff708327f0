"""The theorems of the command line for Python: of a folder, or of a quine that lies in none yet."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import BadOption
from ..quines.quine import Quine
from . import theorems
from .examples import located, own
from .store import save

if TYPE_CHECKING:
    from ..proving.verdicts import Portability

_T = TypeVar("_T")


def certify(
    quine: Quine | str | Path, folder: str | Path | None = None, *, time_limit: float | None = None
) -> dict[str, Any]:
    """Prove what can be proved about a quine, as ``neuralquine certify`` does.

    Args:
        quine: a folder, beside whose weights the certificate is written; or a quine.
        folder: where a quine is saved with its certificate; by default nothing is kept.
        time_limit: seconds of the processor; by default 12, and one more for each 1,000 bytes of weights. It holds in the
            main thread, as in all verbs of this module.

    Returns:
        The certificate; its ``claim`` is the theorem in a sentence.

    Raises:
        NotSound: a plain evaluation says that it is no quine.
        TooLarge: it takes longer than the limit.
        NeuralQuineError: the theorem does not apply.
    """
    if isinstance(quine, Quine) and folder is not None:
        save(quine, folder)
        quine = folder
    elif folder is not None:
        raise BadOption("folder= is for a quine: a folder keeps its own certificate")
    return _of_folder(
        quine if isinstance(quine, Quine) else own(quine), partial(theorems.certify, time_limit=time_limit)
    )


def check_proof(folder: str | Path, *, time_limit: float | None = None) -> dict[str, Any]:
    """Verify a certificate again from the weights alone, as ``neuralquine check-proof`` does; returns it if it holds.

    Args:
        folder: of the quine, or the certificate in it.
        time_limit: as of :func:`certify`.

    Raises:
        NeuralQuineError: the proof does not hold.
    """
    from ..files.names import CERTIFICATE

    path = located(folder)
    return theorems.check(path / CERTIFICATE if path.is_dir() else path, time_limit=time_limit)


def portable(quine: Quine | str | Path, *, time_limit: float | None = None) -> Portability:
    """Whether every machine is proved to print the same bits, as ``neuralquine verify --portable`` asks.

    Args:
        quine: a folder or a quine.
        time_limit: as of :func:`certify`.

    Returns:
        ``proved``, the ``reason``, and the margins of the proof.
    """
    return _of_folder(quine, partial(theorems.portability, time_limit=time_limit))


def digits(quine: Quine | str | Path, count: int = 50, *, time_limit: float | None = None) -> list[str]:
    """Each weight of the real quine to ``count`` guaranteed digits, as ``neuralquine digits`` writes them (extra ``proof``).

    Args:
        quine: a folder or a quine.
        count: of digits.
        time_limit: as of :func:`certify`; by default none for more than 100 digits.
    """
    if count < 1:
        raise BadOption(f"count must be at least 1, not {count}")
    return _of_folder(quine, lambda folder: theorems.digits(folder, count, time_limit=time_limit))


def _of_folder(quine: Quine | str | Path, ask: Callable[[Path], _T]) -> _T:
    """Ask about a folder; a quine is written to one that goes again."""
    if not isinstance(quine, Quine):
        folder = located(quine)
        return ask(folder)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "quine"
        save(quine, folder)
        return ask(folder)
