"""Could the answer be stored outside of the weights? Both numbers and the verdict, for every recipe and every named task.

    python benchmarks/counting.py [--largest 20000000] [--exact blog]

Counts the bits outside of the weights and those of the answer for each recipe as it is drawn, and for the recipes given with
``--exact`` after an exact quine was found; recipes with more weights than ``--largest`` are not built. Writes the table to
``benchmarks/results/counting.json`` and, to be read, ``counting.md`` beside it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import neuralquine as nq
from neuralquine.checking.counting import count, counted
from neuralquine.recipes import RECIPES
from neuralquine.tasks import TASKS
from neuralquine.tasks.recipes import planned

ROOT = Path(__file__).resolve().parents[1]
LARGE = {"gpt2": 124_439_808, "gpt2-xl": 1_557_611_200, "llama-8b": 8_030_261_248, "vit-b16": 86_567_656}  # weights


def row(name: str, quine: nq.Quine) -> dict[str, Any]:
    """The two numbers of a quine, and what is said of them."""
    found = count(quine)
    said = counted(found.places, found.answer, found.foreign)
    return {
        "recipe": name,
        "parameters": quine.parameter_count,
        "code_size": quine.code_size,
        "code_bits": quine.code_bits,
        "outside_bits": sum(bits for _, bits in found.places),
        "answer_bits": found.answer,
        "foreign": found.foreign,
        "room": not found.foreign and sum(bits for _, bits in found.places) >= found.answer,
        "verdict": said,
    }


def main() -> None:
    """Count, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=20_000_000, help="weights up to which a recipe is built")
    parser.add_argument(
        "--exact", nargs="*", default=["blog"], help="recipes of which an exact quine is looked for, too"
    )
    options = parser.parse_args()
    rows = []
    for name in RECIPES:
        if LARGE.get(name, 0) > options.largest:
            print(f"{name}: not built, {LARGE[name]:,} weights")
            continue
        rows.append(row(name, nq.recipe(name)))
        print(f"{name}: {rows[-1]['verdict']}")
    for name in options.exact:
        quine = nq.recipe(name)
        nq.solve(quine, exact=True)
        rows.append(row(f"{name}, exact", quine))
        print(f"{name}, exact: {rows[-1]['verdict']}")
    for name in TASKS:
        plan = planned(name)
        rows.append(row(name, nq.TaskQuine(plan.body, plan.probe, copy=False, **plan.settings)))
        print(f"{name}: {rows[-1]['verdict']}")
    out = ROOT / "benchmarks" / "results" / "counting.json"
    out.write_text(json.dumps(rows, indent=1) + "\n")
    out.with_suffix(".md").write_text(table(rows, options.largest))
    print(f"written to {out} and {out.with_suffix('.md').name}")


def table(rows: list[dict[str, Any]], largest: int) -> str:
    """The rows in Markdown, with what follows from the two numbers."""
    lines = [
        "# Bits outside of the weights, and bits of the answer",
        "",
        f"`python benchmarks/counting.py --largest {largest}`",
        "",
        "Where fewer stand outside than the answer has, it is stored nowhere, whatever the network does. Of modules of",
        "other packages only what was found is counted, and the verdict on them is best effort.",
        "",
        "| network | weights | outside | answer | so |",
        "|---|---|---|---|---|",
    ]
    for found in rows:
        so = "no room" if not found["room"] else "there is room"
        so = "foreign code: best effort" if found["foreign"] else so
        numbers = (found[key] for key in ("parameters", "outside_bits", "answer_bits"))
        lines.append(f"| `{found['recipe']}` | " + " | ".join(f"{n:,}" for n in numbers) + f" | {so} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
