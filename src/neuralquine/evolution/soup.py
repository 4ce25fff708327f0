"""The soup of Gabor, Illium and others: linear networks that rewrite each other's weights.

A particle is a network of 14 weights, 4 - 2 - 2 - 1, linear and without biases, that maps a weight to a new weight:

    f(v, l, x, y; theta) = W3 W2 W1 (v, l, x, y),    F(theta; other)_i = f(other_i, l_i, x_i, y_i; theta)

with the layer ``l``, the cell ``x`` and the position ``y`` of weight i, each from 0 to 1. The weight itself is an input:
a fixed point here may simply copy what it is shown, a look-up by the words of ``neuralquine verify``, and most do.

All particles are rows of one tensor. In one generation, in this order and each with its own probability: a particle
attacks another (which is rewritten by it), learns from another, melts with another (half of the weights of each); then all
train on themselves, apply themselves to themselves, and the divergent and the zero ones may be replaced by new ones. The
authors' soup lets one particle after the other act; here all act at once, and of several attackers the last one counts.

Source: Gabor, Illium, Mattausch, Belzner and Linnhoff-Popien, "Self-replication in neural networks", ALIFE 2019, and the
authors' code, github.com/illiumst/self-replicating-neural-networks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import BadOption
from .life import World
from .registry import world

CLASSES = ("divergent", "zero", "fixed point", "period 2", "other")
SHAPES = ((4, 2), (2, 2), (2, 1))  # as the authors', inputs first
COUNT = sum(a * b for a, b in SHAPES)


def places() -> Tensor:
    """Return layer, cell and position of every weight, each from 0 to 1: ``(14, 3)``."""
    rows = [
        (layer / (len(SHAPES) - 1), cell / max(cells - 1, 1), position / max(positions - 1, 1))
        for layer, (cells, positions) in enumerate(SHAPES)
        for cell in range(cells)
        for position in range(positions)
    ]
    return torch.tensor(rows)


def queries(theta: Tensor) -> Tensor:
    """Return what a network is asked about ``theta`` ``(n, 14)``: weight and place, ``(n, 14, 4)``."""
    return torch.cat([theta[..., None], places().to(theta).expand(len(theta), -1, -1)], -1)


def answer(theta: Tensor, x: Tensor) -> Tensor:
    """Compute ``f(x; theta)``: weights ``(n, 14)`` and questions ``(n, q, 4)`` to answers ``(n, q)``."""
    w1, w2, w3 = _matrices(theta)
    return (x @ w1 @ w2 @ w3)[..., 0]


def apply(theta: Tensor, other: Tensor) -> Tensor:
    """Compute ``F(theta; other)``: what networks ``theta`` make of the weights of others, ``(n, 14)`` both."""
    return answer(theta, queries(other))


def train(theta: Tensor, x: Tensor, y: Tensor, generator: torch.Generator, rate: float = 0.01) -> Tensor:
    """Train for one epoch of stochastic gradient descent on ``(f(x) - y)^2``, one question at a time in random order.

    Args:
        theta: ``(n, 14)``.
        x: questions ``(n, q, 4)``.
        y: what should be answered ``(n, q)``.
        generator: of the order, each network's own.
        rate: the authors' (the default of their library).

    Returns:
        The weights afterwards.
    """
    order = torch.rand(y.shape, generator=generator).argsort(1)
    x, y = x.gather(1, order[..., None].expand_as(x)), y.gather(1, order)
    for question, target in zip(x.unbind(1), y.unbind(1), strict=True):
        w1, w2, w3 = _matrices(theta)
        h1 = question[:, None] @ w1
        h2 = h1 @ w2
        error = 2 * rate * ((h2 @ w3)[:, :, 0] - target[:, None])[..., None]
        back = w3.mT @ w2.mT
        slopes = (question[..., None] @ back, h1.mT @ w3.mT, h2.mT)
        theta = theta - torch.cat([(error * s).flatten(1) for s in slopes], 1)
    return theta


def melt(theta: Tensor, other: Tensor, generator: torch.Generator) -> Tensor:
    """Mix half of the weights of each, chosen at random: ``(n, 14)`` all."""
    chosen = torch.rand(theta.shape, generator=generator).argsort(1) < theta.shape[1] // 2
    return torch.where(chosen, other, theta)


def classify(theta: Tensor, epsilon: float) -> Tensor:
    """Return the number in ``CLASSES`` of every network: ``(n, 14)`` to ``(n,)``.

    ``divergent`` holds NaN or infinity; ``fixed point`` and ``zero`` print themselves up to ``epsilon`` in every weight;
    ``zero`` has no weight above ``epsilon`` besides; ``period 2`` returns after two applications to itself.
    """
    once = apply(theta, theta)
    twice = apply(theta, once)

    def returns(printed: Tensor) -> Tensor:
        return ((printed - theta).abs() < epsilon).all(1)  # never true of NaN

    classes = torch.full((len(theta),), 4, dtype=torch.int8)
    classes[returns(twice)] = 3
    classes[returns(once)] = 2
    classes[returns(once) & (theta.abs() <= epsilon).all(1)] = 1
    classes[~theta.isfinite().all(1)] = 0
    return classes


@world("soup")
class Soup(World):
    """Particles that live in one soup, linear networks 4-2-2-1 (P = 14 each).

    Args:
        seed: decides the particles and whom they meet.
        generations: how many there are to be.
        size: the number of particles.
        attack: probability that a particle attacks another in a generation.
        learn: probability that it learns from another for an epoch.
        melt: probability that it melts with another.
        train: epochs in which all train on themselves.
        applications: how often all are applied to themselves.
        replace: put new particles in the place of divergent and zero ones.
        epsilon: difference in a weight up to which a network counts as a fixed point.
    """

    def __init__(
        self,
        seed: int = 0,
        generations: int = 100,
        size: int = 20,
        attack: float = 0.1,
        learn: float = 0.0,
        melt: float = 0.0,
        train: int = 30,
        applications: int = 0,
        replace: bool = True,
        epsilon: float = 1e-4,
    ) -> None:
        super().__init__(seed, generations)
        if size < 1:
            raise BadOption(f"size must be at least 1, not {size}")
        self.attack, self.learn, self.melt, self.train = attack, learn, melt, train
        self.applications, self.replace, self.epsilon = applications, replace, epsilon
        self.theta = _new(size, self.generator(0))
        self.identity = torch.arange(size)
        nobody = torch.full((size,), -1)
        self._record(nobody, nobody, nobody, nobody)

    def state(self) -> dict[str, Tensor]:
        return {"theta": self.theta, "identity": self.identity}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.theta, self.identity = state["theta"], state["identity"]

    def step(self) -> None:
        generator = self.generator(self.age + 1)
        theta, size = self.theta, len(self.theta)
        identity, parent, other = self.identity.clone(), torch.full((size,), -1), torch.full((size,), -1)
        # attack: the victim is rewritten by the attacker
        who, victims = self._meetings(self.attack, generator)
        attacker = torch.full((size,), -1)
        attacker = attacker.scatter_reduce(0, victims, who, "amax")  # of several, the last
        hit = attacker >= 0
        theta = torch.where(hit[:, None], apply(theta[attacker.clamp(min=0)], theta), theta)
        # learn: the weights of another are the questions and the answers
        pupils, teachers = self._meetings(self.learn, generator)
        teacher = torch.full((size,), -1).scatter(0, pupils, teachers)
        if len(pupils):
            asked = theta[teachers]
            theta = theta.index_copy(0, pupils, train(theta[pupils], queries(asked), asked, generator))
        melting, partners = self._meetings(self.melt, generator)
        theta = theta.index_copy(0, melting, melt(theta[melting], theta[partners], generator))
        parent[melting], other[melting] = identity[melting], identity[partners]
        for _ in range(self.train):
            theta = train(theta, queries(theta), theta, generator)
        for _ in range(self.applications):
            theta = apply(theta, theta)
        born = melting
        if self.replace:
            classes = classify(theta, self.epsilon)
            gone = (classes <= 1).nonzero()[:, 0]
            theta = theta.index_copy(0, gone, _new(len(gone), generator))
            parent[gone] = other[gone] = -1
            born = torch.cat([melting, gone]).unique()
        newest = int(self.column("identity").max())
        identity[born] = newest + 1 + torch.arange(len(born))
        self.theta = theta
        self._record(self.identity_of(attacker), self.identity_of(teacher), parent, other, identity)

    def identity_of(self, places: Tensor) -> Tensor:
        """Return who lived at these places before this generation; -1 stays nobody."""
        return torch.where(places >= 0, self.identity[places.clamp(min=0)], -1)

    def _meetings(self, rate: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw who acts with probability ``rate``, and upon whom: anybody, itself included, as with the authors."""
        size = len(self.theta)
        acts = torch.rand(size, generator=generator) < rate
        others = torch.randint(size, (size,), generator=generator)
        return acts.nonzero()[:, 0], others[acts]

    def _record(
        self, attacker: Tensor, teacher: Tensor, parent: Tensor, other: Tensor, identity: Tensor | None = None
    ) -> None:
        if identity is not None:
            self.identity = identity
        self.record(
            identity=self.identity,
            kind=classify(self.theta, self.epsilon),
            attacker=attacker,
            teacher=teacher,
            parent=parent,
            other_parent=other,
            theta=self.theta,
        )

    def counts(self) -> dict[str, int]:
        """Count the particles of each class."""
        kinds = self.history["kind"][-1][-len(self.theta) :]
        return {name: int((kinds == i).sum()) for i, name in enumerate(CLASSES)}

    def status(self) -> str:
        return ", ".join(f"{n} {name}" for name, n in self.counts().items() if n)

    def tables(self) -> dict[str, dict[str, Any]]:
        size = len(self.theta)
        kinds = [CLASSES[k] for k in self.column("kind").tolist()]
        theta = self.column("theta").numpy()
        columns: dict[str, Any] = {"generation": torch.arange(self.age + 1).repeat_interleave(size).numpy()}
        columns |= {n: self.column(n).numpy() for n in ("identity", "attacker", "teacher", "parent", "other_parent")}
        columns |= {"class": kinds} | {f"w{i}": theta[:, i] for i in range(COUNT)}
        return {"particles": columns}

    def figures(self) -> dict[str, Any]:
        from .pictures import soup_figure

        size = len(self.theta)
        return {
            "soup": soup_figure(
                self.column("theta").reshape(-1, size, COUNT),
                self.column("kind").reshape(-1, size),
                self.column("identity").reshape(-1, size),
                CLASSES,
            )
        }

    def result(self, out: Path) -> dict[str, Any]:
        return {"classes": self.counts(), "particles_ever": int(self.column("identity").max()) + 1}


def _new(size: int, generator: torch.Generator) -> Tensor:
    """Draw networks with the authors' initial weights, ``(n, 14)``: Glorot and Bengio's uniform distribution."""
    bounds = torch.cat([torch.full((a * b,), (6 / (a + b)) ** 0.5) for a, b in SHAPES])
    return (2 * torch.rand(size, COUNT, generator=generator) - 1) * bounds


def _matrices(theta: Tensor) -> list[Tensor]:
    pieces = theta.split([a * b for a, b in SHAPES], 1)
    return [piece.unflatten(1, shape) for piece, shape in zip(pieces, SHAPES, strict=True)]
