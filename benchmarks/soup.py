"""The soup's classes beside the published ones.

    python benchmarks/soup.py [--seeds 3]

Repeats three experiments of Gabor and others (2019) with their sizes, epsilon and numbers of steps: networks applied to
themselves, networks trained on themselves, and a soup in which they attack each other and train. Published counts are those
of the logs in the authors' repository. Writes ``benchmarks/results/soup.md`` and ``soup.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from neuralquine.evolution.soup import CLASSES, Soup
from neuralquine.solving.solution import environment

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS: dict[str, tuple[int, dict[str, Any], tuple[int, ...]]] = {
    "self-application, 50 networks, 100 steps": (
        100,
        {"size": 50, "attack": 0.0, "train": 0, "applications": 1, "replace": False},
        (23, 27, 0, 0, 0),
    ),
    "self-training, 50 networks, 1,000 epochs": (
        1000,
        {"size": 50, "attack": 0.0, "train": 1, "replace": False},
        (0, 0, 50, 0, 0),
    ),
    "soup of 20, attack 0.1, 30 epochs, 100 generations": (100, {}, (0, 0, 13, 0, 7)),
}


def run(generations: int, options: dict[str, Any], seed: int) -> dict[str, Any]:
    soup = Soup(seed=seed, **options)
    started = time.perf_counter()
    for _ in range(generations):
        soup.step()
        soup.age += 1
    return {"seed": seed, "seconds": time.perf_counter() - started} | soup.result(Path())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)  # the tensors are small
    rows, lines = [], []
    for name, (generations, options, published) in EXPERIMENTS.items():
        lines.append(f"| {name} | published | {' | '.join(map(str, published))} | |")
        for seed in range(seeds):
            row = run(generations, options, seed)
            rows.append({"experiment": name, "published": dict(zip(CLASSES, published, strict=True))} | row)
            counts = " | ".join(str(row["classes"][c]) for c in CLASSES)
            lines.append(f"| | seed {seed} | {counts} | {row['seconds']:.0f} |")
            print(lines[-1], flush=True)
    head = f"| experiment | | {' | '.join(CLASSES)} | seconds |\n|---|---|{'---|' * (len(CLASSES) + 1)}\n"
    text = (
        "# The soup of linear networks: classes, published and measured\n\n"
        f"`python benchmarks/soup.py --seeds {seeds}`, one thread; epsilon 1e-4 as in the authors' scripts. These networks\n"
        "are shown the weight that they print, so their fixed points are copies, not quines by the words of `verify`.\n"
        "In the soup all particles act at once and then train; the authors' act one after the other.\n\n"
    )
    folder = ROOT / "benchmarks" / "results"
    (folder / "soup.md").write_text(text + head + "\n".join(lines) + "\n", encoding="utf-8")
    (folder / "soup.json").write_text(
        json.dumps({"environment": environment(), "runs": rows}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
