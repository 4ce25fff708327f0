"""A sine network trained to print itself, with and without a sink loss, and what becomes of its line."""

from __future__ import annotations

import argparse
import math

import torch
from torch import Tensor

from neuralquine.printers.queries import QueryTable

AMPLITUDE = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=10)
    parser.add_argument("--frequency", type=float, default=0.7)
    parser.add_argument("--weight", type=float, default=10.0, help="of the sink loss")
    parser.add_argument("--neighbor", type=float, default=0.3, help="distance of a neighbor, relative to the weights")
    parser.add_argument("--depth", type=int, default=3, help="generations of a neighbor's line")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--lines", type=int, default=1, help="of each kind")
    a = parser.parse_args()
    w, lines = a.width, a.lines
    torch.set_num_threads(1)
    columns = 8
    for _ in range(4):  # the width of a query depends on the shapes, and they on it
        shapes = [(w, columns), (w,), (w, w), (w,), (1, w)]
        columns = QueryTable("binary", shapes).width
    table = torch.from_numpy(QueryTable("binary", shapes).rows()).float()
    sizes = [math.prod(s) for s in shapes]
    count = sum(sizes)
    generator = torch.Generator().manual_seed(0)
    phases = torch.linspace(0, 2 * math.pi, w + 1)[:-1]
    fixed = AMPLITUDE * torch.randn(count, generator=generator)

    def printed(theta: Tensor) -> Tensor:
        w1, b1, w2, b2, w3 = theta.split(sizes, 1)
        x = table.to(theta).expand(len(theta), -1, -1)
        h = torch.sin(a.frequency * (x @ w1.unflatten(1, shapes[0]).mT + b1[:, None]) + phases.to(theta))
        h = torch.sin(a.frequency * (h @ w2.unflatten(1, shapes[2]).mT + b2[:, None]) + phases.to(theta))
        return fixed.to(theta) + (h * w3[:, None]).sum(2) / w**0.5

    theta = (AMPLITUDE * torch.randn(lines, count, generator=generator)).repeat(2, 1).requires_grad_(True)
    optimizer = torch.optim.Adam([theta], lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, a.steps)
    direction = torch.nn.functional.normalize(torch.randn(lines, count, generator=generator))
    for _ in range(a.steps):
        optimizer.zero_grad()
        variance = theta.var(1)
        child = printed(theta)
        loss = ((child - theta).square().mean(1) / variance).sum()
        noise = torch.randn(lines, count, generator=generator) / count**0.5
        line = theta[:lines] + a.neighbor * theta[:lines].detach().norm(dim=1, keepdim=True) * (direction + 0.3 * noise)
        for generation in range(a.depth):
            line = printed(line)
            loss = loss + a.weight * ((line - theta[:lines]).square().mean(1) / variance[:lines]).sum()
            if generation == 0:
                direction = torch.nn.functional.normalize((line - child[:lines]).detach())
        loss.backward()
        optimizer.step()
        schedule.step()

    founder = theta.detach().double()
    parent, steps = founder, []
    for _ in range(60):
        child = printed(parent)
        steps.append((child - parent).norm(dim=1) / parent.norm(dim=1))
        parent = child
    away = (parent - founder).norm(dim=1) / founder.norm(dim=1)
    for i in range(2 * lines):
        jacobian = torch.func.jacrev(lambda t: printed(t[None])[0])(founder[i])
        radius = float(torch.linalg.eigvals(jacobian).abs().max())
        kind = "with the sink loss" if i < lines else "without"
        print(
            f"{kind}: radius {radius:.2f}, first step {float(steps[0][i]):.2g}, 60th {float(steps[-1][i]):.2g}, ",
            end="",
        )
        print(f"founder {float(away[i]):.2g} away")


if __name__ == "__main__":
    main()
