"""What proofs take and how close they come: each free recipe bit by bit, in exact arithmetic and on every float64 machine.

    python benchmarks/proofs.py [--seed 0] [--large] [--only blog elman]

Finds a bit-exact quine of each recipe, and asks both questions of it in a fresh process: by tubes and adjoints, and beside it by
balls of 128 bits (python-flint), which is what was used before and is the oracle of the tests. ``--large`` adds GPT-2 (124,439,808
weights, anchored), which takes some minutes and 3 GB; balls refuse it. Seconds are the processor's. Writes
``benchmarks/results/proofs.json`` and, to be read, ``proofs.md`` beside it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SMALL = "blog", "cnn", "rnn", "gru", "lstm", "elman", "transformer"
QUESTIONS = {"exact arithmetic": None, "every float64 machine": "float64"}
BALLS = 1 << 20  # weights up to which balls are asked, too


def asked(folder: str, question: str) -> dict[str, Any]:
    """One question about the quine of a folder, in this process."""
    from neuralquine.proving.network import Network
    from neuralquine.proving.tubes.margins import WORDS, rounding_margin

    started = time.process_time()
    network = Network(folder)
    x = network.printer.grid_code(network.theta)
    read = time.process_time() - started
    if x is None:
        return {"verdict": "not printed by any code on the grid"}
    started = time.process_time()
    found = rounding_margin(network, x, QUESTIONS[question])
    row = {
        "parameters": len(network.theta),
        "weights": network.dtype,
        "read_seconds": read,
        "seconds": time.process_time() - started,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "bound": found.error,
        "margin": found.room,
        "by": WORDS[found.by],
        "verdict": "proved" if found.proved else "not proved",
    }
    return row | {"before": _balls(network, x, question)}


def _balls(network: Any, x: list[int], question: str) -> dict[str, Any]:
    """The same by balls."""
    if len(network.theta) > BALLS:
        return {"verdict": "refused"}
    from neuralquine.proving.balls import Rounding
    from neuralquine.proving.proofs import rounding_margin

    dtype, started = QUESTIONS[question], time.process_time()
    margin = rounding_margin(network, x, rounding=None if dtype is None else Rounding.of(dtype))
    return {"seconds": time.process_time() - started, "verdict": "proved" if margin > 0 else "not proved"}


def found(name: str, seed: int, place: Path) -> str | None:
    """The folder of a bit-exact quine of a recipe; None where there is none."""
    import neuralquine as nq

    quine = nq.recipe(name, seed=seed)
    if not nq.solve(quine, exact=True, throw=False).bit_exact:
        return None
    nq.save(quine, place / name)
    return str(place / name)


def main() -> None:
    """Find, ask, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the quines")
    parser.add_argument("--large", action="store_true", help="also GPT-2")
    parser.add_argument("--only", nargs="*", default=None, help="these recipes alone")
    parser.add_argument("--folder", default=None, help="a solved gpt2, in the place of finding it")
    options = parser.parse_args()
    names = options.only or [*SMALL, *(["gpt2"] if options.large else [])]
    fresh, out = multiprocessing.get_context("spawn"), ROOT / "benchmarks" / "results" / "proofs.json"
    before = json.loads(out.read_text()) if out.is_file() else []
    rows = [row for row in before if row["recipe"] not in names]  # those of other recipes stay
    with tempfile.TemporaryDirectory() as home:
        for name in names:
            held = options.folder if name == "gpt2" and options.folder else None
            folder = held or found(name, options.seed, Path(home))
            for question in QUESTIONS if folder else ():
                with fresh.Pool(1) as pool:
                    row = {"recipe": name, "question": question, **pool.apply(asked, (folder, question))}
                rows.append(row | {"load": round(os.getloadavg()[0], 1)})
                out.write_text(json.dumps(rows, indent=1) + "\n")
                out.with_suffix(".md").write_text(table(rows))
                print({k: v for k, v in row.items() if k != "before"}, row.get("before"), flush=True)
            if not folder:
                print(f"{name}: no bit-exact quine of seed {options.seed}")
    print(f"written to {out} and {out.with_suffix('.md').name}")


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [
        "# Proofs: seconds, memory, and the bound beside the margin",
        "",
        "`python benchmarks/proofs.py` (`--large` for GPT-2); seconds of the processor, one core, beside the machine's load while it ran",
        "",
        "Bound: the largest error that an evaluation can have in a number of the code; margin: what it may have. Both in grid",
        "steps. Before: the same question by balls of 128 bits. GPT-2: float32 weights, the trunk in the arithmetic of the question.",
        "",
        "| recipe | weights | question | CPU seconds | load | peak GB | bound | margin | by | verdict | before |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        old = r.get("before", {})
        before = old.get("verdict", "") + (f", {old['seconds']:.2f} s" if "seconds" in old else "")
        figures = f"{r['read_seconds'] + r['seconds']:.2f} | {r['load']} | {r['peak_gb']:.2f} | {r['bound']:.1e} | {r['margin']:.2g}"
        lines.append(
            f"| `{r['recipe']}` | {r['parameters']:,} | {r['question']} | {figures} | {r['by']} | {r['verdict']} | {before} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
