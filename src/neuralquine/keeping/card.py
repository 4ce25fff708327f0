"""The model card: the claims, the figures, and how to check them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..checking.verify import Verification
from ..errors import word
from ..quines.quine import Quine
from ..solving.solution import Solution


def _check(missing: Sequence[str], name: str) -> list[str]:
    if not missing:
        return ["Check it: `neuralquine verify .` recomputes everything above from the weights alone."]
    again = ", ".join(f"{name}=..." for name in missing)
    hint = "" if "select" in missing else f", or `neuralquine verify . --trunk {name}`"
    return [
        f"The folder cannot describe its {' and '.join(missing)}: hand in the same again to check it,",
        f'`nq.verify(nq.load(".", {again}))`{hint}.',
    ]


def model_card(
    quine: Quine, verification: Verification, solution: Solution | None, *, missing: Sequence[str] = ()
) -> str:
    """Write the model card: Markdown with Hugging Face front matter.

    Args:
        quine: the network.
        verification: its figures.
        solution: how it was found, if that is known.
        missing: the arguments that must be handed in again on loading.
    """
    name = quine.recipe["name"] if quine.recipe else type(quine.trunk).__name__
    lines = [
        "---",
        "library_name: neuralquine",
        "tags: [neuralquine, neural-quine, self-replication]",
        "---",
        "",
        f"# A neural quine: {name}",
        "",
        _verdict(verification),
        _search(solution),
        "| claim | | meaning |",
        "|---|---|---|",
        *(f"| {claim} | {word(value)} | {meaning} |" for claim, value, meaning in _claims(verification)),
        "",
        "| figure | |",
        "|---|---|",
        *(f"| {label} | {value} |" for label, value in _figures(quine, verification)),
        "",
        *quine.what_is_printed(),
        "",
        *_check(missing, name if ":" in name else "FILE.py:FUNCTION"),
        "",
    ]
    return "\n".join(lines)


def _verdict(v: Verification) -> str:
    if v.is_quine:
        return "This network prints its own weights."
    if v.trivial:
        return "**This is a trivial quine:** " + "; ".join(v.trivial) + "."
    return f"**This is not a quine:** it prints its weights only to a relative residual of {v.relative_residual:.1e}."


def _search(solution: Solution | None) -> str:
    """How the quine was found, as two paragraphs; an empty list where that is not known."""
    if solution is None:
        return ""
    return (
        f"\nFound by {solution.method} (seed {solution.seed}) in {solution.map_evaluations} map evaluations and "
        f"{solution.jvps} derivative products, {solution.steps} steps.\n\nStatus: {solution.status.value}.\n"
    )


def _claims(v: Verification) -> list[tuple[str, bool | None, str]]:
    return [
        ("converged", v.converged, "relative residual at round-off"),
        ("bit-exact", v.bit_exact, "printed bits equal stored bits, on the machine that wrote this"),
        ("portable", v.portable, "the same bits on every machine"),
        ("proved", v.proved, "a real fixed point is proved to exist"),
    ]


def _figures(quine: Quine, v: Verification) -> list[tuple[str, str]]:
    def computed(value: float) -> str:
        return "not computed" if math.isnan(value) and quine.in_place else f"{value:.4g}"

    return [
        ("weights P", f"{v.parameters}"),
        *quine.what_it_is(),
        ("type", v.dtype),
        ("relative residual", f"{v.relative_residual:.3e}"),
        ("largest difference", f"{v.max_abs_residual:.3e}"),
        ("weights whose bits differ", f"{v.differing_weights} (at most {v.max_ulp} ulp)"),
        ("RMS weight", f"{v.weight_rms:.4g}"),
        ("self-sensitivity", f"{'at least ' if v.bound else ''}{v.self_sensitivity:.4g}"),
        ("response to other weights", computed(v.response)),
        ("spectral radius", computed(v.spectral_radius)),
        ("generations survived", f"{v.generations_survived} of {v.generations_tried}"),
        ("numbers stored outside the weights", f"{v.numbers_outside}"),
        ("bits stored outside the weights", v.room),
    ]
