"""``verify``: recompute everything about a quine from what it holds, and believe nothing it says."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch

from ..errors import TooLarge, word
from ..files.strict_json import finite_or_none
from ..quines.known import known_once
from ..quines.measure import Measurement, measured_once, norm, round_off
from ..quines.quine import Quine
from ..quines.threads import one_thread_if_small
from .counting import count, counted, runs_foreign_code
from .generations import Generations, generations
from .outside import outside_numbers, walked_once
from .spectrum import Spectrum, local_spectrum
from .tricks import Witness, failing, triviality

_FIGURES = (
    *("is_quine", "converged", "bit_exact", "portable", "proved", "trivial", "parameters", "relative_residual"),
    *("max_abs_residual", "weight_rms", "differing_weights", "max_ulp", "nonfinite_weights", "subnormal_weights"),
    *(
        "self_sensitivity",
        "response",
        "spectral_radius",
        "distance_to_one",
        "generations_survived",
        "generations_tried",
    ),
    *("numbers_outside", "dtype", "outside_bits", "answer_bits", "foreign", "asked", "answers"),
)
"""The keys of :meth:`Verification.figures` after the status, in the order in which every JSON shows them."""

_EXAMINED = ("generations_survived", "generations_tried", "outside_bits", "answer_bits")  # unknown without examination


@dataclass(frozen=True, kw_only=True)
class Verification(Measurement):
    """The verdict on a quine. Converged, bit-exact, portable and proved are four different words.

    Eight figures of one fresh evaluation, ``relative_residual``, ``squared_residual``, ``max_abs_residual``,
    ``weight_rms``, ``differing_weights``, ``max_ulp``, ``nonfinite_weights`` and ``subnormal_weights``, are described by
    :class:`~neuralquine.quines.measure.Measurement`.

    Attributes:
        is_quine: whether it converged and no trick explains it.
        converged: whether the relative residual is at round-off (40 units in its type).
        bit_exact: whether the printed bits equal the stored ones, on this machine, in this evaluation.
        portable: whether every machine is proved to print the same bits; None where that was not examined.
        proved: whether a real fixed point is proved to exist; None where that was not examined.
        trivial: tricks by name, empty for an honest quine.
        parameters: P.
        self_sensitivity: ``||J_F||_2``.
        bound: whether the self-sensitivity is only a lower bound, as it is for a large network.
        response: how far what is printed moves when the weights are replaced by those of another code, relative to how
            far they move; the counterpart of the self-sensitivity over a distance, 0 for a constant. NaN for large networks.
        spectral_radius: largest ``|eigenvalue|`` of ``J_F``; NaN where it was not computed, as for large networks.
        generations_survived: generations within 1 % of the start, of ``generations_tried``.
        numbers_outside: numbers the network reads that are not weights (probe, buffers, attributes).
        dtype: type of the weights.
        outside_bits: bits that stand outside of the weights: seed, sizes, scales, probe, buffers, frozen parameters.
        answer_bits: bits of the code, at least; where fewer stand outside, the answer is stored nowhere.
        foreign: the trunk ran code that cannot be read here, so that what stands outside is known in part and the
            verdict is best effort.
        examined: whether tricks were looked for; False where there was no time, and then it is no quine to anybody.
        places: the bits outside by name.
        asked: what was asked, in words: which module, with which input.
        answers: what answers and is compared with the weights, in words: the output itself, or what a code is printed to.
        distance_to_one: ``min |1 - lambda|`` over the eigenvalues of the derivative: at 0 the weights lie on a line of fixed
            points; NaN where it is not known, as it is asked of large quines alone that are converged.
        off: how far the derivative that the module claims is from finite differences, relative, where that is not what it
            computes, as behind a stop-gradient: then the figures of the derivative are NaN. 0 where nothing is wrong.
    """

    is_quine: bool
    converged: bool
    bit_exact: bool
    portable: bool | None
    proved: bool | None
    trivial: tuple[str, ...]
    parameters: int
    self_sensitivity: float
    bound: bool
    response: float
    spectral_radius: float
    generations_survived: int
    generations_tried: int
    numbers_outside: int
    dtype: str
    outside_bits: int
    answer_bits: int
    foreign: bool
    examined: bool = True
    places: tuple[tuple[str, int], ...] = ()
    asked: str = ""
    answers: str = ""
    distance_to_one: float = math.nan
    off: float = 0.0

    @property
    def room(self) -> str:
        """Whether there is room for the answer outside of the weights, in words."""
        return counted(self.places, self.answer_bits, self.foreign) if self.examined else "not counted"

    def figures(self) -> dict[str, Any]:
        """All fields but the names of the places, ready for JSON."""
        status = "quine" if self.is_quine else ("trivial" if self.trivial else "not_converged")
        status = status if self.examined or not self.converged else "not_examined"
        unknown = () if self.examined else _EXAMINED
        plain = {name: None if name in unknown else finite_or_none(getattr(self, name)) for name in _FIGURES}
        return {"status": status, **plain, "trivial": list(self.trivial)}

    def __repr__(self) -> str:
        verdict = "a quine" if self.is_quine else "NOT a quine" if self.examined else "not examined for tricks"
        reasons = "".join(f"\n  {trick}" for trick in self.trivial)
        reasons += (
            f"\n  its derivative is off by {self.off:.0%} of finite differences: no figures of it" if self.off else ""
        )
        return (
            f"Verification({verdict}: relative residual {self.relative_residual:.2e}, max |F(theta) - theta| "
            f"{self.max_abs_residual:.1e}\n  converged {word(self.converged)}, bit-exact {word(self.bit_exact)} "
            f"({self.differing_weights} of {self.parameters} differ, at most {self.max_ulp} ulp), portable "
            f"{word(self.portable)}, proved {word(self.proved)}\n  weight RMS {self.weight_rms:.3g}, self-sensitivity "
            f"{'at least ' if self.bound else ''}{self.self_sensitivity:.3g}, spectral radius "
            f"{self.spectral_radius:.3g}, distance to 1 {self.distance_to_one:.2g}, "
            f"survives {self.generations_survived} of {self.generations_tried} "
            f"generations\n  asked: {self.asked}\n  answers: {self.answers}{reasons})"
        )


@torch.no_grad()
def response(quine: Quine) -> float:
    """``||F(E(c)) - F(theta)|| / ||E(c) - theta||``, the mean over three random codes c."""
    if quine.in_place:
        return math.nan
    theta, ratios = quine.theta, []
    own = quine.self_map(theta)
    for code in quine.random_codes(3, torch.Generator().manual_seed(1)):
        other = quine.printer(code)
        if distance := norm(other.double() - theta.double()):  # a new task quine of seed 1 has the first of these codes
            ratios.append(norm(quine.self_map(other).double() - own.double()) / distance)
    return sum(ratios) / len(ratios)


@one_thread_if_small
def verify(quine: Quine, *, rtol: float | None = None, tries: int = 100) -> Verification:
    """Measure a quine afresh and look for every known trick.

    Args:
        quine: holds the weights in question.
        rtol: relative residual that counts as converged; by default 40 units of round-off.
        tries: generations to run.

    Returns:
        A verdict with its figures; never raises because a quine is bad.
    """
    with quine.turn, known_once():  # other weights are installed for a while
        return _verified(quine, rtol, tries)


def _verified(quine: Quine, rtol: float | None, tries: int) -> Verification:
    witness = Witness(quine)
    measured = measured_once(quine)
    finite = measured.nonfinite_weights == 0
    limit = round_off(quine.dtype) if rtol is None else rtol
    converged = finite and measured.relative_residual <= limit
    findings = triviality(quine) if finite else []
    try:  # how far the spectrum is from 1 is asked of fixed points, as elsewhere it can take a thousand products to say
        local, line = local_spectrum(quine, near_one=converged), generations(quine, tries, measured=measured)
    except TooLarge:
        raise
    except Exception as error:  # a module that runs at its own weights only may raise anything
        findings += [] if findings else [failing(error)]
        local, line = Spectrum(torch.full((1,), torch.nan), math.nan), Generations((), (), 0, 1e-2, 0)
    far = response(quine) if finite and not findings else math.nan
    findings += [change for change in witness.changes() if change.kind not in {f.kind for f in findings}]
    asked, answers = quine.question()
    with walked_once():
        bits, outside = count(quine), sum(values.numel() for _, values in outside_numbers(quine))
    return Verification(
        **vars(measured),
        is_quine=converged and not findings,
        converged=converged,
        bit_exact=finite and measured.differing_weights == 0,
        portable=None,
        proved=None,
        trivial=tuple(str(finding) for finding in findings),
        parameters=quine.parameter_count,
        self_sensitivity=local.self_sensitivity,
        bound=local.bound,
        response=far,
        spectral_radius=local.spectral_radius,
        distance_to_one=local.newton_distance,
        off=local.off,
        generations_survived=line.survived,
        # A line without a first copy is not followed, and has ended all the same; a large one says how far it was followed.
        generations_tried=len(line.distances) if quine.in_place or not line.distances else tries,
        numbers_outside=outside,
        dtype=quine.dtype_name,
        outside_bits=sum(size for _, size in bits.places),
        answer_bits=bits.answer,
        foreign=bits.foreign,
        places=bits.places,
        asked=asked,
        answers=answers,
    )


def unexamined(quine: Quine, measured: Measurement, local: Spectrum | None = None) -> Verification:
    """What is known of a quine for whose examination there is no time: the figures of one evaluation of its weights.

    Args:
        quine: as it was measured.
        measured: its figures.
        local: the derivative at its weights, if it is known.
    """
    local = local or Spectrum(torch.zeros(0, dtype=torch.complex128), math.nan, complete=False)
    asked, answers = quine.question()
    names = {field.name for field in fields(Measurement)}
    return Verification(
        **{name: value for name, value in vars(measured).items() if name in names},
        is_quine=False,
        converged=measured.nonfinite_weights == 0 and measured.relative_residual <= round_off(quine.dtype),
        bit_exact=measured.nonfinite_weights == 0 and measured.differing_weights == 0,
        portable=None,
        proved=None,
        trivial=(),
        parameters=quine.parameter_count,
        self_sensitivity=local.self_sensitivity,
        bound=local.bound,
        response=math.nan,
        spectral_radius=local.spectral_radius,
        generations_survived=0,
        generations_tried=0,
        numbers_outside=sum(values.numel() for _, values in outside_numbers(quine)),
        dtype=quine.dtype_name,
        outside_bits=0,
        answer_bits=0,
        foreign=runs_foreign_code(quine),
        examined=False,
        asked=asked,
        answers=answers,
    )
