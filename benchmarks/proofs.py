"""What proofs take and how close they come: every kind of quine that is proved, recipe by recipe, question by question.

    python benchmarks/proofs.py [--seed 0] [--large] [--only blog elman] [--balls] [--asking WORDS]

Each small recipe is solved twice: bit by bit on a grid, of which exact arithmetic and every float64 machine are asked, and freely, of which
a real quine near the weights is asked. Task quines, and recipes whose activations are rounded to a grid, are asked about every machine.
``--large`` adds, or ``--only`` names, GPT-2 (124,439,808 weights, anchored; both questions, each by itself), ResNet-18 and a GPT-2 of 48 layers
with activations on a grid: some ten minutes and 3 GB. ``--balls`` asks the small ones by balls of 128 bits as well (python-flint), as was done
before and tests still do: some minutes. Every question has a process of its own; seconds are the processor's. Rows that are not asked
again stay. Writes ``benchmarks/results/proofs.json`` and, to be read, ``proofs.md`` beside it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SMALL = "blog", "cnn", "rnn", "gru", "lstm", "elman", "transformer"
TASKS = "digits-mlp", "digits-cnn", "digits-vit", "mnist-cnn"
STEPPED = {  # recipes with activations on a grid of 2^-bits, and their other options
    "blog on a grid": ("blog", 24, {}),
    "cnn on a grid": ("cnn", 12, {"skip": 0.1}),
    "transformer on a grid": ("transformer", 12, {"skip": 0.1, "code_bits": 4}),
}
LARGE = "gpt2", "resnet18 on a grid", "48 layers on a grid"
EXACT, FLOAT, BOX = "exact arithmetic", "every float64 machine", "a real quine near the weights"
TAPE, STEPS = "every machine, by a tape of signs", "every float64 machine, by construction"
DTYPES = {EXACT: None, FLOAT: "float64"}
_PATIENCE = 1800  # seconds of a search


# -- the quines ---------------------------------------------------------------------------------------------------------


def kept(name: str, seed: int, place: str, exact: bool) -> str | None:
    """The folder of a quine, made in this process; None where there is none."""
    import torch

    import neuralquine as nq
    from neuralquine.tasks.recipes import planned

    torch.set_num_threads(1)
    folder = str(Path(place) / name.replace(" ", "-")) + ("" if exact else "-free")
    if name in TASKS:
        plan = planned(name, seed=seed)
        quine: nq.Quine = nq.TaskQuine(plan.body, plan.probe, **plan.settings)
        nq.save(quine, folder)
        return folder
    quine = _drawn(name, seed)
    solution = nq.solve(quine, exact=exact, throw=False, time_limit=_PATIENCE)
    if not (solution.bit_exact if exact else solution.converged):
        return None
    nq.save(quine, folder)
    return folder


def _drawn(name: str, seed: int) -> Any:
    import neuralquine as nq

    if name in STEPPED:
        recipe, bits, options = STEPPED[name]
        return nq.recipe(recipe, seed=seed, activation_bits=bits, **options)
    if name == "resnet18 on a grid":
        return nq.recipe("resnet18", seed=seed, activation_bits=16, dtype="float64")
    if name == "48 layers on a grid":
        return _deep(seed)
    return nq.recipe(name, seed=seed)


def _deep(seed: int) -> Any:
    """A causal transformer of 48 layers of width 256."""
    import torch

    import neuralquine as nq
    from neuralquine.quines.networks.causal import CausalTransformer
    from neuralquine.recipes.problem import tokens

    torch.manual_seed(seed)
    trunk = CausalTransformer(1024, 256, 48, 4)
    options = {"activation_bits": 12, "code_bits": 8, "skip": 0.02, "dtype": torch.float64}
    return nq.Quine(trunk, tokens(seed, 8, 1024), code_size=64, seed=seed, **options)


# -- the questions ------------------------------------------------------------------------------------------------------


def asked(folder: str, question: str, balls: bool) -> dict[str, Any]:
    """One question about the quine of a folder, in this process."""
    import neuralquine.proving.verbs  # noqa: F401 - so that no import is counted

    ask = {BOX: _box, TAPE: _checked, STEPS: _checked}.get(question, _margin)
    started = time.process_time()
    row, again = ask(folder, question)
    row |= {
        "seconds": time.process_time() - started,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "date": date.today().isoformat(),
        "machine": f"{_processor()}, one core",
    }
    return row | ({"before": again()} if balls else {})


def _processor() -> str:
    with open("/proc/cpuinfo") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _margin(folder: str, question: str) -> tuple[dict[str, Any], Any]:
    from neuralquine.proving.network import Network
    from neuralquine.proving.tubes.margins import WORDS, rounding_margin

    network = Network(folder)
    x = network.printer.grid_code(network.theta)
    if x is None:
        return {"verdict": "not printed by any code on the grid"}, dict
    found = rounding_margin(network, x, DTYPES[question])
    row = {"parameters": len(network.theta), "weights": network.dtype, "bound": found.error, "margin": found.room}

    def again() -> dict[str, Any]:
        from neuralquine.proving.balls import Rounding
        from neuralquine.proving.proofs import rounding_margin as by_balls

        dtype, started = DTYPES[question], time.process_time()
        margin = by_balls(network, x, rounding=None if dtype is None else Rounding.of(dtype))
        return {"seconds": time.process_time() - started, "verdict": "proved" if margin > 0 else "not proved"}

    return row | {"by": WORDS[found.by], "verdict": "proved" if found.proved else "not proved"}, again


def _box(folder: str, _: str) -> tuple[dict[str, Any], Any]:
    """The bound is how far the quine's code may be from the middle of a box, the margin the radius of the box."""
    from neuralquine.proving.network import Network
    from neuralquine.proving.slopes.contraction import enclosed

    network = Network(folder)
    found = enclosed(network)
    row = {"parameters": len(network.theta), "weights": network.dtype, "bound": found.reach, "margin": found.radius}
    row |= {"theta_radius": found.theta_radius, "contraction": found.contraction}

    def again() -> dict[str, Any]:
        from neuralquine.proving.narrower import box
        from neuralquine.proving.proofs import krawczyk

        started = time.process_time()
        narrow = box(network, found.midpoint, None)
        seconds = time.process_time() - started
        both = krawczyk(network, found.midpoint, found.radius).proved  # the very box: the two must say the same
        said = {"seconds": seconds, "radius": narrow.radius if narrow else None, "same_box": both}
        return said | {"verdict": "proved" if narrow else "not proved"}

    return row | {"by": "a contraction", "verdict": "proved" if found.proved else "not proved"}, again


def _checked(folder: str, _: str) -> tuple[dict[str, Any], Any]:
    from neuralquine.proving import checker, constructed

    quine = checker.read(folder)
    row = {"parameters": len(quine.theta), "weights": quine.dtype, "bound": None, "by": quine.name}
    found = constructed.portability(folder, witness=None)
    row["verdict"] = "proved" if found.proved else "proved in float64" if found.wider else "not proved"
    return row | {"margin": found.float_margin, "said": found.reason}, dict


# -- the table ----------------------------------------------------------------------------------------------------------


def questions(name: str) -> list[tuple[str, bool]]:
    """What is asked of a recipe, and whether of its quine on a grid."""
    if name in TASKS:
        return [(TAPE, True)]
    if name.endswith("on a grid"):
        return [(STEPS, True)]
    return [(EXACT, True), (FLOAT, True), *([(BOX, False)] if name in SMALL else [])]


def main() -> None:
    """Find, ask, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the quines")
    parser.add_argument("--large", action="store_true", help="also the large ones")
    parser.add_argument("--balls", action="store_true", help="also by balls")
    parser.add_argument("--only", nargs="*", default=None, help="these alone")
    parser.add_argument("--asking", default="", help="only questions with these words, such as float64")
    parser.add_argument("--folder", default=None, help="a solved gpt2, in the place of finding it")
    options = parser.parse_args()
    names = options.only or [*SMALL, *TASKS, *STEPPED, *(LARGE if options.large else [])]
    out = ROOT / "benchmarks" / "results" / "proofs.json"
    with tempfile.TemporaryDirectory() as home:
        for name in names:
            folders: dict[bool, str | None] = {True: options.folder} if name == "gpt2" and options.folder else {}
            for question, exact in [q for q in questions(name) if options.asking in q[0]]:
                if exact not in folders:
                    folders[exact] = _apart(kept, name, options.seed, home, exact)
                if (folder := folders[exact]) is None:
                    print(f"{name}: no quine of seed {options.seed}")
                    continue
                row = {"recipe": name, "question": question, **_apart(asked, folder, question, options.balls)}
                row["load"] = round(os.getloadavg()[0], 1)
                print({k: v for k, v in row.items() if k not in ("machine", "said")}, flush=True)
                _write(out, row)
    print(f"written to {out} and {out.with_suffix('.md').name}")


def _apart(act: Any, *given: Any) -> Any:
    """Run a function in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(act, given)


def _write(out: Path, row: dict[str, Any]) -> None:
    """Put a row in the place of the old one, whose balls stay where they were not asked again."""
    rows = json.loads(out.read_text()) if out.is_file() else []
    old = next((r for r in rows if (r["recipe"], r["question"]) == (row["recipe"], row["question"])), {})
    rows = [r for r in rows if r is not old] + [({"before": old["before"]} if "before" in old else {}) | row]
    order = [*SMALL, *TASKS, *STEPPED, *LARGE]
    rows.sort(key=lambda r: (order.index(r["recipe"]), [EXACT, FLOAT, BOX, TAPE, STEPS].index(r["question"])))
    out.write_text(json.dumps(rows, indent=1) + "\n")
    out.with_suffix(".md").write_text(table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [
        "# Proofs: seconds, memory, and the bound beside the margin",
        "",
        "`python benchmarks/proofs.py` (`--large` for GPT-2, ResNet-18 and 48 layers, `--balls` for the last column); seconds of the",
        "processor with the reading of the folder, one core, beside the machine's load while it ran.",
        "",
        "Bound: the largest error that an evaluation can have in a number of the code; margin: what it may have; both in grid steps.",
        "Of a real quine near the weights: how far its code can be from the middle of the box; margin: the box's radius. With activations on a",
        "grid the margin is what round-off leaves. Balls: the same question by balls of 128 bits, which refuse large networks.",
        "GPT-2: float32 weights, the trunk in the arithmetic of the question.",
        "",
        "| quine | weights | question | CPU seconds | peak GB | bound | margin | by | verdict | balls | load | date |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        old = r.get("before", {})
        before = old.get("verdict", "") + (f", {old['seconds']:.2f} s" if "seconds" in old else "")
        bound, margin = (f"{r[key]:.2g}" if r.get(key) is not None else "" for key in ("bound", "margin"))
        figures = f"{r['seconds']:.2f} | {r['peak_gb']:.2f} | {bound} | {margin}"
        lines.append(
            f"| `{r['recipe']}` | {r.get('parameters', 0):,} | {r['question']} | {figures} | {r.get('by', '')} | {r['verdict']} | "
            f"{before} | {r['load']} | {r.get('date', '')} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
