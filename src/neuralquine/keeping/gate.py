"""The gate before a proof: what loading refuses, or what a plain evaluation denies, is not worth a theorem.

Proofs read a folder by themselves, without torch, by rules of their own. A folder that they take for another network than
the one that runs would be a false theorem; so the quine is loaded and asked once before anything is claimed.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import NeuralQuineError, NotSound
from ..files.folder import FUNCTION, kind_of, read_config
from ..quines.measure import measure, round_off
from ..quines.quine import Quine
from ..quines.taped import TaskQuine
from .store import load

_PROVABLE = (Quine.kind, TaskQuine.kind)


def check_sound(folder: str | Path) -> None:
    """Load a folder, and let its network print once.

    A network that no file describes is passed on: no proof covers it, and the rules say so.

    Raises:
        QuineFileError: the folder holds no usable quine.
        NotSound: what is printed is farther from the stored weights than round-off.
    """
    folder = Path(folder)
    config = read_config(folder)
    if config["trunk"] is None or config["select"] == FUNCTION or kind_of(config) not in _PROVABLE:
        return
    quine = load(folder)
    found = measure(quine)
    if found.nonfinite_weights or not found.relative_residual <= round_off(quine.dtype):
        raise NotSound(f"{folder} is no quine: evaluated, it has a relative residual of {found.relative_residual:.1e}")


def contradiction(folder: Path) -> str | None:
    """Say what one evaluation in torch has against a proof about the quine of a folder: the witness of a proof.

    On a grid, or from a tape, the printed weights must be the stored ones, bit by bit; without one the relative residual must be at
    round-off, as wherever a quine is called converged.

    Returns:
        The reason in one sentence; None where the evaluation agrees.
    """
    try:
        quine = load(folder)
        figures = measure(quine)
    except NeuralQuineError as error:
        return f"the folder does not load: {error}"
    if quine.code_bits is not None or quine.constructed:
        differing = figures.differing_weights
        return f"a plain evaluation prints {differing} of the weights with other bits" if differing else None
    if figures.relative_residual <= round_off(quine.dtype):
        return None
    return f"a plain evaluation has the relative residual {figures.relative_residual:.1e}"
