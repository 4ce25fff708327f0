"""Populations that live by ``neuralquine evolve``: what came of the commands that docs/evolution.md shows.

    python benchmarks/evolution.py      # benchmarks/results/evolution.md and evolution.json; goes on where it was stopped

Digits learned by selection alone, and the control without it; lines of sine networks with and without a genome and the
sink loss; and the fixed points that a genome gives to networks of random weights. The soup has a file of its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet
import torch

from neuralquine.evolution.fertility import Fertility
from neuralquine.files.atomic import replace_file
from neuralquine.solving.solution import environment

RESULTS = Path(__file__).resolve().parent / "results"
DIGITS = {"by selection": "digits", "control: parents at random": "digits -r selection=false --generations 60"}
SHARES = {0.76: (2, " -r share=0.76 -r steps=1000"), 0.28: (3, ""), 0.0: (3, " -r share=0.0")}  # seeds, and words
TRIES = 2  # seeds of three networks each, whose weights are as they were drawn


def lived(words: str, kept: dict[str, Any]) -> dict[str, Any]:
    """The result of ``neuralquine evolve``, with the CPU seconds that it took."""
    if words not in kept:
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable,
                "-m",
                "neuralquine",
                "evolve",
                *words.split(),
                "--out",
                f"{folder}/life",
                "--json",
            ]
            before = _seconds()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            result = json.loads(Path(folder, "life", "result.json").read_text())
            kept[words] = {k: v for k, v in result["result"].items() if k != "best"} | {
                "generations": result["generations"],
                "cpu_seconds": round(_seconds() - before, 1),
            }
            if words.startswith("digits"):
                kept[words]["common_ancestor"] = common_ancestor(Path(folder, "life", "individuals.parquet"))
        _keep(kept)
    print(words, flush=True)
    return kept[words]


def _seconds() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def common_ancestor(table: Path) -> int:
    """The last generation in which one individual was the ancestor of all that live at the end."""
    rows = pyarrow.parquet.read_table(table, columns=["generation", "identity", "parent"]).to_pydict()
    parents: dict[int, dict[int, int]] = {}
    for generation, identity, parent in zip(rows["generation"], rows["identity"], rows["parent"], strict=True):
        parents.setdefault(generation, {})[identity] = parent
    generation = max(parents)
    living = set(parents[generation])
    while len(living) > 1 and generation > 0:
        living = {parents[generation][identity] for identity in living}
        generation -= 1
    return generation


def drawn_networks(share: float) -> list[float]:
    """The spectral radius at the fixed point that a genome gives to a network ``w`` as it was drawn."""
    found = []
    for seed in range(TRIES):
        world = Fertility(seed=seed, steps=0, share=share)
        for w in world.founder[: world.lines]:
            theta = world.printed(w[None], w[None], w[None])[0]  # (1 - s) w + s w = w prints it
            genome = (w - (1 - share) * theta) / share
            assert (world.printed(theta[None], genome[None])[0] - theta).norm() < 1e-10 * theta.norm()
            found.append(world.derivative(theta, genome)[0])
    return found


def settled_rows(kept: dict[str, Any]) -> list[str]:
    """The table of lines: each share with the sink loss, and without."""
    rows = []
    for share, (seeds, words) in SHARES.items():
        runs = [lived(f"fertility --seed {seed}{words}", kept) for seed in range(seeds)]
        for kind, loss in (("", "sink"), ("control_", "quine")):
            lines = [
                {name: run[kind + name][i] for name in ("first_step", "last_step", "distance", "radius", "sensitivity")}
                for run in runs
                for i in range(len(run["first_step"]))
            ]
            count = sum(run[f"{kind}settled"] for run in runs)
            shown = [one for one in lines if loss == "quine" or (one["last_step"] or 1) <= 1e-12]
            cells = [_range(shown, name) for name in ("first_step", "distance", "radius", "sensitivity")]
            rows.append(f"| {share:g} | {loss} | {count} of {len(lines)} | {' | '.join(cells)} |")
    return rows


def _range(lines: list[dict[str, Any]], name: str) -> str:
    numbers = sorted(one[name] for one in lines if one[name] is not None)
    return f"{_short(numbers[0])} to {_short(numbers[-1])}" if numbers else "-"


def _short(number: float) -> str:
    """Two digits, without an exponent where there are at most four before the point."""
    rounded = float(f"{number:.2g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"


def page(kept: dict[str, Any]) -> str:
    """The tables, from the figures that are kept."""
    digits = []
    for name, words in DIGITS.items():
        run = lived(words, kept)
        digits.append(
            f"| {name} | {run['generations']} | {run['verified']:,} | {run['exact']:,} | {run['stillborn']} | "
            f"{run['struck_rows']:,} | {run['mutations']:,} | {run['common_ancestor']} | {100 * run['train_accuracy']:.1f} % | "
            f"{100 * run['test_accuracy']:.1f} % | {run['cpu_seconds']:.0f} |"
        )
    lines = settled_rows(kept)
    sink = [run for words, run in kept.items() if words.startswith("fertility") and "share" not in words]
    last = [x for words, run in kept.items() if words.startswith("fertility") for x in run["last_step"] if x <= 1e-12]
    flat = [x for run in sink for x in run["flattened"]]
    controls = [
        f"{run['control_distance'][i]:.2g} from its founder, with a radius of {run['control_radius'][i]:.2g}"
        for words, run in kept.items()
        if words.startswith("fertility")
        for i, step in enumerate(run["control_last_step"])
        if step is not None and step <= 1e-12
    ]
    by_share = {share: drawn_networks(share) for share in (0.28, 0.76)}
    genome = [
        f"- share {share:g}: radius {min(radii):.3g} to {max(radii):.3g}; {sum(r < 1 for r in radii)} of {len(radii)} attract"
        for share, radii in by_share.items()
    ]
    return "\n".join(
        [
            "# Populations",
            "",
            f"`python benchmarks/evolution.py`, one thread, torch {torch.__version__}.",
            "",
            "## Digits, by selection alone",
            "",
            "| seed 0 | generations | verified | exact | stillborn | rows struck | mutations | common ancestor in generation "
            "| train | test | CPU s |",
            "|---" * 11 + "|",
            *digits,
            "",
            "## Lines of sine networks",
            "",
            "| share of the genome | loss | settled | first step | from the founder at the end | spectral radius | self-sensitivity |",
            "|---" * 7 + "|",
            *lines,
            "",
            "With the sink loss the figures are those of lines that settled (the 200th step is at most 1e-12: it was "
            f"{min(last):.1g} to {max(last):.1g}).",
            f"Without it {len(controls)} settled{': ' if controls else ''}{'; '.join(controls)}.",
            f"Share 0.28: without what the founder's weights say, a child is {min(flat):.2g} to {max(flat):.2g} off.",
            "",
            "## Networks as they were drawn, made fixed points by a genome",
            "",
            *genome,
            "",
        ]
    )


def _keep(kept: dict[str, Any]) -> None:
    with replace_file(RESULTS / "evolution.json") as path:
        path.write_text(json.dumps(kept, indent=1) + "\n")


def main() -> None:
    """Run what is not yet kept, and write the tables."""
    file = RESULTS / "evolution.json"
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"environment": environment()}
    torch.set_num_threads(1)
    text = page(kept)
    with replace_file(RESULTS / "evolution.md") as path:
        path.write_text(text)


if __name__ == "__main__":
    main()
