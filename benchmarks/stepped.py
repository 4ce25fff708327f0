"""Networks whose activations are rounded, solved to the last bit and proved portable: margins, and what the proof takes.

python benchmarks/stepped.py            # what is missing in benchmarks/results/stepped.json, and stepped.md
python benchmarks/stepped.py --only 0   # the first row afresh
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import neuralquine as nq
from neuralquine.files.atomic import replace_file

RESULTS = Path(__file__).resolve().parent / "results"
ROWS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("blog", {"activation_bits": 24}),
    ("cnn", {"activation_bits": 12, "skip": 0.1}),
    ("transformer", {"activation_bits": 12, "skip": 0.1, "code_bits": 4}),
    ("transformer", {"activation_bits": 12, "skip": 0.1, "code_bits": 4, "layers": 48, "width": 128}),
    ("transformer", {"activation_bits": 12, "skip": 0.1, "code_bits": 4, "layers": 48, "width": 256}),
    ("resnet18", {"activation_bits": 16, "dtype": torch.float64}),
)


def measured(recipe: str, options: dict[str, Any]) -> dict[str, Any]:
    """Solve one network, and time the proof that every machine prints the same bits."""
    quine = nq.recipe(recipe, **options)
    solution = nq.solve(quine, exact=True, throw=False)
    with tempfile.TemporaryDirectory() as folder:
        nq.save(quine, f"{folder}/q")
        started = time.process_time()
        proof = nq.portable(f"{folder}/q", time_limit=600)
        seconds = time.process_time() - started
    return {
        "command": " ".join(["solve", recipe, "--exact", *(f"-r {k}={_word(v)}" for k, v in options.items())]),
        "weights": quine.parameter_count,
        "exact": solution.bit_exact,
        "proved": proof.proved,
        "reason": proof.reason,
        "margin": proof.exact_margin,
        "seconds": seconds,
    }


def _word(value: Any) -> str:
    return str(value).removeprefix("torch.")


def page(rows: list[dict[str, Any]]) -> str:
    """The table."""
    lines = [
        "# Activations on a grid: proofs that every machine prints the same bits",
        "",
        f"`python benchmarks/stepped.py`, one thread, torch {torch.__version__}. Seconds of the processor, loading included.",
        "",
        "| command | weights | exact | proved | margin, in steps of the code's grid | CPU s of the proof |",
        "|---|---|---|---|---|---|",
    ]
    for r in rows:
        margin = "-" if r["margin"] is None else f"{r['margin']:.2g}"
        yes = ["yes" if r[key] else "no" for key in ("exact", "proved")]
        lines.append(f"| `{r['command']}` | {r['weights']:,} | {yes[0]} | {yes[1]} | {margin} | {r['seconds']:.2g} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure what is asked for or missing, and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", type=int, choices=range(len(ROWS)), default=[], help="these rows afresh")
    asked = parser.parse_args().only
    torch.set_num_threads(1)
    file = RESULTS / "stepped.json"
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for number in asked or [n for n in range(len(ROWS)) if str(n) not in kept]:
        kept[str(number)] = measured(*ROWS[number])
        print(kept[str(number)], flush=True)
        with replace_file(file) as path:
            path.write_text(json.dumps(kept, indent=1) + "\n")
        text = page([kept[key] for key in sorted(kept, key=int)])
        with replace_file(RESULTS / "stepped.md") as path:
            path.write_text(text)


if __name__ == "__main__":
    main()
