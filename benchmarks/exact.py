"""Bit-exact quines of the free recipes: share solved, seconds, fixed points, trials against |det(I - J)|, margins.

    python benchmarks/exact.py [--recipes blog,cnn] [--seeds 20] [--dtype float64] [--again]

The seeds are drawn at random from a fixed stream, so that they are the same everywhere and nobody chose them. Seconds are
of the processor, on one core. Every quine is written to benchmarks/results/exact-DTYPE.json as soon as it is found, and one that
is there is not sought again but with --again. Prints the table that docs/exactness.md holds.
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
RECIPES = "blog,cnn,rnn,gru,lstm,elman,transformer"


HEAD = (
    "| recipe | solved | seconds, median | worst | fixed points | trials | expected | smallest margin |",
    "|---|---|---|---|---|---|---|---|",
)


def one(name: str, seed: int, dtype: str) -> dict[str, object]:
    """Solve one quine and note what it took."""
    quine = nq.recipe(name, seed=seed, dtype=getattr(torch, dtype))
    started = time.process_time()
    solution = nq.solve(quine, exact=True, throw=False, stop=nq.Stop(time_limit=300))

    def said(pattern: str) -> float | None:
        """A number of the sentence that says what was tried."""
        found = re.search(pattern, solution.detail)
        return float(found[1]) if found else None

    margin = said(r"margin (\S+) of a step")
    return {
        "recipe": name,
        "seed": seed,
        "dtype": dtype,
        "status": solution.status.name,
        "exact": solution.converged and solution.differing_weights == 0,
        "self_sensitivity": solution.self_sensitivity,
        "cpu_seconds": time.process_time() - started,
        "map_evaluations": solution.map_evaluations,
        "fixed_points": said(r"(\d+) fixed points?"),
        "trials": said(r"(\d+) trials?"),
        "expected_trials": said(r"where (\S+) are expected"),
        "margin": None if margin is None else margin * 2.0 ** -(solution.code_bits or 0),
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
    ).replace("nan", "-")


def table(everything: list[dict[str, object]]) -> list[str]:
    """A row for each recipe, in the order of ``RECIPES``."""
    of = {name: [f for f in everything if f["recipe"] == name] for name in RECIPES.split(",")}
    return [*HEAD, *(row(name, found) for name, found in of.items() if found)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipes", default=RECIPES)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--again", action="store_true", help="also seek those that are in the file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / f"exact-{given.dtype}.json"
    everything = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    for name in given.recipes.split(","):
        for seed in np.random.default_rng(2026).integers(1, 2**31, given.seeds).tolist():
            kept = [f for f in everything if (f["recipe"], f["seed"]) != (name, seed)]
            if len(kept) < len(everything) and not given.again:
                continue
            everything = [*kept, one(name, seed, given.dtype)]
            part = path.with_suffix(".part")
            part.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
            part.replace(path)
    print("\n".join(table(everything)))


if __name__ == "__main__":
    main()
