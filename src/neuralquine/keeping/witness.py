"""A plain evaluation as the witness of a proof: what is proved of a folder's quine has to be so in torch, too.

The proofs run their own arithmetic of their own rules, and no torch. Should a rule ever compute another network than the
module of its name, the evaluation here contradicts the proof before anything is claimed.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import NeuralQuineError
from ..quines.measure import measure, round_off
from .store import load


def contradiction(folder: Path) -> str | None:
    """Say what one evaluation in torch has against a proof about the quine of a folder.

    On a grid the printed weights must be the stored ones, bit by bit; without one the relative residual must be at
    round-off, as wherever a quine is called converged.

    Returns:
        The reason in one sentence; None where the evaluation agrees.
    """
    try:
        quine = load(folder)
        figures = measure(quine)
    except NeuralQuineError as error:
        return f"the folder does not load: {error}"
    if quine.code_bits is not None:
        differing = figures.differing_weights
        return f"a plain evaluation prints {differing} of the weights with other bits" if differing else None
    if figures.relative_residual <= round_off(quine.dtype):
        return None
    return f"a plain evaluation has the relative residual {figures.relative_residual:.1e}"
