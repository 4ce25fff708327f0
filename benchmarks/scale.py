"""What one evaluation of the map costs from a thousand weights to a billion, beside copying the weights once.

    python benchmarks/scale.py [--largest 1.5e9] [--repeat 5]
    python benchmarks/scale.py --device cuda [--largest 4e9]

For every size: an anchored network of linear layers of about P weights, printed in place on the grid 2^-8, solved to the
last bit; seconds for one evaluation (write all weights, run the network), for copying theta once, and their ratio. The
exponent is the least-squares slope of log seconds against log P above a million weights. On a CPU the seconds are those of a
network that was printed so often that the compiled loop prints (extra ``fast``). On a GPU the sizes are 1e8, 1e9
and 4e9, which take a minute and 33 GB, and the verdict is whether printing all weights costs at most one copy of them.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import neuralquine as nq
from neuralquine.quines.printers.rows import _MUCH, _WORTH
from neuralquine.quines.printers.scales import scales_of
from neuralquine.recipes.laws import built_without_memory, given_memory
from neuralquine.solving.solution import environment

RESULTS = Path(__file__).parent / "results"
FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "scale.png"
SIZES = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 3e8, 1.5e9)
CUDA_SIZES = (1e8, 1e9, 4e9)
CODE = 64


def network(parameters: float) -> nn.Module:
    """Square linear layers with tanh, at most 4096 wide, as many as it takes."""
    width = min(4096, max(16, int(math.sqrt(parameters / 4))))
    layers = max(1, round(parameters / (width * width + width)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        blocks: list[nn.Module] = []
        for _ in range(layers):
            blocks += [nn.Linear(width, width), nn.Tanh()]
        return nn.Sequential(*blocks)


def best_of(repeat: int, act: Any, device: str = "cpu") -> float:
    seconds = []
    for _ in range(repeat):
        wait(device)
        started = time.perf_counter()
        act()
        wait(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def wait(device: str) -> None:
    """Until a GPU has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def problem(parameters: float, device: str, dtype: torch.dtype = torch.float32) -> nq.Quine:
    """An anchored quine of about so many weights, which are not drawn: it prints them first of all."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        trunk, laws = built_without_memory(lambda: network(parameters))
    finally:
        torch.set_default_dtype(before)
    moments = [(law.mean, law.spread) for law in laws.values() if law is not None]
    scales = scales_of(moments, [p.numel() for p in trunk.parameters()], CODE)
    given_memory(trunk, scales[0], torch.device(device))
    probe = torch.linspace(-1, 1, trunk[0].in_features, device=device)[None]  # pyright: ignore[reportIndexIssue]
    options: dict[str, Any] = {"code_size": CODE, "code_bits": 8 if dtype is torch.float32 else 6, "skip": 0.02}
    quine = nq.Quine(trunk, probe, dtype=dtype, expansion="hadamard", copy=False, scales=scales, **options)
    quine.install(quine.code().detach())
    return quine


def warmed(quine: nq.Quine, code: torch.Tensor) -> None:
    """Print as often as it takes until the loop prints that is compiled once it is worth it (extra ``fast``)."""
    for _ in range(_MUCH // quine.parameter_count + 1):
        quine.install(code)


def row(parameters: float, repeat: int, device: str = "cpu", dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    quine = problem(parameters, device, dtype)
    wait(device)
    started = time.perf_counter()
    solution = nq.solve(quine, throw=False)
    wait(device)
    solving = time.perf_counter() - started
    code = quine.code().detach()
    if device == "cpu" and parameters > _WORTH:
        warmed(quine, code)

    @torch.no_grad()
    def evaluate_once() -> None:
        quine.install(code)
        quine.code()

    evaluate = best_of(repeat, evaluate_once, device)
    with torch.no_grad():
        forward = best_of(repeat, lambda: quine.code(), device)
    printing = best_of(repeat, lambda: quine.install(code), device)
    peak = (
        torch.cuda.max_memory_allocated()
        if device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    targets = [torch.empty_like(p) for p in quine.weights]

    def copy_once() -> None:
        for to, p in zip(targets, quine.weights, strict=True):
            to.copy_(p.detach())

    copy = best_of(repeat, copy_once, device)
    targets.clear()
    return {
        "parameters": quine.parameter_count,
        "bit_exact": solution.bit_exact,
        "evaluations": solution.map_evaluations,
        "self_sensitivity": solution.self_sensitivity,
        "seconds_per_evaluation": evaluate,
        "seconds_of_which_forward": forward,
        "seconds_of_printing": printing,
        "seconds_of_solving": solving,
        "seconds_to_copy_theta": copy,
        "ratio": evaluate / copy,
        "ratio_of_printing": printing / copy,
        "dtype": str(dtype).removeprefix("torch."),
        "peak_gib": peak / 2**30,
    }


def on_cuda(largest: float, repeat: int, out: Path) -> list[dict[str, Any]]:
    """Measure every size on the GPU, one after the other, and say whether printing costs at most one copy."""
    rows: list[dict[str, Any]] = []
    for size in (s for s in CUDA_SIZES if s <= largest):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        rows.append(row(size, repeat, "cuda"))
        print(json.dumps(rows[-1]), flush=True)
    lines = [
        "# Printing on a GPU, beside copying",
        "",
        "`python benchmarks/scale.py --device cuda`, anchored networks of linear layers, float32, grid 2^-8.",
        "",
        *table(rows),
    ]
    reached = all(r["bit_exact"] and r["ratio_of_printing"] <= 1 for r in rows)
    lines += ["", f"Verdict: printing costs at most one copy of theta at every size: {'yes' if reached else 'no'}."]
    lines += ["", f"Machine: {torch.cuda.get_device_name()}, {json.dumps(environment())}", ""]
    out.mkdir(parents=True, exist_ok=True)
    (out / "scale-cuda.md").write_text("\n".join(lines))
    (out / "scale-cuda.json").write_text(json.dumps({"rows": rows, "reached": reached}, indent=1) + "\n")
    print("\n".join(lines))
    return rows


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The rows of one device as Markdown."""
    lines = [
        "| weights | bit-exact | evaluations | s to print | s / evaluation | s to copy theta | printing / copying | evaluation / copying | peak GiB |",
        "|" + "---|" * 9,
    ]
    for r in rows:
        seconds = (r["seconds_of_printing"], r["seconds_per_evaluation"], r["seconds_to_copy_theta"])
        figures = [f"{r['parameters']:,}", "yes" if r["bit_exact"] else "no", str(r["evaluations"])]
        figures += [f"{s:.2e}" for s in seconds] + [f"{r['ratio_of_printing']:.2f}", f"{r['ratio']:.2f}"]
        lines.append("| " + " | ".join([*figures, f"{r['peak_gib']:.2f}"]) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--largest", type=float, help="largest number of weights; by default 1.5e9, and 4e9 on a GPU")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--draw", action="store_true", help="only draw the figure again, from the results")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    if options.device == "cuda":
        on_cuda(options.largest or CUDA_SIZES[-1], options.repeat, options.out)
        return
    if options.draw:
        draw(json.loads((options.out / "scale.json").read_text())["rows"])
        return
    rows = []
    # A process for each size, so that its peak is its own.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for size in (s for s in SIZES if s <= (options.largest or SIZES[-1])):
            rows.append(pool.submit(row, size, options.repeat).result())
            print(json.dumps(rows[-1]), flush=True)
    big = [(r["parameters"], r["seconds_per_evaluation"]) for r in rows if r["parameters"] > 5e5]
    logs = np.log(np.array(big))
    slope = float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0]) if len(big) > 1 else float("nan")
    lines = [
        "# One evaluation of the map at scale",
        "",
        "`python benchmarks/scale.py`, anchored networks of linear layers, float32, grid 2^-8, printed in place.",
        f"Exponent of seconds against weights above a million: {slope:.3f}.",
        "",
        *table(rows),
    ]
    lines += ["", f"Machine: {json.dumps(environment())}", ""]
    options.out.mkdir(exist_ok=True)
    (options.out / "scale.md").write_text("\n".join(lines))
    (options.out / "scale.json").write_text(json.dumps({"rows": rows, "exponent": slope}, indent=1) + "\n")
    draw(rows)
    print("\n".join(lines))


def draw(rows: list[dict[str, Any]]) -> None:
    """Draw the seconds against the weights, each curve named where it begins."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axis = figure.subplots()
    sizes = [r["parameters"] for r in rows]
    curves = (
        ("seconds_per_evaluation", "one evaluation of the map", "#b3541e", "o-", (0, 9)),
        ("seconds_of_which_forward", "of which running the network", "#2b6a99", "o-", (0, 9)),
        ("seconds_to_copy_theta", "copying all weights once", "#8a8a8a", "s-", (0, 9)),
    )
    for key, name, color, marks, shift in curves:
        seconds = [r[key] for r in rows]
        axis.loglog(sizes, seconds, marks, color=color, markersize=4, linewidth=1.4)
        axis.annotate(name, (sizes[0], seconds[0]), shift, textcoords="offset points", color=color, fontsize=9)
    axis.set_xlabel("weights", color="#222222")
    axis.set_ylabel("seconds (lower is better)", color="#222222")
    axis.set_title("A quine that is printed in place: seconds against size", fontsize=10, color="#222222")
    axis.grid(alpha=0.25)
    figure.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
