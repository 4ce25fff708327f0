"""Free and large, anchored and coarse: bit-exact quines where one evaluation is dear, or the grid is.

    python benchmarks/large.py [--shapes 2x64,4x128,6x256,12x768] [--codes 8] [--seeds 3] [--anchored 20]

``free``: GPT-2's shape without its skip path, layers x width, by a small code. Each row has a process of its own, so that its
peak of memory is its own, and is verified in another one; seconds are of the processor, on one core. ``anchored``: networks
drawn at random with beta from 0.05 to 1 on grids from 2^-2 to 2^-8. Rows that results/large.json has are not run again.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

import neuralquine as nq
from neuralquine.files.strict_json import finite_or_none

RESULTS = Path(__file__).parent / "results"
BETAS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
RECIPES = ("cnn", "rnn", "gru", "lstm", "transformer", "gpt2")
SMALL = {"gpt2": {"layers": 2, "width": 64}}  # the shape of it in which one evaluation takes milliseconds


def solved(name: str, seed: int, options: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    """Solve one quine, note what it took, and keep it if a folder is given."""
    torch.set_num_threads(1)
    started = time.process_time()
    quine = nq.recipe(name, seed=seed, **options)
    solution = nq.solve(quine, exact=True, throw=False, time_limit=1800)
    seconds = time.process_time() - started
    if folder is not None:
        nq.save(quine, folder)
    trials = re.search(r"(\d+) trials? where (\S+) are expected", solution.detail)
    margin = re.search(r"margin (\S+) of a step", solution.detail)
    return {
        "recipe": name,
        "seed": seed,
        **options,
        "parameters": quine.parameter_count,
        "status": solution.status.name,
        "self_sensitivity": solution.self_sensitivity,
        "spectral_radius": finite_or_none(solution.spectral_radius),
        "differing_weights": solution.differing_weights,
        "map_evaluations": solution.map_evaluations,
        "derivative_products": solution.jvps,
        "trials": int(trials[1]) if trials else None,
        "determinant": float(trials[2]) if trials else None,
        "margin_in_steps": float(margin[1]) if margin else None,
        "code_phase": solution.code_phase,
        "cpu_seconds": seconds,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def verified(folder: Path) -> dict[str, Any]:
    """Verify a quine that another process wrote, as it is and with its phase altered by one."""
    torch.set_num_threads(1)
    quine = nq.load(folder)
    found = nq.verify(quine)
    quine.code_phase += 1
    with torch.no_grad():
        moved = sum(int((stored != printed).sum()) for stored, printed in quine.printed_pieces(quine.code()))
    return {"verified": found.is_quine and found.bit_exact, "differing_with_another_phase": moved}


def apart(act: Any, *given: Any) -> dict[str, Any]:
    """Run a function in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        return pool.submit(act, *given).result()


def free(shape: str, code_size: int, seed: int) -> dict[str, Any]:
    layers, width = map(int, shape.split("x"))
    options = {"skip": 0.0, "layers": layers, "width": width, "code_size": code_size}
    with tempfile.TemporaryDirectory() as place:
        row = {"shape": shape, **apart(solved, "gpt2", seed, options, Path(place) / "quine")}
        exact = row["status"] == "CONVERGED"
        return row | (apart(verified, Path(place) / "quine") if exact else {"verified": False})


def draws(count: int) -> list[tuple[str, int, dict[str, Any]]]:
    """Anchored networks; the first is GPT-2's shape on the recipe's own grid."""
    generator = np.random.default_rng(2027)
    drawn: list[tuple[str, int, dict[str, Any]]] = [("gpt2", 3, {"code_bits": 8, **SMALL["gpt2"]})]
    while len(drawn) < count:
        name, seed = str(generator.choice(RECIPES)), int(generator.integers(1, 2**31))
        beta, bits = float(generator.choice(BETAS)), int(generator.integers(2, 9))
        drawn.append((name, seed, {"skip": beta, "code_bits": bits, **SMALL.get(name, {})}))
    return drawn[:count]


def tables(rows: dict[str, list[dict[str, Any]]]) -> str:
    """Both tables, as Markdown."""
    lines = ["# Bit-exact where an evaluation is dear, or the grid is coarse", "", "`python benchmarks/large.py`", ""]
    heads = "shape|weights|code|seed|verified|self-sensitivity|determinant|trials|evaluations|derivative products|CPU s|peak GiB"
    lines += ["## Free: GPT-2's shape", "", f"| {heads.replace('|', ' | ')} |", "|---" * 12 + "|"]
    for r in rows["free"]:
        figures = [
            r["shape"],
            f"{r['parameters']:,}",
            r["code_size"],
            r["seed"],
            "yes" if r["verified"] else r["status"],
        ]
        figures += [f"{r['self_sensitivity']:,.0f}", f"{r['determinant'] or float('nan'):.3g}", r["trials"]]
        figures += [r["map_evaluations"], r["derivative_products"], f"{r['cpu_seconds']:.0f}", f"{r['peak_gib']:.2f}"]
        lines.append("| " + " | ".join(map(str, figures)) + " |")
    exact = sum(r["differing_weights"] == 0 and r["status"] == "CONVERGED" for r in rows["anchored"])
    lines += ["", f"## Anchored: {exact} of {len(rows['anchored'])} exact", ""]
    heads = "recipe|seed|beta|grid|phase|exact|spectral radius|self-sensitivity|evaluations|CPU s"
    lines += [f"| {heads.replace('|', ' | ')} |", "|---" * 10 + "|"]
    for r in rows["anchored"]:
        radius = "not computed" if r["spectral_radius"] is None else f"{r['spectral_radius']:.3f}"
        figures = [r["recipe"], r["seed"], r.get("skip", 0.02), f"2^-{r['code_bits']}", r["code_phase"], r["status"]]
        figures += [radius, f"{r['self_sensitivity']:.1f}", r["map_evaluations"], f"{r['cpu_seconds']:.1f}"]
        lines.append("| " + " | ".join(map(str, figures)) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shapes", default="2x64,4x128,6x256,12x768")
    parser.add_argument("--codes", default="8")
    parser.add_argument("--seeds", default="3", help="seeds of the free ones, with commas")
    parser.add_argument("--anchored", type=int, default=20, help="how many anchored networks are drawn")
    given = parser.parse_args()
    path = RESULTS / "large.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"free": [], "anchored": []}

    def keep(kind: str, row: dict[str, Any]) -> None:
        rows[kind].append(row)
        path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        (RESULTS / "large.md").write_text(tables(rows), encoding="utf-8")
        print(json.dumps(row), flush=True)

    known = {(r["shape"], r["code_size"], r["seed"]) for r in rows["free"]}
    for shape in filter(None, given.shapes.split(",")):
        for code in map(int, given.codes.split(",")):
            for seed in map(int, given.seeds.split(",")):
                if (shape, code, seed) not in known:
                    keep("free", free(shape, code, seed))
    for name, seed, options in draws(given.anchored)[len(rows["anchored"]) :]:
        keep("anchored", solved(name, seed, options, None))
    (RESULTS / "large.md").write_text(tables(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
