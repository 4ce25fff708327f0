"""What is quick with a quine at hand: look at it, damage it, let it print itself generation after generation.

Every task takes a folder. The quine read from it stays in memory with its weights as they were and as they are now; the
folder itself is never changed.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checking.spectrum import spectrum as local_spectrum
from ..errors import NeuralQuineError, plural
from ..files.strict_json import finite_or_none
from ..healing.damage import Damage, damaged
from ..healing.kinds import named
from ..keeping.store import load
from ..quines.bits import differing
from ..quines.lineage import line
from ..quines.measure import relative_residual, round_off
from ..quines.quine import Quine
from ..quines.threads import threads_for
from .pictures import covered, layers

_BEDS = 4  # quines kept in memory
_FAR = 1e-6  # relative distance from which a fixed point is another one

Report = Callable[[dict[str, Any]], None]


class Patient:
    """A quine, what it was and what it has become.

    Attributes:
        original: ``(P,)`` the weights of the folder.
        current: ``(P,)`` damaged or printed since.
        printed: ``(P,)`` what the network prints that holds ``current``.
        line: distance to the original and residual, of the damaged weights and of each generation since.
    """

    def __init__(self, quine: Quine) -> None:
        self.quine = quine
        self.original = quine.theta
        self.generator = torch.Generator().manual_seed(0)
        self.reset()

    def reset(self) -> None:
        """Put the weights of the folder back."""
        self.current, self.wounds = self.original.clone(), 0
        self._begin()

    def _begin(self) -> None:
        self.line: list[dict[str, float | None]] = []
        self._descent = line(self.quine, self.current, installed=True)
        self._print()

    @torch.no_grad()
    def _print(self) -> None:
        """Print the next generation, and note where the line stands."""
        with threads_for(self.quine.parameter_count):
            self.printed, self._settled = next(self._descent)
        self._note()

    def _note(self) -> None:
        distance, residual = (
            relative_residual(self.current, self.original),
            relative_residual(self.printed, self.current),
        )
        self.line.append({"distance": finite_or_none(distance), "residual": finite_or_none(residual)})

    def damage(self, kind: str, where: Tensor) -> None:
        """Overwrite weights, ``(P,)`` bool, by a pointwise kind of damage, and start a new line of generations."""
        # Noise has the size of the original's tensors, whatever has become of them.
        self.quine.theta = self.original if named(kind).scaled else self.current
        struck = damaged(self.quine, Damage(kind, 1.0), seed=self.wounds)
        self.current = torch.where(where, struck, self.current)
        self.wounds += 1
        self._begin()

    def regenerate(self) -> bool:
        """Install what is printed; returns whether that changed anything."""
        if bool(self._settled):
            return False
        self.current = self.printed
        self._print()
        return True

    def verdict(self) -> tuple[str, str]:
        """Return a key and a sentence that says plainly how the quine is."""
        generation, now = len(self.line) - 1, self.line[-1]
        after = f"after {plural(generation, 'generation')}"
        limit = round_off(self.quine.dtype)
        if not bool(torch.isfinite(self.current).all() and torch.isfinite(self.printed).all()):
            what = "NaN or infinity among the weights, stored or printed."
            return ("dead", f"Dead {after}: {what}") if generation else ("damaged", f"Damaged: {what}")
        changed = int(differing(self.current, self.original).sum())
        distance, residual = _or_infinite(now["distance"]), _or_infinite(now["residual"])
        if changed == 0:
            healed = f"Healed {after}: every bit is the original's."
            return ("healed", healed) if self.wounds else ("whole", "Undamaged: every bit is the original's.")
        if self.wounds and generation and distance <= 100 * limit and residual <= 100 * limit:
            return "healed", f"Healed {after}: back at the original up to round-off (distance {distance:.0e})."
        if residual <= limit and distance > _FAR:
            bits = " to the last bit" if bool(self._settled) else ""
            return "other", f"Not healed: {after} it is another fixed point{bits}, at distance {distance:.2g}."
        if generation == 0:
            of = f"{changed:,} of {len(self.current):,} weights differ from the original, distance {distance:.2g}."
            return "damaged", f"Damaged: {of} Print the next generation to see whether it heals."
        if not self.wounds and distance <= _FAR:
            return "drift", f"Undamaged, {after}: distance {distance:.2g}, residual {residual:.2g}."
        return "lost", f"Not healed {after}: distance {distance:.2g}, residual {residual:.2g}, still changing."

    def view(self) -> dict[str, Any]:
        """Return everything that the page draws."""
        verdict, sentence = self.verdict()
        return {
            "layers": layers(self.quine, self.current, self.printed, self.original),
            "line": self.line,
            "verdict": verdict,
            "sentence": sentence,
            "differing": int(differing(self.printed, self.current).sum()),
            "parameters": self.quine.parameter_count,
            "round_off": round_off(self.quine.dtype),
        }


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value


_beds: OrderedDict[str, Patient] = OrderedDict()


def at(folder: str) -> Patient:
    """Return the patient of a folder, read if it is not in memory."""
    if folder not in _beds:
        _beds[folder] = Patient(load(Path(folder)))
    _beds.move_to_end(folder)
    while len(_beds) > _BEDS:
        _beds.popitem(last=False)
    return _beds[folder]


# -- tasks ------------------------------------------------------------------------------------------------------------


def look(report: Report, *, folder: str) -> dict[str, Any]:
    """Return the weights as they are now."""
    return at(folder).view()


def eigenvalues(report: Report, *, folder: str) -> dict[str, Any]:
    """Return the eigenvalues of the derivative of the original's map."""
    patient = at(folder)
    with threads_for(patient.quine.parameter_count):
        local = local_spectrum(patient.quine, patient.original)
    values = [[v.real, v.imag] for v in map(complex, local.eigenvalues.tolist()) if abs(v) < math.inf]
    return {
        "values": values,
        "bound": local.bound,
        "spectral_radius": finite_or_none(local.spectral_radius),
        "self_sensitivity": finite_or_none(local.self_sensitivity),
    }


def damage(
    report: Report, *, folder: str, kind: str, share: float, layer: int | None, cells: list[list[list[int]]] | None
) -> dict[str, Any]:
    """Damage a random share of all weights or of one tensor's, or those under the painted cells, layer by layer."""
    patient = at(folder)
    tensors = [t for t in patient.quine.tensors(patient.original).values() if t.numel()]
    masks = [torch.zeros(t.shape, dtype=torch.bool) for t in tensors]
    if cells is not None:
        for i, painted in enumerate(cells[: len(tensors)]):
            masks[i] = covered(tensors[i], [(row, column) for row, column in painted])
    else:
        if layer is not None and layer >= len(tensors):
            raise NeuralQuineError(f"there is no layer {layer}")
        chosen = range(len(tensors)) if layer is None else [layer]
        for i in chosen:
            masks[i] = torch.rand(tensors[i].shape, generator=patient.generator) < share
    patient.damage(kind, torch.cat([mask.reshape(-1) for mask in masks]))
    return patient.view()


def generations(report: Report, *, folder: str, count: int) -> dict[str, Any]:
    """Install what is printed and print again, until nothing changes."""
    patient = at(folder)
    for _ in range(count):
        if not patient.regenerate():
            break
    return patient.view()


def reset(report: Report, *, folder: str) -> dict[str, Any]:
    """Put the weights of the folder back."""
    at(folder).reset()
    return at(folder).view()


DONE_HERE = (look, eigenvalues, damage, generations, reset)
