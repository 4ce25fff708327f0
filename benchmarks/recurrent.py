"""Whether Fletcher's recurrent network can print itself: what a quine of it would have to do, and how many networks do it.

    python benchmarks/recurrent.py [--networks 16] [--regenerations 10] [--sizes 0.7,1.5,3,5] [--seed 0]

The mixing matrix A is printed at the end. Its rows are ``mean + d_i``; the normalization subtracts the mean, and divides by at
least sqrt(1e-5), so that with n units, ``|h| < 1`` and ``d = max |d_i|`` every output is within ``n^2 |w| d / sqrt(1e-5)`` of the
output bias b, |w| being the largest of the output's weights. So a quine that is not one number has

    d >= max |y - b| / (316 n^2 |w|):

after all weights in front of A are printed it must still move, and with no period that divides n. A state that settles
has to do so at less than 0.33 % a step (n = 16, |w| = 1), and is *settled* here where what it prints breaks this rule.

Of networks with random weights of several sizes, and of what they are after some regenerations, is counted which are
settled (or print one number), and how sensitive the others are: ``|dF| / |d theta|`` at a random change of 1e-7. Above 45 round-off alone makes
a relative residual of 1e-14. Writes ``benchmarks/results/recurrent.md`` and ``recurrent.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import neuralquine as nq
from neuralquine.quines.networks.sequence import FreeRunning

ROOT = Path(__file__).resolve().parents[1]
EPS = 1e-5  # of the normalization
CHANGE = 1e-7  # relative change of the weights by which the sensitivity is taken
ALIKE = 1e-9  # relative standard deviation of what is printed that is none
CALM, WILD = 45.0, 1e4  # sensitivities at which round-off makes a residual of 1e-14, and of 2e-12


@torch.no_grad()
def printed(theta: Tensor, size: int = 16) -> Tensor:
    """``F`` of many networks at once, written out: ``(B, P)`` to ``(B, P)``."""
    rest, cells = theta, []
    for width in (1, size):
        parts = []
        for shape in ((4 * size, width), (4 * size, size), (4 * size,), (4 * size,)):
            count = shape[0] * (shape[1] if len(shape) == 2 else 1)
            parts.append(rest[:, :count].reshape(-1, *shape))
            rest = rest[:, count:]
        cells.append((torch.cat(parts[:2], 2).mT.contiguous(), (parts[2] + parts[3])[:, None]))
    mix = rest[:, : size * size].reshape(-1, size, size)
    mix = (mix - mix.mean(1, keepdim=True)).mT.contiguous()
    weight, bias = rest[:, -size - 1 : -1, None], rest[:, -1:, None]
    h = [theta.new_zeros(len(theta), 1, size) for _ in cells]
    c = [theta.new_zeros(len(theta), 1, size) for _ in cells]
    y, emitted = theta.new_zeros(len(theta), 1, 1), torch.empty_like(theta)
    for step in range(theta.shape[1]):
        x = y
        for i, (matrix, shift) in enumerate(cells):
            gates = torch.baddbmm(shift, torch.cat([x, h[i]], 2), matrix)
            take, keep, cell, show = gates.chunk(4, 2)
            c[i] = keep.sigmoid() * c[i] + take.sigmoid() * cell.tanh()
            x = h[i] = show.sigmoid() * c[i].tanh()
        z = torch.bmm(x, mix)
        z = z * (z.square().mean(2, keepdim=True) + EPS).rsqrt()
        y = torch.baddbmm(bias, z.relu_(), weight)
        emitted[:, step] = y[:, 0, 0]
    return emitted


def settled(y: Tensor, size: int = 16) -> Tensor:
    """Whether what was printed cannot print itself, by the rule above: ``(B, P)`` to ``(B,)``."""
    rows = y[:, -size * size - size - 1 : -size - 1].reshape(-1, size, size)
    apart = (rows - rows.mean(1, keepdim=True)).abs().amax((1, 2))
    moves = (y - y[:, -1:]).abs().amax(1)
    largest = y[:, -size - 1 : -1].abs().amax(1)
    return apart * largest * size**2 / EPS**0.5 < moves.clamp_min(torch.finfo(y.dtype).tiny)


def counted(theta: Tensor, networks: int, generator: torch.Generator) -> list[dict[str, Any]]:
    """What the networks ``(B, P)`` print, by groups of so many."""
    y = printed(theta)
    change = torch.randn(theta.shape, generator=generator, dtype=theta.dtype)
    change *= CHANGE * theta.norm(dim=1, keepdim=True) / change.norm(dim=1, keepdim=True)
    gains = (printed(theta + change) - y).norm(dim=1) / change.norm(dim=1)
    residuals = (y - theta).norm(dim=1) / theta.norm(dim=1)
    alike = y.std(1) <= ALIKE * y.abs().amax(1)
    rest = settled(y) & ~alike
    rows = []
    for group in torch.arange(len(theta)).split(networks):
        moving = group[~(rest | alike)[group]]
        gain = gains[moving]
        rows.append(
            {
                "networks": len(group),
                "uniform": int(alike[group].sum()),
                "settled": int(rest[group].sum()),
                "calm": int((gain <= CALM).sum()),
                "between": int(((gain > CALM) & (gain <= WILD)).sum()),
                "wild": int((gain > WILD).sum()),
                "gain": statistics.median(gain.tolist()) if len(gain) else None,
                "nearest": float(residuals[moving].min()) if len(gain) else None,
            }
        )
    return rows


def agrees(seed: int) -> float:
    """The largest difference between the package's evaluation and the one written out here, relative."""
    quine = nq.recipe("fletcher-rnn", seed=seed)
    mine, theirs = printed(quine.theta[None])[0], quine.printed()
    return float((mine - theirs).abs().max() / theirs.abs().max())


def periods(seed: int) -> dict[int, float]:
    """The spread of what a network prints whose weights from A on repeat with a period."""
    size, generator = 16, torch.Generator().manual_seed(seed)
    count = sum(p.numel() for p in FreeRunning(size).parameters())
    wave = torch.arange(size * size + size + 1)
    rows = []
    for period in (1, 2, 4, 8, 16, 5):
        theta = torch.randn(count, generator=generator, dtype=torch.float64)
        theta[-len(wave) :] = torch.randn(period, generator=generator, dtype=torch.float64)[wave % period]
        rows.append(theta)
    y = printed(torch.stack(rows))
    return {p: float(row.std()) for p, row in zip((1, 2, 4, 8, 16, 5), y, strict=True)}


def report(rows: list[dict[str, Any]], same: float, spreads: dict[int, float]) -> str:
    lines = [
        "# Fletcher's recurrent network (P = 3,665)",
        "",
        f"`python benchmarks/recurrent.py`, torch {torch.__version__}, float64. The evaluation written out here and the",
        f"package's differ by {same:.1e}. The rule that is counted by is derived in the script.",
        "",
        "Standard deviation of what random networks print whose weights from the mixing matrix on repeat: "
        + ", ".join(f"{spread:.1e} (period {p})" for p, spread in spreads.items())
        + ".",
        "",
        "| weights | regenerations | networks | one number | settled | sensitivity <= 45 | <= 1e4 | above | median of those that move | nearest |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        gain = "-" if row["gain"] is None else f"{row['gain']:.1e}"
        nearest = "-" if row["nearest"] is None else f"{row['nearest']:.2f}"
        lines.append(
            f"| N(0, {row['size']:g}^2) | {row['regenerations']} | {row['networks']} | {row['uniform']} | {row['settled']} | {row['calm']} | "
            f"{row['between']} | {row['wild']} | {gain} | {nearest} |"
        )
    return "\n".join([*lines, "", "Nearest: the least relative residual of those that move.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=16)
    parser.add_argument("--regenerations", type=int, default=10)
    parser.add_argument("--sizes", default="0.7,1.5,3,5")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(options.seed)
    same, spreads = agrees(options.seed), periods(options.seed)
    count = sum(p.numel() for p in FreeRunning().parameters())
    sizes = [float(size) for size in options.sizes.split(",")]
    theta = torch.cat(
        [size * torch.randn(options.networks, count, generator=generator, dtype=torch.float64) for size in sizes]
    )
    rows = []
    for regenerations in (0, options.regenerations):
        for _ in range(regenerations):
            theta = printed(theta)
        for size, row in zip(sizes, counted(theta, options.networks, generator), strict=True):
            rows.append({"size": size, "regenerations": regenerations} | row)
    found = {"agreement": same, "period_spread": spreads, "rows": rows}
    texts = {".json": json.dumps(found, indent=1) + "\n", ".md": report(rows, same, spreads)}
    for suffix, text in texts.items():
        path = ROOT / "benchmarks" / "results" / f"recurrent{suffix}"
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    print(texts[".md"])


if __name__ == "__main__":
    main()
