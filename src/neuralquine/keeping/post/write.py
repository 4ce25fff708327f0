"""The files of a story: the page, and its figures for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...files.atomic import replace_file
from ...files.strict_json import finite_or_none
from .page import page
from .run import FIGURES, PAGE, Pair, Story


def write(out: Path, story: Story) -> Path:
    """Write the page and the figures, each in one step; returns where the page is."""
    for name, text in ((FIGURES, json.dumps(figures(story), indent=1, allow_nan=False)), (PAGE, page(story))):
        with replace_file(out / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return out / PAGE


def figures(story: Story) -> dict[str, Any]:
    """Every figure of a story, ready for JSON."""
    loop, meant = story.curves["loop"], story.curves["meant"]
    return {
        "seed": story.plan.seed,
        "loop": {
            "steps": loop.steps,
            "last": finite_or_none(story.last.figures.relative_residual),
            "best": finite_or_none(story.best.figures.relative_residual),
            "last_squared": finite_or_none(story.last.figures.squared_residual),
        },
        "meant": {
            "steps": meant.steps,
            "last": finite_or_none(float(meant.relative[-1])),
            "best": finite_or_none(float(meant.relative.min())),
        },
        "newton": [finite_or_none(value) for value in story.curves["newton"].relative.tolist()],
        "zero": _pair(story.zero),
        "radius_at_zero": {"without": story.radius_bare, "with": story.radius_normalized},
        "quine": story.ours[0].figures(),
        "exact": story.exact[0].figures(),
        "proved": story.proof.holds,
        "proof": story.proof.words,
    }


def _pair(pair: Pair) -> dict[str, float | None]:
    m = pair.figures
    return {
        "squared_residual": finite_or_none(m.squared_residual),
        "relative": finite_or_none(m.relative_residual),
        "weight_rms": finite_or_none(m.weight_rms),
    }
