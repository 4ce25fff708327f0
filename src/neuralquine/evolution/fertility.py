"""Fertility: lines of networks that print their children, each grown from what its parent printed.

A sine network is asked for each of its weights by binary coordinates. With the network's weights ``theta``, a *genome* ``g`` of
as many numbers, and a share ``s``, the network that answers holds a mixture, and the child has its parent's statistics:

    a = N(coordinates; (1 - s) theta + s g),    F(theta)_b = mean_b(theta) + std_b(theta) (a_b - mean_b(a)) / std_b(a)

for every tensor ``b``. Two things are thus outside of what is printed: the genome, which all generations share, and two numbers
of each tensor, which are copied. With a genome a fixed point is no feat: any network ``w`` that prints ``theta`` has one, by
``g = (w - (1 - s) theta) / s``, though for a small share it repels. What is hard is to be fertile. The *sink loss* asks a
neighbor of the founder to print the founder:

    sum_b || F(theta + epsilon std_b(theta) xi)_b - theta_b ||^2 / std_b(theta)^2,    xi normal

in which ``epsilon = 0`` is the ordinary quine loss. Both train ``theta`` and ``g``; then the line is followed in float64.

Source: Randazzo, Versari and Mordvintsev, "Recursively Fertile Self-replicating Neural Agents", ALIFE 2021, and the authors'
code, github.com/google-research/self-organising-systems. There the share of each weight is trained too (means of 0.28 and 0.76
came out), biases inherit only their mean, and the networks also encode an image; epsilon is 0.02, in 500,000 steps.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import BadOption
from ..quines.tables.queries import QueryTable
from ..quines.threads import threads_for
from .life import World
from .registry import world

SETTLED = 1e-12  # relative step from parent to child, about which nothing moves but round-off
SURVIVED = 0.1  # relative distance from the founder up to which a descendant counts as alike
_RATE = 3e-3  # of Adam: the usual one for networks of this size


@world("fertility")
class Fertility(World):
    """Lines of sine networks with the sink loss, and as many from the same weights without (P = 480 each).

    Args:
        seed: of the weights and genomes before training, and of the neighbors.
        generations: of each line.
        lines: of each kind.
        share: of the genome in the network that answers; 0 for none. One of the authors' two, the harder.
        neighbor: ``epsilon`` of the sink loss. The authors' 0.02 needs their number of steps: a neighbor that near shows a
            contraction only when the founder is all but a fixed point.
        steps: of Adam, which train a founder before the first generation.
        hidden: width of the network's two hidden layers.
        frequency: of the first sine: how fast answers change from one weight to the next.

    Attributes:
        theta: the living ``(2 * lines, P)``, float64, those with the sink loss first.
        founder: the trained, ``(2 * lines, P)``.
        genome: ``(2 * lines, P)``.
    """

    def __init__(
        self,
        seed: int = 0,
        generations: int = 200,
        lines: int = 3,
        share: float = 0.28,
        neighbor: float = 0.3,
        steps: int = 3000,
        hidden: int = 16,
        frequency: float = 3.0,
    ) -> None:
        super().__init__(seed, generations)
        if not (0 <= share < 1 and neighbor > 0 and lines > 0 and steps >= 0 and hidden > 1):
            raise BadOption("share must be in [0, 1), neighbor above 0, lines at least 1 and hidden at least 2")
        self.lines, self.share, self.neighbor, self.steps = lines, share, neighbor, steps
        self.shapes, self.queries = _asked(hidden)
        self.sizes = [math.prod(s) for s in self.shapes]
        generator = self.generator(0)
        theta, genome = (self._initial(frequency, generator).repeat(2, 1) for _ in range(2))
        self.theta, self.founder, self.genome = theta, theta.clone(), genome
        self.record(step=torch.full((2 * lines,), torch.nan, dtype=theta.dtype), distance=theta.new_zeros(2 * lines))

    def printed(self, theta: Tensor, genome: Tensor, own: Tensor | None = None) -> Tensor:
        """Compute ``F(theta)``: weights and genomes ``(n, P)`` to children ``(n, P)``.

        Args:
            theta: the parents, whose statistics the children have.
            genome: theirs.
            own: printed by a network of these weights in the place of ``theta``.
        """
        w1, b1, w2, b2, w3 = ((1 - self.share) * (theta if own is None else own) + self.share * genome).split(
            self.sizes, -1
        )
        x = self.queries.to(theta)
        h = torch.sin(x @ w1.unflatten(-1, self.shapes[0]).mT + b1[..., None, :])
        h = torch.sin(h @ w2.unflatten(-1, self.shapes[2]).mT + b2[..., None, :])
        answers = (h * w3[..., None, :]).sum(-1)
        children = []
        for a, parent in zip(answers.split(self.sizes, -1), theta.split(self.sizes, -1), strict=True):
            mean, std = _statistics(parent)
            answered, spread = _statistics(a)
            children.append(mean + std / spread * (a - answered))
        return torch.cat(children, -1)

    def state(self) -> dict[str, Tensor]:
        return {"theta": self.theta, "founder": self.founder, "genome": self.genome}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.theta, self.founder, self.genome = state["theta"], state["founder"], state["genome"]

    @torch.no_grad()
    def step(self) -> None:
        if self.age == 0:
            self._train(self.generator(1))
        child = self.printed(self.theta, self.genome)
        step, distance = _apart(child, self.theta), _apart(child, self.founder)
        self.theta = child
        self.record(step=step, distance=distance)

    @torch.enable_grad()
    def _train(self, generator: torch.Generator) -> None:
        """Train the founders in float32, which is quicker; the line settles in float64 all the same."""
        theta, genome = (t.float().requires_grad_(True) for t in (self.theta, self.genome))
        optimizer = torch.optim.Adam([theta, genome], lr=_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(self.steps, 1))
        epsilon = torch.tensor([self.neighbor, 0.0]).repeat_interleave(self.lines)[:, None]
        with threads_for(theta.shape[1]):
            for _ in range(self.steps):
                optimizer.zero_grad()
                scale = self._spreads(theta.detach())
                xi = torch.randn(self.lines, theta.shape[1], generator=generator).repeat(2, 1)
                child = self.printed(theta + epsilon * scale * xi, genome)
                ((child - theta) / scale).square().mean(1).sum().backward()
                optimizer.step()
                schedule.step()
        self.theta, self.founder = theta.detach().double(), theta.detach().double()
        self.genome = genome.detach().double()

    def _initial(self, frequency: float, generator: torch.Generator) -> Tensor:
        """Draw the weights before training, ``(lines, P)``: uniform, as for sine networks (Sitzmann and others, 2020)."""
        bounds = (frequency / self.shapes[0][1] ** 0.5, math.pi / 2, (6 / self.shapes[2][1]) ** 0.5, math.pi / 2)
        bounds = torch.tensor([*bounds, (6 / self.shapes[4][1]) ** 0.5], dtype=torch.float64)
        span = bounds.repeat_interleave(torch.tensor(self.sizes))
        return (2 * torch.rand(self.lines, len(span), generator=generator, dtype=torch.float64) - 1) * span

    def _spreads(self, theta: Tensor) -> Tensor:
        """Return for each weight the standard deviation of its tensor: ``(n, P)`` both."""
        pieces = theta.split(self.sizes, -1)
        return torch.cat([_statistics(piece)[1].expand_as(piece) for piece in pieces], -1)

    def _means(self, theta: Tensor) -> Tensor:
        return torch.cat([piece.mean(-1, keepdim=True).expand_as(piece) for piece in theta.split(self.sizes, -1)], -1)

    def settled(self) -> Tensor:
        """Return which lines no longer move, ``(2 * lines,)``; NaN never counts as settled."""
        return self.history["step"][-1][-2 * self.lines :] <= SETTLED

    def derivative(self, theta: Tensor, genome: Tensor) -> tuple[float, float]:
        """Return spectral radius and self-sensitivity at weights ``(P,)``, where they are a fixed point or nearly.

        Statistics are copied, so two eigenvalues for each tensor are 1 exactly, and the fixed points are a family with
        one for each choice of them. Both figures are of the directions that keep them, which ``J`` maps to themselves.
        """
        jacobian = torch.func.jacrev(lambda t: self.printed(t, genome))(theta)
        rows, start = [], 0
        for piece, mean in zip(theta.split(self.sizes), self._means(theta).split(self.sizes), strict=True):
            for row in (torch.ones_like(piece), piece - mean):
                rows.append(torch.nn.functional.pad(row / row.norm(), (start, len(theta) - start - len(piece))))
            start += len(piece)
        copied = torch.stack(rows)  # orthonormal
        kept = jacobian - copied.mT @ (copied @ jacobian)
        kept = kept - (kept @ copied.mT) @ copied
        return float(torch.linalg.eigvals(kept).abs().max()), float(torch.linalg.matrix_norm(kept, 2))

    def status(self) -> str:
        settled, n = self.settled(), self.lines
        return f"{int(settled[:n].sum())} of {n} lines with the sink loss settled, {int(settled[n:].sum())} without"

    def tables(self) -> dict[str, dict[str, Any]]:
        size = 2 * self.lines
        rows = torch.arange(size).repeat(self.age + 1)
        columns: dict[str, Any] = {"line": (rows % self.lines).numpy(), "sink": (rows < self.lines).numpy()}
        columns["generation"] = torch.arange(self.age + 1).repeat_interleave(size).numpy()
        return {"lines": columns | {n: self.column(n).numpy() for n in ("step", "distance")}}

    def figures(self) -> dict[str, Any]:
        from .pictures import fertility_figure

        steps, distances = (self.column(n).reshape(-1, 2, self.lines) for n in ("step", "distance"))
        return {"fertility": fertility_figure(steps, distances)}

    @torch.no_grad()
    def result(self, out: Path) -> dict[str, Any]:
        n, settled = self.lines, self.settled()
        steps, distances = (self.column(name).reshape(-1, 2 * n) for name in ("step", "distance"))
        far = ~(distances <= SURVIVED)  # so that NaN is far
        at = torch.where(settled[:, None], self.theta, self.founder)
        figures = torch.tensor([self.derivative(t, g) for t, g in zip(at, self.genome, strict=True)])
        flattened = _apart(self.printed(self.founder, self.genome, self._means(self.founder)), self.founder)
        columns = {
            "first_step": steps[min(1, self.age)],
            "last_step": steps[-1],
            "distance": distances[-1],
            "radius": figures[:, 0],
            "sensitivity": figures[:, 1],
            "flattened": flattened,
        }
        result: dict[str, Any] = {
            "weights": self.theta.shape[1],
            "genome": self.genome.shape[1] if self.share else 0,
            "copied_statistics": 2 * len(self.sizes),
        }
        survived = torch.where(far.any(0), far.int().argmax(0) - 1, self.age).tolist()
        for kind, part in (("", slice(n)), ("control_", slice(n, None))):
            result |= {f"{kind}settled": int(settled[part].sum()), f"{kind}survived": survived[part]}
            result |= {kind + name: _short(values[part]) for name, values in columns.items()}
        return result


def _asked(hidden: int) -> tuple[list[tuple[int, ...]], Tensor]:
    """Find the shapes of the tensors and the coordinates of all weights; each depends on the other."""
    width = 1
    while True:
        shapes: list[tuple[int, ...]] = [(hidden, width), (hidden,), (hidden, hidden), (hidden,), (1, hidden)]
        table = QueryTable("binary", shapes)
        if table.width == width:
            return shapes, torch.from_numpy(table.rows())
        width = table.width


def _statistics(piece: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation ``(..., 1)`` of a tensor ``(..., m)``."""
    return piece.mean(-1, keepdim=True), piece.std(-1, keepdim=True, correction=0)


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """Return ``||a - b|| / ||b||`` of each row."""
    return (a - b).norm(dim=-1) / b.norm(dim=-1)


def _short(values: Tensor) -> list[float | None]:
    """Round to three digits; None stands for NaN, which JSON lacks."""
    return [float(f"{v:.3g}") if math.isfinite(v) else None for v in values.tolist()]
