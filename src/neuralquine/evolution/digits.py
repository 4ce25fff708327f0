"""Evolution of task quines: the fittest of a population print themselves, and what damages their tapes is heritable.

An individual is a :class:`~neuralquine.TaskQuine`, all of its weights: a classifier of digits and its tape.

    parent        one of the fittest; nothing else selects, and no gradient is ever taken
    damage        a share of all weights is negated, and some rows of the tape are struck: random signs
    print         theta <- F(theta) until nothing changes: the weights here and there are outvoted and repaired, about half
                  of the struck rows are read as the other sign, which is a mutation and is printed for ever after
    verify        F(theta) == theta, bit for bit, of every individual in every generation; who fails is stillborn
    selection     by the mean log-likelihood of the training images; the fittest live on

Source: Neumann's description that is copied and may be copied wrongly (1966); truncation selection as in Mühlenbein and
Schlierkamp-Voosen (1993).
"""

from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from ..errors import BadOption
from ..keeping.store import save
from ..quines.bits import differing
from ..quines.lineage import line
from ..tasks import recipe
from .life import World
from .registry import world

_PRINTS = 8  # until nothing changes; a row that is read almost without majority takes a few
_CHUNK = 64  # individuals whose weights are handled at once


@world("digits")
class Digits(World):
    """A population of classifiers of scikit-learn's digits, 64-32-10 and a tape (P = 18,794 each).

    Args:
        seed: decides the expansion, the split of the images, and the population.
        generations: enough for some 85 % of the test images, in minutes on one core.
        size: the number of individuals.
        parents: how many of them, the fittest, live on and have children.
        strikes: rows of the tape struck in a child, on average; half of them become mutations.
        wear: share of the weights of a child that are negated.
        hidden: width of the classifier, and of a row of the tape.
        code_size: signs on the tape.
        selection: select by fitness; otherwise the parents are drawn at random.

    Raises:
        NeuralQuineError: scikit-learn is missing.
    """

    def __init__(
        self,
        seed: int = 0,
        generations: int = 500,
        size: int = 100,
        parents: int = 10,
        strikes: float = 4.0,
        wear: float = 0.01,
        hidden: int = 32,
        code_size: int = 512,
        selection: bool = True,
    ) -> None:
        super().__init__(seed, generations)
        if not 0 < parents < size:
            raise BadOption(f"parents must be at least 1 and fewer than size, not {parents} of {size}")
        self.parents, self.strikes, self.wear, self.selection = parents, strikes, wear, selection
        task = recipe("digits-mlp", seed=seed, hidden=hidden, code_size=code_size, repeats=1)
        self.quine = task.quine
        self.data = {
            name: [torch.cat(part) for part in zip(*loader, strict=True)]
            for name, loader in (("train", _in_order(task.data.train)), ("test", task.data.test))
        }
        generator = self.generator(0)
        self.codes = self.quine.random_codes(size, generator)
        self.identity = torch.arange(size)
        self.fitness, self.accuracy = self._examine(self.codes)
        none = torch.zeros(size, dtype=torch.int64)
        self._record(torch.full((size,), -1), none, none, self._exact(self.codes))

    def state(self) -> dict[str, Tensor]:
        return {
            "codes": self.codes.to(torch.int8),
            "identity": self.identity,
            "fitness": self.fitness,
            "accuracy": self.accuracy,
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        self.codes = state["codes"].to(self.quine.dtype)
        self.identity, self.fitness, self.accuracy = state["identity"], state["fitness"], state["accuracy"]

    def step(self) -> None:
        generator = self.generator(self.age + 1)
        size, count = len(self.codes), self.parents
        if self.selection:
            living = self.fitness.argsort(descending=True, stable=True)[:count]
        else:
            living = torch.randperm(size, generator=generator)[:count]
        chosen = living[torch.randint(count, (size - count,), generator=generator)]
        children, struck, born = [], [], []
        for part in chosen.split(_CHUNK):
            theta, rows = self.damaged(self.quine.expand(self.codes[part]), generator)
            code, exact = self.grown(theta)
            children.append(code)
            struck.append(rows)
            born.append(exact)
        codes, exact = torch.cat(children), torch.cat(born)
        mutations = (codes != self.codes[chosen]).sum(1)
        codes = torch.where(exact[:, None], codes, self.codes[chosen])  # in the place of a stillborn lies its parent
        fitness, accuracy = self._examine(codes)
        fitness = torch.where(exact, fitness, -torch.inf)
        elders = self._exact(self.codes[living])
        parent = torch.cat([self.identity[living], self.identity[chosen]])
        newest = int(self.column("identity").max())
        self.identity = torch.cat([self.identity[living], newest + 1 + torch.arange(len(chosen))])
        self.codes = torch.cat([self.codes[living], codes])
        self.fitness = torch.cat([self.fitness[living], fitness])
        self.accuracy = torch.cat([self.accuracy[living], accuracy])
        none = torch.zeros(count, dtype=torch.int64)
        self._record(
            parent, torch.cat([none, mutations]), torch.cat([none, torch.cat(struck)]), torch.cat([elders, exact])
        )

    def damaged(self, theta: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Damage children before they print themselves.

        Args:
            theta: ``(n, P)``.
            generator: draws the damage.

        Returns:
            The damaged weights, and the number of struck rows ``(n,)``.
        """
        worn = torch.randint(theta.shape[1], (len(theta), round(self.wear * theta.shape[1])), generator=generator)
        theta = theta.scatter(1, worn, -theta.gather(1, worn))
        width = self.quine.network.tape.in_features
        tape = theta[:, -self.quine.code_size * width :].unflatten(1, (-1, width))
        struck = torch.rand(tape.shape[:2], generator=generator) < self.strikes / self.quine.code_size
        count = int(struck.sum())
        signs = 1.0 - 2.0 * torch.randint(2, (count, width), generator=generator).to(theta)
        tape[struck] = self.quine.printer.amplitude * signs
        return theta, struck.sum(1)

    @torch.no_grad()
    def grown(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Print until nothing changes: weights ``(n, P)`` to codes ``(n, d)``, and which of them are quines to the last bit."""
        parent, exact = theta, torch.zeros(len(theta), dtype=torch.bool)
        for (parent, _), (_, exact) in pairwise(islice(line(self.quine, theta), _PRINTS + 1)):  # noqa: B007
            if bool(exact.all()):
                break
        return self.quine.real_codes(parent), exact

    @torch.no_grad()
    def _exact(self, codes: Tensor) -> Tensor:
        """Return whether ``F(theta) == theta`` bit for bit, for every ``theta = E(c)``."""
        found = []
        for part in codes.split(_CHUNK):
            theta = self.quine.expand(part)
            found.append(~differing(self.quine.expand(self.quine.real_codes(theta)), theta).any(1))
        return torch.cat(found)

    @torch.no_grad()
    def _examine(self, codes: Tensor, part: str = "train") -> tuple[Tensor, Tensor]:
        """Return mean log-likelihood and accuracy of codes ``(n, d)``: ``(n,)`` both.

        Only the body is printed, which answers; no weight that is printed is beyond its clamp.
        """
        x, y = self.data[part]
        body = self.quine.network.body
        names, shapes = zip(*((n, p.shape) for n, p in body.named_parameters()), strict=True)
        pieces = self.quine.printer.body(codes).split(self.quine.printer.body_sizes, 1)
        weights = {n: w.unflatten(1, shape) for n, w, shape in zip(names, pieces, shapes, strict=True)}
        outputs = vmap(lambda w: functional_call(body, w, (x,))[1])(weights)
        logs = outputs.log_softmax(-1)
        right = logs[:, torch.arange(len(y)), y]
        return right.mean(1), (logs.argmax(-1) == y).float().mean(1)

    def _record(self, parent: Tensor, mutations: Tensor, struck: Tensor, exact: Tensor) -> None:
        self.record(
            identity=self.identity,
            parent=parent,
            mutations=mutations,
            struck=struck,
            exact=exact,
            fitness=self.fitness,
            accuracy=self.accuracy,
        )
        best = int(self.fitness.argmax())
        _, test = self._examine(self.codes[best : best + 1], "test")
        self.record(test_accuracy=test, diversity=self.diversity()[None])

    def diversity(self) -> Tensor:
        """Return the mean share of the signs in which two individuals differ, over all pairs."""
        size = len(self.codes)
        plus = (self.codes > 0).sum(0).double()
        return (plus * (size - plus)).mean() * 2 / (size * (size - 1))

    def status(self) -> str:
        best = int(self.fitness.argmax())
        test = float(self.history["test_accuracy"][-1][-1])
        return f"best {float(self.accuracy[best]):.1%} on training images, {test:.1%} on test images"

    def tables(self) -> dict[str, dict[str, Any]]:
        size = len(self.codes)
        names = ("identity", "parent", "mutations", "struck", "exact", "fitness", "accuracy")
        individuals: dict[str, Any] = {"generation": torch.arange(self.age + 1).repeat_interleave(size).numpy()}
        individuals |= {name: self.column(name).numpy() for name in names}
        series = {name: self.column(name).numpy() for name in ("test_accuracy", "diversity")}
        return {"individuals": individuals, "generations": {"generation": torch.arange(self.age + 1).numpy()} | series}

    def figures(self) -> dict[str, Any]:
        from .pictures import digits_figure

        size = len(self.codes)
        by_generation = {
            name: self.column(name).reshape(-1, size) for name in ("identity", "parent", "accuracy", "fitness")
        }
        return {"digits": digits_figure(by_generation, self.column("test_accuracy"), self.column("diversity"))}

    def result(self, out: Path) -> dict[str, Any]:
        best = int(self.fitness.argmax())
        self.quine.install(self.codes[best])
        verification = save(self.quine, out / "best")
        lived, exact = self.column("exact"), int(self.column("exact").sum())
        return {
            "individuals_ever": int(self.column("identity").max()) + 1,
            "verified": len(lived),
            "exact": exact,
            "stillborn": len(lived) - exact,
            "train_accuracy": float(self.accuracy[best]),
            "test_accuracy": float(self.history["test_accuracy"][-1][-1]),
            "diversity": float(self.diversity()),
            "struck_rows": int(self.column("struck").sum()),
            "mutations": int(self.column("mutations").sum()),
            "best_is_quine": verification.is_quine,
            "best_bit_exact": verification.bit_exact,
            "best": str(out / "best"),
        }


def _in_order(loader: Any) -> Any:
    """The images of a shuffled loader, always in the same order."""
    from torch.utils.data import DataLoader

    return DataLoader(loader.dataset, 512, shuffle=False)
