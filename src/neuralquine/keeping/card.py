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


def _printer(quine: Quine) -> list[tuple[str, str]]:
    if quine.expansion == "direct":
        return [("printed", "every weight answered for itself")]
    if quine.expansion == "tape":
        margin = f"{getattr(quine, 'margin', 0.0):.3g}"
        return [
            ("tape", f"{quine.code_size} {'signs' if getattr(quine, 'kind', '') == 'signs' else 'real numbers'}"),
            ("smallest majority, above 1 a full sign", margin),
        ]
    grid = "none" if quine.code_bits is None else f"2^-{quine.code_bits}"
    return [("code size d", f"{quine.code_size}"), ("code grid", grid)]


def _what_is_printed(quine: Quine) -> list[str]:
    if quine.expansion == "direct":
        named = getattr(quine, "queries", None)
        table = f"{named} queries, made again from seed {quine.seed}" if named else "the table in the weights file"
        return [f"What is printed: every weight of the trunk, one answer for each query; the queries: {table}."]
    if quine.expansion == "tape":
        size = sum(t.numel() for t in quine.inputs) if isinstance(quine.inputs, tuple) else 0
        return [
            "What is printed: every trainable weight, the tape included, from the code that the network reads from its tape",
            "with its own features. Stored outside the weights:",
            "",
            f"- the probe, {size} random signs, which seed {quine.seed} gives again;",
            f"- the seed of the fixed expansion, {quine.seed}, and one mean and one gain for each of {len(quine.means)} tensors;",
            "- buffers and settings of the body, counted above.",
            "",
            "Its self-sensitivity is 0 because small changes of the weights change no printed bit; the response is to large ones.",
        ]
    return [
        "What is printed: every weight of the trunk, from the code the trunk computes on its fixed probe, through a",
        f"fixed expansion regenerated from seed {quine.seed}.",
    ]


def model_card(
    quine: Quine, verification: Verification, solution: Solution | None, *, missing: Sequence[str] = ()
) -> str:
    """Markdown with Hugging Face front matter; ``missing``: what must be handed in again on loading."""
    v = verification
    name = quine.recipe["name"] if quine.recipe else type(quine.trunk).__name__
    if v.is_quine:
        verdict = "This network prints its own weights."
    elif v.trivial:
        verdict = "**This is not a quine worth the name:** " + "; ".join(v.trivial) + "."
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
        *_printer(quine),
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
        *_what_is_printed(quine),
        *([] if quine.expansion == "tape" else ["A self-sensitivity near 0 would mean a printed constant."]),
        "",
        *_check(missing),
        "",
    ]
    return "\n".join(lines)
