"""Modules that print their own weights, handed over as they are: how soon they are solved, and what exact bits would take.

    python benchmarks/itself.py                     # benchmarks/results/itself.md and itself.json

Of each: the CPU seconds of ``nq.Quine`` and ``nq.solve`` together, the relative residual of the module itself, asked by its
own ``forward``; the quines that ``nq.zoo`` finds from 40 starts, how many of them attract, and the sum of
``1 / |det(I - J)|`` over them: as many bit-exact weights are expected near them by chance.
"""

from __future__ import annotations

import itertools
import json
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import neuralquine as nq
from neuralquine.quines.itself import SelfQuine

RESULTS = Path(__file__).resolve().parent / "results"
STARTS = 40


class Printing(nn.Module):
    """The post's class, of other widths, with instance or batch normalization, and with a vector or a dictionary."""

    proj: Tensor

    def __init__(self, seed: int, sizes: tuple[int, ...], norm: str, named: bool) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(sizes)])
        self.norms = nn.ModuleList(
            [
                nn.InstanceNorm1d(1, affine=False)
                if norm == "instance"
                else nn.BatchNorm1d(n, affine=False, track_running_stats=False)
                for n in sizes[1:]
            ]
        )
        self.instance, self.named = norm == "instance", named
        self.register_buffer("proj", torch.randn(sizes[-1], sum(p.numel() for p in self.parameters())) / sizes[-1])
        self.probe = torch.randn(1 if self.instance else 8, sizes[0])

    def forward(self, z: Tensor) -> Any:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            z = torch.tanh(layer(z))
            z = norm(z[:, None])[:, 0] if self.instance else norm(z)
        printed = 0.25 * z[:1] @ self.proj
        if not self.named:
            return printed
        parameters = dict(self.named_parameters())
        pieces = printed[0].split([p.numel() for p in parameters.values()])
        return {name: piece.view_as(p) for (name, p), piece in zip(parameters.items(), pieces, strict=True)}


CASES = {
    **{f"the post's, seed {s}": (s, (8, 20, 20, 20), "instance", False) for s in range(3)},
    **{f"other widths, seed {s}": (s, (6, 12, 16), "instance", False) for s in range(3)},
    **{f"batch normalization, seed {s}": (s, (8, 16, 12), "batch", False) for s in range(3)},
    **{f"a dictionary, seed {s}": (s, (8, 16, 16), "instance", True) for s in range(3)},
}


def off(module: Any, probe: Tensor) -> float:
    """The relative residual of the module itself."""
    with torch.no_grad():
        answer = module(probe)
    parts = answer.values() if isinstance(answer, dict) else [answer]
    theta = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
    return float((torch.cat([t.reshape(-1) for t in parts]) - theta).norm() / theta.norm())


def measured(case: tuple[int, tuple[int, ...], str, bool]) -> dict[str, Any]:
    """The figures of one module."""
    module = Printing(*case)
    before = time.process_time()
    quine = nq.Quine(module, module.probe)
    assert isinstance(quine, SelfQuine)
    solution = nq.solve(quine, throw=False)
    seconds = time.process_time() - before
    residual = off(quine.trunk, module.probe.double())
    found = nq.zoo(quine, starts=STARTS)
    chances = []
    for one in found.quines:
        eigenvalues, _ = quine.directional(one.theta).eigenvalues()
        chances.append(1 / float((1 - eigenvalues).prod().abs()))
    return {
        "weights": quine.parameter_count,
        "rank": quine.subspace.rank if quine.subspace else quine.parameter_count,
        "status": solution.status.name.lower(),
        "residual": residual,
        "cpu_seconds": seconds,
        "quines": len(found.quines),
        "attracting": sum(one.spectral_radius < 1 for one in found.quines),
        "chance": sum(chances),
    }


def main() -> None:
    """Measure every case, and write the table and its figures."""
    warnings.filterwarnings("ignore", message="input's size at dim=1")
    nq.solve(nq.recipe("blog"))  # what is imported and made once is no part of a solve
    rows = {}
    for name, case in CASES.items():
        rows[name] = measured(case)
        print(name, rows[name], flush=True)
    head = (
        "| module | weights | rank | status | residual of the module | CPU s | quines | attracting | sum of 1 / det |"
    )
    lines = [
        "# Modules that print their own weights",
        "",
        f"Made by `python benchmarks/itself.py`, torch {torch.__version__}; quines from {STARTS} starts.",
        "",
        head,
        "|---" * 9 + "|",
        *(
            f"| {name} | {r['weights']:,} | {r['rank']} | {r['status']} | {r['residual']:.1e} | {r['cpu_seconds']:.2f} "
            f"| {r['quines']} | {r['attracting']} | {r['chance']:.2g} |"
            for name, r in rows.items()
        ),
        "",
    ]
    (RESULTS / "itself.md").write_text("\n".join(lines))
    (RESULTS / "itself.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
