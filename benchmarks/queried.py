"""Queried quines on many seeds: what each search cost, and what it found, by the package's own fresh evaluation.

    python benchmarks/queried.py [--problems NAME,...] [--seeds 11-20] [--jobs N] [--threads N] [--time-limit 180]
                                 [--device cuda] [--out benchmarks/results/queried.json] [--resume]

Every (problem, seed) is a process of its own with ``--threads`` threads (1), ``--jobs`` of them at once (one for each core).
Results are written after every run that ends, as JSON with every seed's figures and as a table (the same name with ``.md``): residual, RMS weight, spread,
distance of the spectrum to 1, generations survived of 100, derivative products, seconds of the processor and of the clock.
Seconds of several runs at once are longer than those of one alone. A seed counts as solved where ``verify`` finds a quine
without a trick, of relative residual <= 1e-14 and RMS weight > 0.01. ``PYTHONPATH=src`` is enough: beside the package it
needs torch, NumPy, SciPy and safetensors. Stopped by SIGTERM it ends its runs and writes the table of those that had ended.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOLVED, HEALTHY = 1e-14, 0.01  # most relative residual and least RMS weight of a solved seed
GRACE = 90  # seconds beyond the limit, for imports and for what is measured of the outcome, before a run is ended

Row = dict[str, Any]

PROBLEMS: dict[str, tuple[str, dict[str, Any]]] = {
    "chang-lipson": ("chang-lipson", {}),
    "chang-lipson-50": ("chang-lipson", {"width": 50}),
    "chang-lipson-200": ("chang-lipson", {"width": 200}),
    "chang-lipson-16th": ("chang-lipson", {"scale": 1 / 16}),
    "chang-lipson-50-16th": ("chang-lipson", {"width": 50, "scale": 1 / 16}),
    "austint-relu-121": ("queried-121", {"activation": "relu", "scale": 10**-0.5}),
    "austint-relu-441": ("queried-441", {"activation": "relu", "scale": 20**-0.5}),
    "austint-relu-2601": ("queried-2601", {"activation": "relu", "scale": 50**-0.5}),
    "austint-tanh-121": ("queried-121", {"activation": "tanh", "scale": 10**-0.5}),
    "austint-tanh-441": ("queried-441", {"activation": "tanh", "scale": 20**-0.5}),
    "austint-tanh-2601": ("queried-2601", {"activation": "tanh", "scale": 50**-0.5}),
    "fletcher-coords": ("fletcher-coords", {}),
    "fletcher-onehot": ("fletcher-onehot", {"normalize": True}),
    "fletcher-rnn": ("fletcher-rnn", {}),
}
"""Names of problems, with the recipe and its options."""

RUNNING: list[subprocess.Popen[str]] = []


def one(name: str, seed: int, limit: float, device: str) -> Row:
    """Solve one problem in this process, and measure what was found."""
    import torch

    import neuralquine as nq

    recipe, options = PROBLEMS[name]
    quine = nq.recipe(recipe, seed=seed, device=None if device == "cpu" else device, **options)
    spent, started = time.process_time(), time.perf_counter()
    solution = nq.solve(quine, throw=False, stop=nq.Stop(time_limit=limit))
    spent, seconds = time.process_time() - spent, time.perf_counter() - started
    found, theta = nq.verify(quine), quine.theta
    rms = float(theta.square().mean().sqrt())
    row: Row = {
        "status": solution.status.name.lower(),
        "detail": solution.detail,
        "relative_residual": found.relative_residual,
        "weight_rms": rms,
        "spread": float(theta.std() / theta.square().mean().sqrt()),
        "distance_to_one": found.distance_to_one,
        "generations": nq.generations(quine, 100).survived,
        "tricks": list(found.trivial),
        "jvps": solution.jvps,
        "evaluations": solution.map_evaluations,
        "processor_seconds": spent,
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "parameters": quine.parameter_count,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
        "trace": thinned([(p.seconds, p.relative_residual) for p in solution.trace]),
    }
    if device.startswith("cuda"):
        row["peak_device_mb"] = torch.cuda.max_memory_allocated() / 1e6
    honest = found.converged and not found.trivial
    row["solved"] = bool(honest and found.relative_residual <= SOLVED and rms > HEALTHY)
    return row


def thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The first point and those at which the residual had halved since the last one kept."""
    kept = points[:1]
    for point in points[1:]:
        if point[1] < 0.5 * kept[-1][1]:
            kept.append(point)
    return kept


def run(name: str, seed: int, limit: float, device: str, threads: int) -> Row:
    """Run :func:`one` in a process of its own, which is ended once it is late."""
    here = [sys.executable, __file__, "--one", name, str(seed), "--time-limit", str(limit), "--device", device]
    several = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    pipe = subprocess.PIPE
    with subprocess.Popen(here, stdout=pipe, stderr=pipe, text=True, env=os.environ | several) as process:
        RUNNING.append(process)
        try:
            out, told = process.communicate(timeout=limit + GRACE)
            row = json.loads(out.splitlines()[-1]) if process.returncode == 0 else {"error": told[-2000:] or "stopped"}
        except subprocess.TimeoutExpired:
            process.kill()
            row = {"error": f"was ended {GRACE} s after its limit"}
    return {"problem": name, "seed": seed, "limit": limit, "solved": False} | row


def seeds_of(text: str) -> list[int]:
    """``11-20,35`` as numbers."""
    parts = [part.split("-") for part in text.split(",")]
    return [seed for part in parts for seed in range(int(part[0]), int(part[-1]) + 1)]


def report(rows: list[Row]) -> str:
    lines = [
        "# Queried quines, many seeds",
        "",
        f"`python benchmarks/queried.py`, float64; torch {_torch(rows)}. Median (worst) over the solved seeds, but",
        "seconds over all seeds, an unsolved one counting as what it took. With one thread several runs share the cores.",
        "",
        "| problem | device | threads | solved | processor s | clock s | products | residual | RMS weight | spread | distance to 1 | "
        "generations | peak MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, device, threads in dict.fromkeys(map(_group, rows)):
        mine = [row for row in rows if _group(row) == (name, device, threads)]
        good, ran = [row for row in mine if row["solved"]], [row for row in mine if "error" not in row]
        shown = [
            _middle(ran, "processor_seconds", max, ".3g"),
            _middle(ran, "seconds", max, ".3g"),
            _middle(ran, "jvps", max, ".0f"),
            _middle(good, "relative_residual", max, ".1e"),
            _middle(good, "weight_rms", min, ".2g"),
            _middle(good, "spread", min, ".2f"),
            _middle(good, "distance_to_one", min, ".2g"),
            _middle(good, "generations", min, ".0f"),
            _middle(ran, "peak_mb", max, ".0f"),
        ]
        lines.append(f"| {name} | {device} | {threads} | {len(good)} of {len(mine)} | {' | '.join(shown)} |")
    unsolved = [row for row in rows if not row["solved"]]
    lines += ["", *(f"- {row['problem']}, seed {row['seed']}: {_why(row)}" for row in unsolved), ""]
    return "\n".join(lines)


def _group(row: Row) -> tuple[str, str, int]:
    return row["problem"], row.get("device", "-"), row.get("threads", 1)


def _torch(rows: list[Row]) -> str:
    return ", ".join(sorted({row["torch"] for row in rows if "torch" in row})) or "-"


def _middle(rows: list[Row], key: str, worst: Any, form: str) -> str:
    values = [row[key] for row in rows if row[key] == row[key]]
    return f"{statistics.median(values):{form}} ({worst(values):{form}})" if values else "-"


def _why(row: Row) -> str:
    if "error" in row:
        return (row["error"].strip().splitlines() or ["no reason given"])[-1]
    best = min([row["relative_residual"], *(residual for _, residual in row["trace"])])  # the trace is thinned out
    tricks = "".join(f"; {trick}" for trick in row["tricks"])
    small = f", RMS weight {row['weight_rms']:.2g}" if row["relative_residual"] <= SOLVED else ""
    return f"{row['status']}, nearest {best:.1e}{small}, {row['detail']}{tricks}"


def write(path: Path, rows: list[Row]) -> None:
    """Write both files whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = {path: json.dumps(rows, indent=0) + "\n", path.with_suffix(".md"): report(rows)}
    for target, text in texts.items():
        fresh = target.with_name(f".{target.name}.{os.getpid()}")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", default="chang-lipson-50,austint-relu-121")
    parser.add_argument("--seeds", type=seeds_of, default=seeds_of("11-20"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, default=1, help="of every run")
    parser.add_argument("--time-limit", type=float, default=180)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "queried.json")
    parser.add_argument("--resume", action="store_true", help="keep the rows of --out that ended, and run the others")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one[0], int(options.one[1]), options.time_limit, options.device)))
        return
    names = options.problems.split(",")
    if unknown := [name for name in names if name not in PROBLEMS]:
        parser.error(f"no problem {', '.join(unknown)}: they are {', '.join(PROBLEMS)}")
    rows: list[Row] = []
    if options.resume and options.out.exists():
        rows = [row for row in json.loads(options.out.read_text()) if "error" not in row]
    done = {(row["problem"], row["seed"]) for row in rows}
    todo = [(name, seed) for name in names for seed in options.seeds if (name, seed) not in done]

    def stop(*_: object) -> None:
        missing = [each for each in todo if each not in {(row["problem"], row["seed"]) for row in rows}]
        stopped = {"limit": options.time_limit, "solved": False, "error": "stopped before its end"}
        write(options.out, [*rows, *({"problem": name, "seed": seed} | stopped for name, seed in missing)])
        for process in RUNNING:
            process.kill()
        os._exit(143)

    signal.signal(signal.SIGTERM, stop)
    with ThreadPoolExecutor(options.jobs) as pool:
        running = [pool.submit(run, *each, options.time_limit, options.device, options.threads) for each in todo]
        for future in as_completed(running):
            rows.append(row := future.result())
            rows.sort(key=lambda row: (list(PROBLEMS).index(row["problem"]), row.get("threads", 1), row["seed"]))
            write(options.out, rows)
            told = (
                row.get("error") or f"{row['relative_residual']:.1e} {row['processor_seconds']:.1f} s {row['detail']}"
            )
            print(f"{row['problem']} {row['seed']} {'solved' if row['solved'] else 'UNSOLVED'} {told}", flush=True)
    print(report(rows))


if __name__ == "__main__":
    main()
