"""Bit-exact quines of the free recipes: share solved, seconds, fixed points, trials against |det(I - J)|, margins.

    python benchmarks/exact.py [--recipes blog,cnn] [--seeds 20] [--dtype float64]

The seeds are drawn at random from a fixed stream, so that they are the same everywhere and nobody chose them. Seconds are
of the processor, on one core. Prints a table, and writes benchmarks/results/exact-DTYPE.json, where other recipes stay.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from pathlib import Path

import numpy as np
import torch

import neuralquine as nq

RESULTS = Path(__file__).parent / "results"
RECIPES = "blog,cnn,rnn,gru,lstm,transformer"


def one(name: str, seed: int, dtype: str) -> dict[str, object]:
    """Solve one quine and note what it took."""
    quine = nq.recipe(name, seed=seed, dtype=getattr(torch, dtype))
    started = time.process_time()
    solution = nq.solve(quine, exact=True, throw=False, stop=nq.Stop(time_limit=300))
    counts = re.search(
        r"after trying (\d+) fixed points?.* (\d+) trials?(?: where (\S+) are expected)?", solution.detail
    )
    margin = re.search(r"margin (\S+) of a step", solution.detail)
    return {
        "recipe": name,
        "seed": seed,
        "dtype": dtype,
        "status": solution.status.name,
        "exact": solution.converged and solution.differing_weights == 0,
        "self_sensitivity": solution.self_sensitivity,
        "cpu_seconds": time.process_time() - started,
        "map_evaluations": solution.map_evaluations,
        "fixed_points": int(counts[1]) if counts else None,
        "trials": int(counts[2]) if counts else None,
        "expected_trials": float(counts[3]) if counts and counts[3] else None,
        "margin": float(margin[1]) * 2.0 ** -(solution.code_bits or 0) if margin else None,
        "code_bits": solution.code_bits,
        "code_phase": solution.code_phase,
    }


def row(name: str, found: list[dict[str, object]]) -> str:
    """A row of the table."""

    def numbers(key: str) -> list[float]:
        return [float(f[key]) for f in found if f[key] is not None] or [float("nan")]  # type: ignore[arg-type]

    seconds, solved = numbers("cpu_seconds"), sum(bool(f["exact"]) for f in found)
    return (
        f"| {name} | {solved} of {len(found)} | {statistics.median(seconds):.2f} | {max(seconds):.2f} | "
        f"{statistics.median(numbers('fixed_points')):.0f} | {statistics.median(numbers('trials')):.0f} | "
        f"{statistics.median(numbers('expected_trials')):.3g} | {min(numbers('margin')):.1e} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipes", default=RECIPES)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--dtype", default="float64")
    given = parser.parse_args()
    torch.set_num_threads(1)
    drawn = np.random.default_rng(2026).integers(1, 2**31, given.seeds).tolist()
    print("| recipe | solved | seconds, median | worst | fixed points | trials | expected | smallest margin |")
    print("|---|---|---|---|---|---|---|---|")
    for name in given.recipes.split(","):
        found = [one(name, seed, given.dtype) for seed in drawn]
        print(row(name, found), flush=True)
        path = RESULTS / f"exact-{given.dtype}.json"
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        everything = [other for other in before if other["recipe"] != name] + found
        path.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
