"""How the starts of Chang and Lipson's network fare, by the settings of the method that follows them.

    python benchmarks/starts.py [--width 100] [--seeds 11-15] [--tools "eta=0.2,forcing=0.9,gain=0.7;eta=0.05"] [--jobs N]
                                [--seconds 200] [--device cuda] [--out benchmarks/results/starts.json]

A tool is settings of ``KrylovLM``, and ``batch``, the starts that are made at once. Every (tool, seed) is a process of its own
with one thread that follows one start after the other, also after a success, for so many seconds. Written: of every start
its RMS weight, its residual by derivative products, evaluations and seconds; and for every tool products and seconds for
each quine found. ``--replay 0.02,0.03,0.04`` runs nothing: it prints what the starts already written would have cost and found
by these ``pace``s.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from queried import seeds_of

ROOT = Path(__file__).resolve().parents[1]
FOUND = 1e-13  # relative residual of a quine
MOST = 4000  # products after which a start is given up in any case

Row = dict[str, Any]


def one(tool: str, seed: int, width: int, scale: float, seconds: float, device: str) -> list[Row]:
    """Follow starts in this process."""
    import torch

    import neuralquine as nq
    from neuralquine.quines.queried import QueryQuine
    from neuralquine.solving.linearized import linear_starts
    from neuralquine.solving.methods.krylov_lm import KrylovLM, Memory, relative
    from neuralquine.solving.queried_map import QueryMap

    quine = nq.recipe("chang-lipson", seed=seed, width=width, scale=scale, device=None if device == "cpu" else device)
    assert isinstance(quine, QueryQuine)
    options = {
        name: json.loads(value) for name, value in (setting.split("=") for setting in tool.split(",") if setting)
    }
    batch = options.pop("batch", 24)
    f, solver, rows = QueryMap(quine), KrylovLM(**options), []
    assert f.stack is not None
    started = time.perf_counter()
    over = lambda: time.perf_counter() - started > seconds  # noqa: E731
    starts = linear_starts(f.stack, torch.Generator().manual_seed(seed), batch=batch, late=over)
    clock = time.process_time()
    for x in starts:
        making, clock = time.process_time() - clock, time.process_time()
        fx, memory, first, asked, took = f(x[None])[0], Memory(), x, f.evaluations, f.jvps
        while not memory.stuck and memory.products < MOST and relative(x, fx) > 1.2e-15 and not over():
            x, fx = solver.advance(f, x, fx, memory)
        if over():  # a start that was cut off counts for nothing
            break
        rows.append(
            {
                "rms": float(first.square().mean().sqrt()),
                "end": relative(x, fx),
                "end_rms": float(x.square().mean().sqrt()),
                "making": making,
                "following": time.process_time() - clock,
                "evaluations": f.evaluations - asked,
                "products": f.jvps - took,
                "course": [(products, float(f"{residual:.3g}")) for products, residual in memory.course],
            }
        )
        clock = time.process_time()
    return rows


def run(tool: str, seed: int, options: argparse.Namespace) -> list[Row]:
    """Run :func:`one` in a process of its own."""
    here = [sys.executable, __file__, "--one", tool, str(seed), "--seconds", str(options.seconds)]
    here += ["--width", str(options.width), "--scale", str(options.scale), "--device", options.device]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(here, capture_output=True, text=True, env=os.environ | threads)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return []
    return [{"tool": tool, "seed": seed} | row for row in json.loads(done.stdout.splitlines()[-1])]


def report(rows: list[Row], options: argparse.Namespace) -> str:
    lines = [
        f"# Starts of chang-lipson, width {options.width}, queries scaled by {options.scale:g}, {options.device}",
        "",
        "| tool | starts | quines | products a quine | s a quine | s to make a start | ms a product |",
        "|---|---|---|---|---|---|---|",
    ]
    for tool in options.tools.split(";"):
        mine = [row for row in rows if row["tool"] == tool]
        found = sum(row["end"] < FOUND for row in mine)
        products = sum(row["products"] for row in mine)
        making, following = sum(row["making"] for row in mine), sum(row["following"] for row in mine)
        each = [x / found if found else float("nan") for x in (products, making + following)]
        lines.append(
            f"| {tool} | {len(mine)} | {found} | {each[0]:.0f} | {each[1]:.3g} | {making / max(1, len(mine)):.2g} | "
            f"{1e3 * following / max(1, products):.3g} |"
        )
    return "\n".join([*lines, ""])


def replayed(rows: list[Row], paces: list[float]) -> str:
    """What the recorded courses would have cost if starts that fall behind a pace had been left."""
    from neuralquine.solving.methods.krylov_lm import _CLOSE, _PACE_GAIN, _WINDOW

    def left_at(row: Row, pace: float) -> int | None:
        late = (
            products
            for products, residual in row["course"]
            if products >= _WINDOW and residual > max(_CLOSE, pace * _PACE_GAIN ** (products / _WINDOW - 1))
        )
        return next(late, None) if pace else None

    lines = ["| tool | pace | starts | products | quines |", "|---|---|---|---|---|"]
    for tool in dict.fromkeys(row["tool"] for row in rows):
        mine = [row for row in rows if row["tool"] == tool]
        for pace in [0.0, *paces]:
            ends = [(row, left_at(row, pace)) for row in mine]
            products = sum(row["products"] if left is None else left for row, left in ends)
            found = sum(left is None and row["end"] < FOUND for row, left in ends)
            lines.append(f"| {tool} | {pace or '-'} | {len(mine)} | {products} | {found} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=100)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seeds", type=seeds_of, default=seeds_of("11-15"))
    parser.add_argument("--tools", default="eta=0.2,forcing=0.9,gain=0.7;eta=0.05")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=200)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "starts.json")
    parser.add_argument("--one", nargs=2, metavar=("TOOL", "SEED"), help=argparse.SUPPRESS)
    parser.add_argument("--replay", metavar="PACES", help="of the starts in --out, what they would have cost")
    options = parser.parse_args()
    if options.replay:
        print(replayed(json.loads(options.out.read_text()), [float(pace) for pace in options.replay.split(",")]))
        return
    if options.one:
        tool, seed = options.one
        print(json.dumps(one(tool, int(seed), options.width, options.scale, options.seconds, options.device)))
        return
    rows: list[Row] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        todo = [(tool, seed) for seed in options.seeds for tool in options.tools.split(";")]
        for future in as_completed([pool.submit(run, *each, options) for each in todo]):
            rows += future.result()
            options.out.parent.mkdir(parents=True, exist_ok=True)
            for path, text in (
                (options.out, json.dumps(rows)),
                (options.out.with_suffix(".md"), report(rows, options)),
            ):
                fresh = path.with_name(f".{path.name}.{os.getpid()}")
                fresh.write_text(text + "\n", encoding="utf-8")
                fresh.replace(path)
    print(report(rows, options))


if __name__ == "__main__":
    main()
