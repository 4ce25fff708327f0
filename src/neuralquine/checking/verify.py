"""``verify``: recompute everything about a quine from what it holds, and believe nothing it says."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch

from ..errors import TooLarge
from ..files.strict_json import finite_or_none
from ..quines.measure import measure, norm, round_off
from ..quines.quine import Quine
from ..quines.threads import frugal
from .generations import Generations, generations
from .outside import outside_numbers
from .spectrum import Spectrum, local_spectrum
from .tricks import Witness, failing, triviality


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found. Converged, bit-exact, portable and proved are four different words.

    Attributes:
        is_quine: converged, and no trick explains it.
        converged: the relative residual is at round-off (40 units in its type).
        bit_exact: the printed bits equal the stored ones, on this machine, in this evaluation.
        portable: whether the bits are bounded to be the same on every machine; None: not examined.
        proved: whether a real fixed point is proved to exist; None: not examined.
        trivial: tricks by name, empty for an honest quine.
        parameters: P.
        relative_residual: ``||F(theta) - theta|| / ||theta||``.
        max_abs_residual: ``max |F(theta) - theta|``.
        weight_rms: root-mean-square weight.
        differing_weights: weights whose printed bits differ.
        max_ulp: largest distance in units in the last place; -1 if a NaN is involved.
        nonfinite_weights: NaN or infinite weights, stored or printed.
        subnormal_weights: stored weights below the smallest normal number.
        self_sensitivity: ``||J_F||_2``.
        response: how far what is printed moves when the weights are replaced by those of another code, relative to how
            far they move; the counterpart of the self-sensitivity over a distance, 0 for a constant. NaN for large networks.
        spectral_radius: of ``J_F``.
        generations_survived: generations within 1 % of the start, of ``generations_tried``.
        numbers_outside: numbers the network reads that are not weights (probe, buffers, attributes).
        dtype: type of the weights.
    """

    is_quine: bool
    converged: bool
    bit_exact: bool
    portable: bool | None
    proved: bool | None
    trivial: tuple[str, ...]
    parameters: int
    relative_residual: float
    max_abs_residual: float
    weight_rms: float
    differing_weights: int
    max_ulp: int
    nonfinite_weights: int
    subnormal_weights: int
    self_sensitivity: float
    response: float
    spectral_radius: float
    generations_survived: int
    generations_tried: int
    numbers_outside: int
    dtype: str

    def figures(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        status = "quine" if self.is_quine else ("trivial" if self.trivial else "not_converged")
        plain = {f.name: finite_or_none(getattr(self, f.name)) for f in fields(self)}
        return {"status": status, **plain, "trivial": list(self.trivial)}

    def __repr__(self) -> str:
        verdict = "a quine" if self.is_quine else "NOT a quine"
        reasons = "".join(f"\n  {trick}" for trick in self.trivial)
        return (
            f"Verification({verdict}: relative residual {self.relative_residual:.2e}, max |F(theta) - theta| "
            f"{self.max_abs_residual:.1e}\n  converged {_yes(self.converged)}, bit-exact {_yes(self.bit_exact)} "
            f"({self.differing_weights} of {self.parameters} differ, at most {self.max_ulp} ulp), portable "
            f"{_yes(self.portable)}, proved {_yes(self.proved)}\n  weight RMS {self.weight_rms:.3g}, self-sensitivity "
            f"{self.self_sensitivity:.3g}, spectral radius {self.spectral_radius:.3g}, survives "
            f"{self.generations_survived} of {self.generations_tried} generations{reasons})"
        )


def _yes(word: bool | None) -> str:
    return "not examined" if word is None else ("yes" if word else "no")


@torch.no_grad()
def response(quine: Quine) -> float:
    """``||F(E(c)) - F(theta)|| / ||E(c) - theta||``, the mean over three random codes c."""
    if quine.in_place:
        return math.nan
    theta, ratios = quine.theta, []
    own = quine.self_map(theta)
    for code in quine.random_codes(3, torch.Generator().manual_seed(1)):
        other = quine.printer(code)
        ratios.append(norm(quine.self_map(other).double() - own.double()) / norm(other.double() - theta.double()))
    return sum(ratios) / len(ratios)


@frugal
def verify(quine: Quine, *, rtol: float | None = None, tries: int = 100) -> Verification:
    """Measure a quine afresh and look for every known trick.

    Args:
        quine: holds the weights in question.
        rtol: relative residual that counts as converged; by default 40 units of round-off.
        tries: generations to run.

    Returns:
        A verdict with its figures; never raises because a quine is bad.
    """
    witness = Witness(quine)
    figures = measure(quine)
    findings = triviality(quine) if figures.nonfinite_weights == 0 else []
    nonfinite = figures.nonfinite_weights
    try:
        local, line = local_spectrum(quine), generations(quine, tries)
    except TooLarge:
        raise
    except Exception as error:  # whatever a module raises that runs at its own weights only
        findings += [] if findings else [failing(error)]
        local, line = Spectrum(torch.full((1,), torch.nan), math.nan), Generations((), (), 0, 1e-2, 0)
    far = response(quine) if nonfinite == 0 and not findings else math.nan
    findings += [change for change in witness.changes() if change.kind not in {f.kind for f in findings}]
    limit = round_off(quine.dtype) if rtol is None else rtol
    converged = nonfinite == 0 and figures.relative_residual <= limit
    return Verification(
        is_quine=converged and not findings,
        converged=converged,
        bit_exact=nonfinite == 0 and figures.differing_weights == 0,
        portable=None,
        proved=None,
        trivial=tuple(str(finding) for finding in findings),
        parameters=quine.parameter_count,
        relative_residual=figures.relative_residual,
        max_abs_residual=figures.max_abs_residual,
        weight_rms=figures.weight_rms,
        differing_weights=figures.differing_weights,
        max_ulp=figures.max_ulp,
        nonfinite_weights=nonfinite,
        subnormal_weights=figures.subnormal_weights,
        self_sensitivity=local.self_sensitivity,
        response=far,
        spectral_radius=local.spectral_radius,
        generations_survived=line.survived,
        generations_tried=len(line.distances),
        numbers_outside=sum(values.numel() for _, values in outside_numbers(quine)),
        dtype=str(quine.dtype).removeprefix("torch."),
    )
