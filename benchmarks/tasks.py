"""Task quines against the same body trained without the constraint, split by split, in pairs.

    python benchmarks/tasks.py [--recipes digits-mlp digits-cnn] [--splits 10] [--trials 100]

Each split trains the quine and the body by the same loop, keeps the quine, and asks another process with another number
of threads whether it prints the stored bits. Healing is measured on the first split's network. Splits that stand in
``results/tasks.json`` already are not run again; ``--fresh`` begins anew.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import neuralquine as nq
from neuralquine.tasks.limits import capacity, moments, predicted
from neuralquine.tasks.recipes import planned

RESULTS = Path(__file__).parent / "results"
DAMAGES = {
    "noise": (0.5, 0.6, 0.7),
    "large-noise": (0.3, 0.5),
    "zero": (0.75, 0.85, 0.9),
    "negate": (0.2, 0.3),
    "flip": (1.0,),
    "words": (0.4, 0.5, 0.6),
    "bit-errors": (0.05, 0.1),
    "block": (0.1, 0.2),
    "neurons": (0.1, 0.3),
}
ELSEWHERE = """
import sys, neuralquine as nq
from neuralquine.quines.bits import differing
quine = nq.load(sys.argv[1])
print(int(differing(quine.printed(), quine.theta).sum()))
"""


def split(name: str, seed: int) -> dict[str, Any]:
    """One split: the quine, the body without the constraint, and the bits in another process."""
    task = nq.tasks.recipe(name, seed=seed)
    training = task.train()
    quine = task.quine
    body = planned(name, seed=seed).body
    free = nq.tasks.train_body(
        body, task.data.train, validation=task.data.validation, schedule=task.schedule, seed=seed
    )
    with tempfile.TemporaryDirectory() as folder:
        verification = nq.save(quine, Path(folder) / "quine")
        others = {}
        for count in (1, 2, 3):
            environment = os.environ | {"OMP_NUM_THREADS": str(count), "MKL_NUM_THREADS": str(count)}
            run = subprocess.run(
                [sys.executable, "-c", ELSEWHERE, str(Path(folder) / "quine")],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            others[str(count)] = int(run.stdout)
    return {
        "recipe": name,
        "split": seed,
        "quine": task.test(),
        "body": nq.tasks.evaluate(lambda x: body(x)[1], task.data.test),
        "validation": [training.score, free.score],
        "seconds": [training.seconds, free.seconds],
        "parameters": verification.parameters,
        "body_parameters": sum(p.numel() for p in body.parameters()),
        "relative_residual": verification.relative_residual,
        "differing_weights": verification.differing_weights,
        "differing_elsewhere": others,
        "self_sensitivity": verification.self_sensitivity,
        "weight_rms": verification.weight_rms,
        "trivial": list(verification.trivial),
        "numbers_outside": verification.numbers_outside,
        "margin": quine.margin,
        "code_size": quine.code_size,
    }


def healing(name: str, trials: int) -> list[dict[str, Any]]:
    """Every damage, on the network of the first split."""
    task = nq.tasks.recipe(name, seed=0)
    task.train()
    rows = []
    for kind, fractions in DAMAGES.items():
        for fraction in fractions:
            damage = nq.Damage(kind, fraction)
            healed = nq.heal(task.quine, damage, trials=trials, seed=20, evaluate=lambda _: task.test())
            rows.append({"recipe": name, **healed.figures(), "predicted": predicted(task.quine, damage)})
            print(rows[-1], flush=True)
    return rows


def guarding(name: str) -> dict[str, Any]:
    """What a check of a guarded network costs, beside an answer to a batch of 128; processor time, least of 20."""
    task = nq.tasks.recipe(name, seed=0)
    live = nq.guard(task.quine)
    x = next(iter(task.data.test))[0][:128]

    def least(call: Callable[[], Any]) -> float:
        times = []
        for _ in range(20):
            started = time.process_time()
            call()
            times.append(time.process_time() - started)
        return min(times)

    with torch.no_grad():
        check, answer = least(live.check), least(lambda: live(x))
    return {"recipe": name, "check_seconds": check, "batch_seconds": answer, "parameters": task.quine.parameter_count}


def carrying() -> list[dict[str, Any]]:
    """Signs that a tape can carry, by the number of independent votes for each and the damage."""
    quine = nq.tasks.recipe("digits-mlp", seed=0, hidden=32, code_size=256).quine
    rows = []
    for text in ("noise:0.5", "zero:0.75", "words:0.4", "noise:0.8"):
        mean, variance = moments(quine, nq.Damage.parse(text))
        rows.append({"damage": text, **{str(r): capacity(r, mean, variance) for r in (16, 32, 64, 128, 256)}})
    return rows


def report(data: dict[str, Any]) -> str:
    lines = ["# Task quines, measured", "", f"`python benchmarks/tasks.py`, {data['machine']}.", ""]
    lines += [
        "| recipe | splits | weights | quine | same body, free | paired difference | bits differing, any split or process |"
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for name in dict.fromkeys(row["recipe"] for row in data["splits"]):
        rows = [r for r in data["splits"] if r["recipe"] == name]
        gaps = [100 * (r["quine"] - r["body"]) for r in rows]
        error = statistics.stdev(gaps) / math.sqrt(len(gaps)) if len(gaps) > 1 else math.nan
        means = [100 * statistics.mean(r[k] for r in rows) for k in ("quine", "body")]
        bits = sum(r["differing_weights"] + sum(r["differing_elsewhere"].values()) for r in rows)
        lines += [
            f"| {name} | {len(rows)} | {rows[0]['parameters']:,} | {means[0]:.2f} % | {means[1]:.2f} % | "
            f"{statistics.mean(gaps):+.2f} +- {error:.2f} points | {bits} |"
        ]
    lines += [
        "",
        "Test accuracy, mean over splits; the difference with its standard error. Another process: 1, 2 and 3 threads.",
        "",
    ]
    lines += [
        "| recipe | damage | healed | 95 % interval | predicted | mutants | generations | accuracy before, damaged, after |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in data["healing"]:
        low, high = r["confidence_95"]
        law = "-" if r["predicted"] is None else f"{r['predicted']:.2f}"
        scores = ", ".join(f"{100 * r[f'accuracy_{k}']:.1f}" for k in ("before", "damaged", "after"))
        most = max(map(int, r["generations"]), default=0)
        lines += [
            f"| {r['recipe']} | {r['damage']} {r['fraction']:g} | {r['healed']} of {r['trials']} | {low:.2f} to {high:.2f} | "
            f"{law} | {r['mutants']} | {most or '-'} | {scores} |"
        ]
    lines += ["", "A guarded network's check, in processor time on one thread:", ""]
    for r in data["guard"]:
        each = 1e9 * r["check_seconds"] / r["parameters"]
        lines += [
            f"- {r['recipe']}: {1e3 * r['check_seconds']:.0f} ms, {each:.1f} ns a weight; as long as "
            f"{r['check_seconds'] / r['batch_seconds']:.1f} answers to a batch of 128."
        ]
    lines += [
        "",
        "Signs that a tape can carry so that the damage spares all of them in 99 of 100 cases, by independent votes for each:",
        "",
    ]
    lines += ["| damage | 16 votes | 32 | 64 | 128 | 256 |", "|---|---|---|---|---|---|"]
    for r in data["capacity"]:
        lines += [f"| {r['damage']} | " + " | ".join(f"{r[str(k)]:.2g}" for k in (16, 32, 64, 128, 256)) + " |"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", default=["digits-mlp", "digits-cnn"])
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--fresh", action="store_true")
    arguments = parser.parse_args()
    path = RESULTS / "tasks.json"
    data: dict[str, Any] = {"splits": [], "healing": [], "guard": [], "capacity": []}
    if path.exists() and not arguments.fresh:
        data |= json.loads(path.read_text())
    data["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"

    def keep() -> None:
        path.write_text(json.dumps(data) + "\n")
        path.with_suffix(".md").write_text(report(data))

    for seed in range(arguments.splits):
        for name in arguments.recipes:
            if not any(r["recipe"] == name and r["split"] == seed for r in data["splits"]):
                data["splits"].append(split(name, seed))
                print(data["splits"][-1], flush=True)
                keep()
    for name in arguments.recipes:
        if arguments.trials and not any(r["recipe"] == name for r in data["healing"]):
            data["healing"] += healing(name, arguments.trials)
            keep()
    data["guard"] = [guarding(name) for name in arguments.recipes]
    data["capacity"] = carrying()
    keep()


if __name__ == "__main__":
    main()
