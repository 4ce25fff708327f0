"""Three ways to do a task and print oneself: the paper's joint loss, a real tape, a tape of signs. One table, one figure.

    python benchmarks/tradeoff.py [--splits 2]

The paper's trade-off: the more the joint loss asks for self-replication, the worse the network classifies, and no copy
that is printed works. Writes ``results/tradeoff.json`` and ``.md`` and ``docs/figures/tradeoff.png``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from pathlib import Path
from typing import Any

import torch

import neuralquine as nq
from neuralquine.checking.verify import response
from neuralquine.files.atomic import replace_file
from neuralquine.quines.measure import measure
from neuralquine.tasks import BiasTapeQuine, auxiliary, digits

HERE = Path(__file__).parent
WEIGHTS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
BASIN = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def joint(weight: float, split: int) -> dict[str, Any]:
    """The paper's network with one weighting of its losses."""
    found = auxiliary(digits(split), weight, seed=split)
    row = _figures(found.quine, f"joint loss, lambda {weight:g}", split, found.accuracy, found.copy_accuracy)
    return row | {"lambda": weight, "basin": 0.0, "sensitivity": nq.spectrum(found.quine).self_sensitivity}


def tape(family: type[nq.TaskQuine], split: int) -> dict[str, Any]:
    """The recipe ``digits-mlp`` with one kind of tape."""
    task = nq.tasks.recipe("digits-mlp", seed=split, family=family)
    task.train()
    quine = task.quine
    accuracy = task.test()
    basin = 0.0
    for fraction in BASIN:
        if not nq.heal(quine, nq.Damage("noise", fraction), trials=20, seed=3).all_healed:
            break
        basin = fraction
    theta = quine.theta
    quine.theta = quine.printed()
    copied = task.test()
    quine.theta = theta
    name = "real tape in the last bias" if family is BiasTapeQuine else "tape of signs"
    row = _figures(quine, name, split, accuracy, copied)
    return row | {"lambda": None, "basin": basin, "sensitivity": nq.spectrum(quine).self_sensitivity}


def _figures(quine: nq.Quine, name: str, split: int, accuracy: float, copied: float) -> dict[str, Any]:
    figures = measure(quine)
    return {
        "family": name,
        "split": split,
        "accuracy": accuracy,
        "copy_accuracy": copied,
        "relative_residual": figures.relative_residual,
        "weight_rms": figures.weight_rms,
        "differing_weights": figures.differing_weights,
        "parameters": quine.parameter_count,
        "response": response(quine),
        "outside": quine.probe.numel() if isinstance(quine, nq.TaskQuine) else 0,
    }


def averaged(data: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name in dict.fromkeys(r["family"] for r in data["runs"]):
        runs = [r for r in data["runs"] if r["family"] == name]
        numbers = [k for k, v in runs[0].items() if isinstance(v, int | float) and k != "split"]
        rows.append({"family": name, **{k: statistics.mean(r[k] for r in runs) for k in numbers}})
    return rows


def report(data: dict[str, Any]) -> str:
    lines = ["# Three families of task quines, on scikit-learn's digits", ""]
    lines += [f"`python benchmarks/tradeoff.py`, {data['splits']} split(s), {data['machine']}.", ""]
    lines += [
        "| family | accuracy | of the printed copy | loss | relative residual | RMS weight | bits that differ | self-sensitivity | response | basin (noise) | weights | probe numbers outside |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in averaged(data):
        lines.append(
            f"| {r['family']} | {100 * r['accuracy']:.1f} % | {100 * r['copy_accuracy']:.1f} % | {squared(r):.2g} | {r['relative_residual']:.2g} | "
            f"{r['weight_rms']:.2g} | {r['differing_weights']:.0f} | {r['sensitivity']:.2g} | {r['response']:.2g} | "
            f"{100 * r['basin']:.0f} % | {r['parameters']:,.0f} | {r['outside']:.0f} |"
        )
    lines += [
        "",
        "Loss: `||F(theta) - theta||^2`. It falls with lambda because the weights shrink; relative to them nothing is gained.",
    ]
    lines += ["Basin: the largest share of all weights replaced by noise at which 20 of 20 came back bit for bit."]
    lines += [
        "Queries of the joint loss are made again from their seed. A real tape is a copy, and `verify` names it so."
    ]
    return "\n".join(lines) + "\n"


def draw(data: dict[str, Any], path: Path) -> None:
    """Accuracy against the paper's loss, and what becomes of the weights; exact quines stand on an axis of their own."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    exact, loss, share = figure.subplots(1, 3, width_ratios=[1, 3, 3])
    rows = averaged(data)
    for r in rows:
        if r.get("lambda") is None:
            signs = "signs" in r["family"]
            color, below, x = (
                ("#b3541e", 5, -0.4) if signs else ("#8a8a8a", 12, 0.4)
            )  # side by side: both are near 100 %
            exact.plot(
                [x], [100 * r["accuracy"]], "o" if signs else "x", color=color, markersize=8, zorder=2 if signs else 3
            )
            exact.annotate(
                r["family"].replace(" in the", "\nin the"),
                (0, 100 * r["accuracy"] - below),
                ha="center",
                va="top",
                fontsize=8,
                color=color,
            )
    exact.set_xticks([0], ["exactly 0"])
    exact.set_xlim(-1, 1)
    exact.set_ylabel("test accuracy, %")
    paper = [r for r in rows if r.get("lambda") is not None]
    x = [squared(r) for r in paper]
    loss.plot(x, [100 * r["accuracy"] for r in paper], "s-", color="#222222", label="the network")
    loss.plot(
        x,
        [100 * r["copy_accuracy"] for r in paper],
        "s--",
        color="#222222",
        markerfacecolor="white",
        label="the copy that it prints",
    )
    for i, r in enumerate(paper):
        place = (squared(r), 100 * r["accuracy"] - (3 if i % 2 else 8))
        loss.annotate(f"{r['lambda']:g}", place, ha="center", va="top", fontsize=8)
    loss.annotate("chance", (min(x), 10.5), ha="left", va="bottom", fontsize=8, color="#8a8a8a")
    loss.set_xscale("log")
    loss.set_xlabel(r"$\|F(\theta)-\theta\|^2$ of the joint loss   (numbers: lambda)")
    loss.legend(frameon=False, loc="center right")
    for axis in (exact, loss):
        axis.axhline(10, color="#8a8a8a", linewidth=1, linestyle=":")
        axis.set_ylim(0, 104)
    weights = [max(r["lambda"], 1e-5) for r in paper]
    share.loglog(weights, [r["relative_residual"] for r in paper], "s-", color="#222222", label="relative residual")
    share.loglog(weights, [r["weight_rms"] for r in paper], "^-", color="#8a8a8a", label="RMS weight")
    share.set_xticks(weights, [f"{r['lambda']:g}" for r in paper])
    share.minorticks_off()
    share.set_xlabel("lambda")
    share.set_title("the loss falls because the weights shrink", fontsize=9)
    share.legend(frameon=False, loc="lower left")
    for axis in (exact, loss, share):
        axis.grid(alpha=0.25)
    with replace_file(path) as partial:
        figure.savefig(partial, dpi=110)


def squared(row: dict[str, Any]) -> float:
    """``||F(theta) - theta||^2``, what the paper minimizes."""
    return (row["relative_residual"] * row["weight_rms"]) ** 2 * row["parameters"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=2)
    parser.add_argument("--draw", action="store_true", help="only draw and write the table again")
    arguments = parser.parse_args()
    path = HERE / "results" / "tradeoff.json"
    if arguments.draw:
        data = json.loads(path.read_text())
    else:
        torch.set_num_threads(1)
        machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
        data = {"splits": arguments.splits, "machine": machine, "runs": []}
        for split in range(arguments.splits):
            for weight in WEIGHTS:
                data["runs"].append(joint(weight, split))
                print(data["runs"][-1], flush=True)
            for family in (BiasTapeQuine, nq.TaskQuine):
                data["runs"].append(tape(family, split))
                print(data["runs"][-1], flush=True)
        path.write_text(json.dumps(data) + "\n")
    path.with_suffix(".md").write_text(report(data))
    draw(data, HERE.parent / "docs" / "figures" / "tradeoff.png")


if __name__ == "__main__":
    main()
