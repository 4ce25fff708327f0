"""All recipes, solved on the CPU and on a GPU: seconds, how it ended, and whether both print the same bits.

    python benchmarks/recipes.py [--only gpt2,blog] [--limit 30]
    python benchmarks/recipes.py --device cuda [--budget 60]

Each command fills its own column of results/recipes.json, and the table is made of both. Recipes that can be anchored are, on a
grid, so that every bit can be asked for; the others are solved as they are. What was solved on a GPU is printed once more on the
CPU. With ``--budget`` recipes that would begin later are left out.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

import neuralquine as nq
from neuralquine.recipes import RECIPES
from neuralquine.solving.solution import environment

RESULTS = Path(__file__).parent / "results"
ANCHORED: dict[str, dict[str, Any]] = {
    **{name: {"skip": 0.1, "code_bits": 10} for name in ("cnn", "rnn", "gru", "lstm")},
    "transformer": {"skip": 0.1, "code_bits": 6},
}
HUGE = ("gpt2-xl", "llama-8b")  # on the CPU by benchmarks/around.py alone, on a GPU by benchmarks/gpu.py
Record = dict[str, Any]


def solved(name: str, device: str, limit: float) -> Record:
    """Solve one recipe on one device."""
    given = ANCHORED.get(name, {})
    try:
        quine = nq.recipe(name, seed=1, device=device, **given)
        started = time.perf_counter()
        solution = nq.solve(quine, throw=False, time_limit=limit)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        row = {"options": given, "parameters": quine.parameter_count, "status": solution.status.name}
        row |= {"bit_exact": solution.bit_exact, "seconds": seconds}
        if device == "cuda" and solution.bit_exact:
            theta = quine.theta.cpu()
            row["same on the CPU"] = bool(torch.equal(quine.to("cpu").printed(), theta))
        return row
    except Exception as error:  # one recipe that fails leaves its reason, and the others run
        return {"options": given, "error": f"{type(error).__name__}: {error}"[:300]}


def all_of(names: list[str], device: str, limit: float, budget: float, out: Path) -> dict[str, Record]:
    """Solve recipes as long as there is time, and write the table after each."""
    until, path = time.perf_counter() + budget, out / "recipes.json"
    out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Record] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    machine = environment() | ({"gpu": torch.cuda.get_device_name()} if device == "cuda" else {})
    for name in names:
        left = until - time.perf_counter()
        if left > 1:
            rows.setdefault(name, {})[device] = solved(name, device, min(limit, left)) | {"machine": machine}
            print(f"{name}: {json.dumps(rows[name][device])}", flush=True)
            path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
            (out / "recipes.md").write_text(table(rows), encoding="utf-8")
    return rows


def table(rows: dict[str, Record]) -> str:
    """The results as Markdown."""
    lines = [
        "# All recipes, on the CPU and on a GPU",
        "",
        "`python benchmarks/recipes.py` and `python benchmarks/recipes.py --device cuda`. Seconds of one solve, after the network was made.",
        "",
        "| recipe | options | weights | CPU | GPU | solved on the GPU, printed on the CPU |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(rows, key=list(RECIPES).index):
        known = [row for row in (rows[name].get("cpu"), rows[name].get("cuda")) if row and "error" not in row]
        weights = f"{known[0]['parameters']:,}" if known else ""
        options = " ".join(f"{k}={v}" for k, v in (known[0]["options"] if known else {}).items())
        same = rows[name].get("cuda", {}).get("same on the CPU")
        cells = [name, options, weights, cell(rows[name].get("cpu")), cell(rows[name].get("cuda"))]
        lines.append("| " + " | ".join([*cells, "" if same is None else "same bits" if same else "OTHER BITS"]) + " |")
    machines = {json.dumps(row["machine"]) for pair in rows.values() for row in pair.values()}
    return "\n".join([*lines, "", *(f"Machine: {machine}" for machine in sorted(machines)), ""])


def cell(row: Record | None) -> str:
    if row is None:
        return ""
    if "error" in row:
        return row["error"].splitlines()[0]
    end = "bit-exact" if row["bit_exact"] else row["status"].lower().replace("_", " ")
    return f"{end}, {row['seconds']:.2f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", help="names, with commas; by default all but the largest")
    parser.add_argument("--limit", type=float, default=30.0, help="seconds for one recipe")
    parser.add_argument("--budget", type=float, default=3600.0, help="seconds for all")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    names = given.only.split(",") if given.only else [name for name in RECIPES if name not in HUGE]
    all_of(names, given.device, given.limit, given.budget, given.out)


if __name__ == "__main__":
    main()
