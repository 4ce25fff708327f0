"""How many quines a queried network has, which of them attract, and what becomes of their descendants.

    python benchmarks/existence.py [--starts 30] [--seeds 0 1]

Follows a number of starts of each network to the end, counts the distinct quines, and prints each for 100 generations; beside
them the attracting one of a positive network, and an anchored quine (printed from a code) for comparison.
Writes ``benchmarks/results/existence.md`` and ``existence.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import neuralquine as nq
from neuralquine.solving.linearized import variation
from neuralquine.solving.solution import environment

ROOT = Path(__file__).resolve().parents[1]
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "tanh, biases, P = 121": ("queried-121", {"activation": "tanh"}),
    "SELU, biases, P = 121": ("queried-121", {"activation": "selu"}),
    "tanh, biases, P = 441": ("queried-441", {"activation": "tanh"}),
    "SELU, biases, P = 441": ("queried-441", {"activation": "selu"}),
    "SELU, biases, P = 2,601": ("queried-2601", {"activation": "selu"}),
    "the paper's at width 20, P = 820": ("chang-lipson", {"width": 20}),
    "the paper's at width 50, P = 5,050": ("chang-lipson", {"width": 50}),
    "Fletcher, coordinates, P = 256": ("fletcher-coords", {}),
}


def census(name: str, options: dict[str, Any], seed: int, starts: int) -> dict[str, Any]:
    quine = nq.recipe(name, seed=seed, **options)
    started = time.perf_counter()
    found = nq.zoo(quine, starts=starts)
    lines = []
    for entry in found.quines:
        quine.theta = entry.theta
        lines.append(nq.generations(quine, 100).survived)
    return {
        "seed": seed,
        "starts": starts,
        "seconds": time.perf_counter() - started,
        "distinct": len(found.quines),
        "radii": [q.spectral_radius for q in found.quines],
        "rms": [q.weight_rms for q in found.quines],
        "spread": [variation(q.theta) for q in found.quines],
        "generations": lines,
    }


def single(name: str, options: dict[str, Any]) -> dict[str, Any]:
    quine = nq.recipe(name, **options)
    solution = nq.solve(quine, throw=False)
    return {
        "seed": 0,
        "starts": 1,
        "seconds": solution.seconds,
        "distinct": int(solution.converged),
        "radii": [solution.spectral_radius],
        "rms": [solution.weight_rms],
        "spread": [variation(quine.theta)],
        "generations": [nq.generations(quine, 100).survived],
    }


def row(label: str, runs: list[dict[str, Any]]) -> str:
    radii = [r for run in runs for r in run["radii"]]
    lines = [g for run in runs for g in run["generations"]]
    if not radii:
        return f"| {label} | {sum(r['starts'] for r in runs)} | 0 | | | | | |"
    return (
        f"| {label} | {sum(r['starts'] for r in runs)} | {' + '.join(str(r['distinct']) for r in runs)} | "
        f"{min(radii):.3g} to {max(radii):.3g} | {sum(r < 1 for r in radii)} | "
        f"{statistics.median(r for run in runs for r in run['rms']):.2g} | "
        f"{min(r for run in runs for r in run['spread']):.2g} | {min(lines)} to {max(lines)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    runs = {}
    for label, (name, given) in NETWORKS.items():
        print(f"{label} ...", flush=True)
        runs[label] = [census(name, given, seed, options.starts) for seed in options.seeds]
    runs["ReLU without biases, from positive weights, P = 20,100"] = [
        single("chang-lipson", {"activation": "relu", "front": False})
    ]
    runs["anchored, printed from a code: recurrent network, P = 13,568"] = [single("rnn", {"skip": 0.1})]
    where = environment()
    lines = [
        f"# Queried quines: how many, and which attract ({options.starts} starts for each of {len(options.seeds)} seeds)",
        "",
        f"`python benchmarks/existence.py`, float64, {where['platform']}, torch {where['torch']}.",
        "",
        "| network | starts | distinct quines, seed by seed | spectral radius | attracting | RMS weight | least spread | generations of 100 |",
        "|---|---|---|---|---|---|---|---|",
        *(row(label, some) for label, some in runs.items()),
        "",
        "Spread: standard deviation of the weights over their root mean square. A generation installs what was printed; it",
        "counts as long as it is within 1 % of the first. Where the spectral radius is above 1 round-off grows by it every",
        "generation. A positive network without biases attracts every direction but its own length, whose eigenvalue is the",
        "degree: regeneration with a normalization finds it, and plain regeneration leaves it.",
        "",
    ]
    text = "\n".join(lines)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "existence.md").write_text(text, encoding="utf-8")
    (options.out / "existence.json").write_text(json.dumps({"environment": where, "runs": runs}) + "\n")


if __name__ == "__main__":
    main()
