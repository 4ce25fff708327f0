"""The post's training loop against our ladder, on the same networks, in one process and one run.

    python benchmarks/blog.py [--seeds 0 1 2] [--steps 200000]

Prints the time to relative residuals of 1e-1, 1e-2, 1e-6 and 1e-14 for both, and their ratios; writes the table
and the raw figures to ``benchmarks/results/`` and the picture at the top of the README to ``docs/figures/``. The
post's side is written here afresh from its description, with torch's own layers: it shares only the network's
numbers (probe, projection, initial weights) with the package.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import neuralquine as nq
from neuralquine.quines.printers.gaussian import GaussianExpansion
from neuralquine.solving.solution import environment

THRESHOLDS = (1e-1, 1e-2, 1e-6, 1e-14)
ROOT = Path(__file__).resolve().parents[1]
Point = tuple[float, float]  # seconds, best relative residual so far


class PostNetwork(nn.Module):
    """The model of the post, layer by layer."""

    def __init__(self, projection: torch.Tensor, alpha: float = 0.25) -> None:
        super().__init__()
        self.l1, self.l2, self.l3 = nn.Linear(8, 20), nn.Linear(20, 20), nn.Linear(20, 20)
        self.norms = nn.ModuleList(nn.InstanceNorm1d(1, affine=False) for _ in range(3))
        self.activation = nn.Tanh()
        self.alpha = alpha
        self.projection = projection

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        for layer, norm in zip((self.l1, self.l2, self.l3), self.norms, strict=True):
            z = norm(self.activation(layer(z)).unsqueeze(0)).squeeze(0)
        return self.alpha * (z @ self.projection)


def post_loop(quine: nq.Quine, steps: int) -> tuple[list[Point], list[Point]]:
    """RMSprop at 1e-3 on ``||pred - theta||^2``; the weights are copied in outside of autograd, as there.

    Returns:
        The best residual so far, and the current one at every hundredth step: the post keeps the last.
    """
    assert isinstance(quine.expand, GaussianExpansion)
    model = PostNetwork(quine.expand.matrix.mT / 20).double()
    (probe,) = quine.inputs
    theta = quine.theta.requires_grad_(True)
    optimizer = torch.optim.RMSprop([theta], lr=1e-3)
    started, best = time.perf_counter(), float("inf")
    points: list[Point] = []
    current: list[Point] = []
    for step in range(steps):
        optimizer.zero_grad()
        with torch.no_grad():
            nn.utils.vector_to_parameters(theta, model.parameters())
        difference = model(probe).view(-1) - theta
        residual = float(torch.linalg.vector_norm(difference.detach()) / torch.linalg.vector_norm(theta.detach()))
        if residual < best:
            best = residual
            points.append((time.perf_counter() - started, best))
        if step % 100 == 0 or step == steps - 1:
            current.append((time.perf_counter() - started, residual))
        (difference.square().sum()).backward()
        optimizer.step()
    points.append((time.perf_counter() - started, best))
    return points, current


def ladder(quine: nq.Quine) -> tuple[list[Point], nq.Solution]:
    solution = nq.solve(quine)
    points = [(point.seconds, point.relative_residual) for point in solution.trace]
    return [*points, (solution.seconds, solution.relative_residual)], solution


def time_to(points: list[Point], threshold: float) -> float | None:
    return next((seconds for seconds, residual in points if residual <= threshold), None)


def report(runs: list[dict[str, Any]], steps: int) -> str:
    where = environment()
    lines = [
        f"# The post's loop ({steps:,} steps of RMSprop) against `nq.solve`",
        "",
        f"`python benchmarks/blog.py`, float64, {where['platform']}, {where['threads']} thread(s), torch {where['torch']}.",
        "Both sides in one process, on the same probe, projection and initial weights.",
        "Times are those of the best iterate so far; the post keeps the last one.",
        "",
        "| seed | relative residual | post's loop | ours | ratio |",
        "|---|---|---|---|---|",
    ]
    for run in runs:
        for threshold in THRESHOLDS:
            theirs, ours = time_to(run["post"], threshold), time_to(run["ladder"], threshold)
            end = run["post"][-1][0]
            ratio = f"{theirs / ours:,.0f}" if theirs and ours else (f"more than {end / ours:,.0f}" if ours else "-")
            shown = [f"{t:.3f} s" if t is not None else "never" for t in (theirs, ours)]
            lines.append(f"| {run['seed']} | {threshold:.0e} | {shown[0]} | {shown[1]} | {ratio} |")
        middle = sorted(r for _, r in run["current"][-100:])[len(run["current"][-100:]) // 2]
        lines.append(
            f"| {run['seed']} | last iterate (median of the last 10,000 steps) | {run['current'][-1][1]:.1e} ({middle:.1e}) | | |"
        )
        best = f"| {run['seed']} | best iterate | {run['post'][-1][1]:.1e} in {run['post'][-1][0]:.0f} s |"
        lines.append(f"{best} {run['ladder'][-1][1]:.1e} in {run['ladder'][-1][0]:.3f} s | |")
    return "\n".join([*lines, ""])


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axis = figure.subplots()
    for index, run in enumerate(runs):
        for key, color, label in (
            ("current", "#d9d9d9", "the post's loop, current iterate"),
            ("post", "#6f6f6f", "the post's loop, best so far"),
            ("ladder", "#b3541e", "nq.solve, best so far"),
        ):
            seconds, residuals = zip(*run[key], strict=True)
            axis.loglog(
                seconds,
                residuals,
                color=color,
                label=label if index == 0 else None,
                zorder=2 if key == "current" else 3,
            )
    axis.axhline(1e-15, color="#cccccc", linewidth=1, linestyle="--")
    axis.annotate(
        "what the post hopes for", (0.99, 1.3e-15), xycoords=("axes fraction", "data"), ha="right", fontsize=8
    )
    axis.set(xlabel="seconds", ylabel=r"$\|F(\theta)-\theta\|\,/\,\|\theta\|$")
    axis.legend(loc="center right", fontsize=8)
    axis.grid(alpha=0.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs" / "figures" / "blog.png")
    options = parser.parse_args()
    torch.set_num_threads(1)  # neither side gains by a second one at this size, and both lose where it must wait
    runs = []
    for seed in options.seeds:
        print(f"seed {seed}: the post's loop, {options.steps} steps ...", flush=True)
        post, current = post_loop(nq.recipe("blog", seed=seed), options.steps)
        points, solution = ladder(nq.recipe("blog", seed=seed))
        runs.append({"seed": seed, "post": post, "current": current, "ladder": points, "solution": solution.figures()})
    text = report(runs, options.steps)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "blog.md").write_text(text, encoding="utf-8")
    raw = {"steps": options.steps, "environment": environment(), "runs": runs}
    (options.out / "blog.json").write_text(json.dumps(raw) + "\n", encoding="utf-8")
    draw(runs, options.figure)


if __name__ == "__main__":
    main()
