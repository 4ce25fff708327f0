"""Every method on the same problems: how many seeds each solves, what that costs, and how it ends where it does not.

    python benchmarks/methods.py [--seeds 0 1 2 3 4] [--limit 30] [--only NAME ...]

Each run is ``nq.solve(quine, method)`` at its defaults, number of starts included; the first row is the ladder. Writes the
table and the raw figures to ``benchmarks/results/``. ``--only`` measures some methods and keeps the figures of the others, for the same seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

import neuralquine as nq
from neuralquine.solving.methods import METHODS
from neuralquine.solving.methods.gradient import OPTIMIZERS
from neuralquine.solving.solution import environment

ROOT = Path(__file__).resolve().parents[1]
LADDER = "the ladder"
PROBLEMS = ("free", "anchored", "queried")  # the post's network; the same size with skip=0.1; asked weight by weight
TRIED = (LADDER, *(name for name in METHODS if name not in OPTIMIZERS and name not in ("epochs", "hill-climbing")))


def run(problem: str, method: str, seed: int, limit: float) -> dict[str, Any]:
    """One solve; what a method refuses is its status."""
    quine = _quine(problem, seed)
    stop = nq.Stop(time_limit=limit)
    try:
        solution = nq.solve(quine, None if method == LADDER else method, stop=stop, throw=False)
    except nq.TooLarge:
        return {"problem": problem, "method": method, "seed": seed, "status": "refused", "converged": False}
    return {"problem": problem, **solution.figures(), "method": method, "seed": seed}


def _quine(problem: str, seed: int) -> nq.Quine:
    if problem != "anchored":
        return nq.recipe("blog" if problem == "free" else "queried-121", seed=seed)
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Linear(8, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 20))
    return nq.Quine(trunk, torch.randn(1, 8), code_size=20, skip=0.1, seed=seed)


def report(raw: dict[str, Any]) -> str:
    """The table: solved of all seeds, and the median cost of those; else how most of them end."""
    runs, seeds, limit = raw["runs"], raw["seeds"], raw["limit"]
    lines = [
        f"# Every method on the same problems, {len(seeds)} seeds, at most {limit:g} s each",
        "",
        "Free: the post's network, P = 1,020, `blog`. Anchored: a network of that size with `skip=0.1`. Queried: `queried-121`.",
        f"`python benchmarks/methods.py`, float64, torch {raw['environment']['torch']}, one thread.",
        "Solved of all seeds, with the median map evaluations and derivative products of those; then how most of the",
        "others end. Every method has its own number of starts.",
        "",
        "| method | " + " | ".join(PROBLEMS) + " |",
        "|---" * (len(PROBLEMS) + 1) + "|",
    ]
    for method in TRIED:
        cells = [_cell([r for r in runs if r["method"] == method and r["problem"] == p]) for p in PROBLEMS]
        lines.append("| " + " | ".join([method, *cells]) + " |")
    return "\n".join(lines) + "\n"


def _cell(runs: list[dict[str, Any]]) -> str:
    solved = [r for r in runs if r["converged"]]
    ends = Counter(r["status"].replace("_", " ") for r in runs if not r["converged"])
    text = f"{len(solved)} of {len(runs)}"
    if solved:
        evaluations = statistics.median_high(r["map_evaluations"] for r in solved)
        jvps = statistics.median_high(r["jvps"] for r in solved)
        text += f": {evaluations:,} + {jvps:,}"
    return text + (f"; {ends.most_common(1)[0][0]}" if ends else "")


def main() -> None:
    """Run everything and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--limit", type=float, default=30.0, help="seconds for each run")
    parser.add_argument("--only", nargs="+", choices=TRIED, default=TRIED, metavar="NAME")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = ROOT / "benchmarks" / "results"
    runs = []
    if options.only is not TRIED:
        kept = json.loads((folder / "methods.json").read_text())
        if (kept["seeds"], kept["limit"]) != (options.seeds, options.limit):
            parser.error(f"the others were measured with seeds {kept['seeds']} and a limit of {kept['limit']:g} s")
        runs = [r for r in kept["runs"] if r["method"] not in options.only]
    for problem in PROBLEMS:
        for method in options.only:
            runs += [run(problem, method, seed, options.limit) for seed in options.seeds]
            print(f"{problem}, {method}: {_cell(runs[-len(options.seeds) :])}", flush=True)
    raw = {"environment": environment(), "seeds": options.seeds, "limit": options.limit, "runs": runs}
    (folder / "methods.md").write_text(report(raw))
    (folder / "methods.json").write_text(json.dumps(raw, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
