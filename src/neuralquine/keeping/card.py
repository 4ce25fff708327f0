"""The model card: the claims, the figures, and how to check them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from ..checking.verify import Verification
from ..errors import printable, word
from ..files.folder import FUNCTION
from ..quines.quine import Quine
from ..recipes import RECIPES
from ..solving.solution import Solution
from .report import Search

_LICENSE = "apache-2.0"  # of this package, and so of the networks that its own recipes make


def missing_arguments(config: dict[str, Any]) -> list[str]:
    """The arguments that :func:`neuralquine.load` needs beside the folder."""
    own = config["trunk"] is None and (config["recipe"] or {}).get("name") not in RECIPES
    return [name for name, absent in (("trunk", own), ("select", config["select"] == FUNCTION)) if absent]


def _check(missing: Sequence[str], name: str, address: str) -> list[str]:
    """How to load the quine and how to check it."""
    again = "".join(f", {name}=..." for name in missing)
    asked = ["```python", "import neuralquine as nq", "", f'quine = nq.load("{address}"{again})']
    asked += ["print(nq.verify(quine))", "```", ""]
    if not missing:
        line = "`neuralquine verify .` recomputes everything above from the weights alone."
        if address != ".":
            line = f"`neuralquine pull {address.removeprefix('hf:')} DIR`, and `neuralquine verify DIR` recomputes everything above."
        return [f"Check it: {line}", "", *asked]
    hint = "" if "select" in missing else f", or `neuralquine verify . --trunk {name}`"
    return [
        f"The folder cannot describe its {' and '.join(missing)}: hand in the same again to check it,",
        f'`nq.verify(nq.load("."{again}))`{hint}.',
        "",
        *asked,
    ]


def model_card(
    quine: Quine,
    verification: Verification,
    solution: Solution | Search | None,
    *,
    missing: Sequence[str] = (),
    address: str = ".",
    picture: str | None = None,
    license: str | None = None,
    test_accuracy: float | None = None,
) -> str:
    """Write the model card: Markdown with Hugging Face front matter.

    Args:
        quine: the network.
        verification: its figures.
        solution: how it was found, if that is known.
        missing: the arguments that must be handed in again on loading.
        address: what :func:`neuralquine.load` takes for the folder.
        picture: the file in the folder that shows the weights stored, printed and their difference.
        license: an identifier that the Hub knows; by default that of this package for a network of its recipes, else none.
        test_accuracy: of a network that has learned a task, as it was measured when it was trained.
    """
    name = printable(quine.recipe["name"] if quine.recipe else type(quine.trunk).__name__, 100)
    license = license or (_LICENSE if quine.recipe and re.fullmatch(r"[\w-]+", name) else None)
    lines = [
        "---",
        "library_name: neuralquine",
        *([f"license: {license}"] if license else []),
        "tags: [neuralquine, neural-quine, self-replication]",
        "---",
        "",
        f"# A neural quine: {name}",
        "",
        _verdict(verification),
        *(
            ["", f"![the weights as they are stored, as they are printed, and the difference]({picture})"]
            if picture
            else []
        ),
        _search(solution),
        "| claim | | meaning |",
        "|---|---|---|",
        *(f"| {claim} | {word(value)} | {meaning} |" for claim, value, meaning in _claims(verification)),
        "",
        "| figure | |",
        "|---|---|",
        *(f"| {label} | {value} |" for label, value in _figures(quine, verification)),
        *([] if test_accuracy is None else [f"| test accuracy, when it was trained | {test_accuracy:.2%} |"]),
        "",
        *quine.what_is_printed(),
        "",
        *_check(missing, name if ":" in name else "FILE.py:FUNCTION", address),
    ]
    return "\n".join(lines)


def _verdict(v: Verification) -> str:
    if v.is_quine:
        return "This network prints its own weights."
    if v.trivial:
        return "**This is a trivial quine:** " + "; ".join(v.trivial) + "."
    if not v.examined and v.converged:
        return "This network prints its weights. Whether a trick explains that was not examined: a time limit had come."
    return f"**This is not a quine:** it prints its weights only to a relative residual of {v.relative_residual:.1e}."


def _search(solution: Solution | Search | None) -> str:
    """How the quine was found, as two paragraphs; an empty list where that is not known."""
    if solution is None:
        return ""
    status = solution.status if isinstance(solution, Search) else solution.sentence
    return (
        f"\nFound by {solution.method} (seed {solution.seed}) in {solution.map_evaluations} map evaluations and "
        f"{solution.jvps} derivative products, {solution.steps} steps.\n\nStatus: {status}.\n"
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
        return "not computed" if math.isnan(value) and (quine.in_place or not v.examined) else f"{value:.4g}"

    return [
        ("weights P", f"{v.parameters}"),
        *quine.what_it_is(),
        ("type", v.dtype),
        ("relative residual", f"{v.relative_residual:.3e}"),
        ("largest difference", f"{v.max_abs_residual:.3e}"),
        ("weights whose bits differ", f"{v.differing_weights} (at most {v.max_ulp} ulp)"),
        ("RMS weight", f"{v.weight_rms:.4g}"),
        ("self-sensitivity", f"{'at least ' if v.bound else ''}{computed(v.self_sensitivity)}"),
        ("response to other weights", computed(v.response)),
        ("spectral radius", computed(v.spectral_radius)),
        ("generations survived", f"{v.generations_survived} of {v.generations_tried}" if v.examined else "not tried"),
        ("numbers stored outside the weights", f"{v.numbers_outside}"),
        ("bits stored outside the weights", v.room),
    ]
