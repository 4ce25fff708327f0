"""The model card: the figures, the honest numbers, and how to check them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..checking.verify import Verification
    from ..quines.quine import Quine
    from ..solving.solution import Solution


def _check(missing: Sequence[str]) -> list[str]:
    if not missing:
        return ["Check it: `neuralquine verify .` recomputes everything above from the weights alone."]
    again = ", ".join(f"{name}=..." for name in missing)
    hint = "" if "select" in missing else ", or `neuralquine verify . --trunk MODULE:FACTORY`"
    return [
        f"The folder cannot describe its {' and '.join(missing)}: hand in the same again to check it,",
        f'`nq.verify(nq.load(".", {again}))`{hint}.',
    ]


def word(value: bool | None) -> str:
    """One of the four words as a person reads it."""
    return "not examined" if value is None else ("yes" if value else "no")


def model_card(
    quine: Quine, verification: Verification, solution: Solution | None, *, missing: Sequence[str] = ()
) -> str:
    """Markdown with Hugging Face front matter; ``missing``: what must be handed in again on loading."""
    v = verification
    name = quine.recipe["name"] if quine.recipe else type(quine.trunk).__name__
    if v.is_quine:
        verdict = "This network prints its own weights."
    elif v.trivial:
        verdict = "**This is a trivial quine:** " + "; ".join(v.trivial) + "."
    else:
        verdict = (
            f"**This is not a quine:** it prints its weights only to a relative residual of {v.relative_residual:.1e}."
        )
    found = ""
    if solution is not None:
        found = (
            f"\nFound by {solution.method} (seed {solution.seed}) in {solution.map_evaluations} map evaluations and "
            f"{solution.jvps} derivative products, {solution.steps} steps.\n\nStatus: {solution.status.value}.\n"
        )
    rows = [
        ("weights P", f"{v.parameters}"),
        *quine.what_it_is(),
        ("type", v.dtype),
        ("relative residual", f"{v.relative_residual:.3e}"),
        ("largest difference", f"{v.max_abs_residual:.3e}"),
        ("weights whose bits differ", f"{v.differing_weights} (at most {v.max_ulp} ulp)"),
        ("RMS weight", f"{v.weight_rms:.4g}"),
        ("self-sensitivity", f"{'at least ' if quine.in_place else ''}{v.self_sensitivity:.4g}"),
        ("response to other weights", "not computed" if quine.in_place else f"{v.response:.4g}"),
        ("spectral radius", "not computed" if quine.in_place else f"{v.spectral_radius:.4g}"),
        ("generations survived", f"{v.generations_survived} of {v.generations_tried}"),
        ("numbers stored outside the weights", f"{v.numbers_outside}"),
    ]
    words = [
        ("converged", v.converged, "relative residual at round-off"),
        ("bit-exact", v.bit_exact, "printed bits equal stored bits, on the machine that wrote this"),
        ("portable", v.portable, "the same bits on every machine"),
        ("proved", v.proved, "a real fixed point is proved to exist"),
    ]
    lines = [
        "---",
        "library_name: neuralquine",
        "tags: [neuralquine, neural-quine, self-replication]",
        "---",
        "",
        f"# A neural quine: {name}",
        "",
        verdict,
        found,
        "| claim | | meaning |",
        "|---|---|---|",
        *(f"| {claim} | {word(value)} | {meaning} |" for claim, value, meaning in words),
        "",
        "| figure | |",
        "|---|---|",
        *(f"| {label} | {value} |" for label, value in rows),
        "",
        *quine.what_is_printed(),
        "",
        *_check(missing),
        "",
    ]
    return "\n".join(lines)
