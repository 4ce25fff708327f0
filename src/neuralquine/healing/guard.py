"""A live network that checks itself every so often, and repairs its weights in place when bits have changed."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadOption, Irreparable, NeuralQuineError, plural
from ..quines.bits import differing
from ..quines.lineage import followed
from ..quines.quine import Quine

log = logging.getLogger("neuralquine.guard")


@dataclass(frozen=True)
class Repair:
    """One repair.

    Attributes:
        call: of the network, at which the damage was found.
        outcome: ``healed``, every bit is as it was when the guard was set; ``mutant``, the network is an exact quine
            again but another one; ``lost``, it did not settle, and its weights were left as they were found.
        weights: that were changed.
        tensors: they were in, by name.
        generations: it took.
    """

    call: int
    outcome: str
    weights: int
    tensors: tuple[str, ...]
    generations: int


class Guard(nn.Module):
    """A quine that answers its task, and is its own watchman; see :func:`guard`.

    Attributes:
        quine: the network.
        calls: answered so far.
        checks: made so far.
        seconds: they took, all together.
        repairs: every :class:`Repair`, in order.
    """

    def __init__(
        self,
        quine: Quine,
        *,
        every: int = 1000,
        generations: int = 8,
        strict: bool = False,
        on_repair: Callable[[Repair], None] | None = None,
    ) -> None:
        super().__init__()
        if every < 1 or generations < 1:
            raise BadOption(f"every and generations must be at least 1, not {every} and {generations}")
        self.quine, self.every, self.generations, self.strict = quine, every, generations, strict
        self.on_repair = on_repair
        self.calls = self.checks = 0
        self.seconds = 0.0
        self.repairs: list[Repair] = []
        theta = quine.theta
        if bool(differing(quine.self_map(theta), theta).any()):
            raise NeuralQuineError("only a bit-exact quine can guard itself: this one does not print its own bits")
        self._digest = _digest(theta)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the network answers: a task quine its outputs, any other what its trunk returns."""
        self.calls += 1
        if self.calls % self.every == 0:
            self.check()
        return self.quine.answer(*args, **kwargs)

    @torch.no_grad()
    def check(self) -> Repair | None:
        """Print once and compare all bits; repair in place if some have changed.

        Raises:
            Irreparable: with ``strict``, the original did not come back.
        """
        started = time.perf_counter()
        try:
            found = self.quine.theta
            printed = self.quine.self_map(found)
            # A mutant prints its own bits too: only the digest tells it from the network that was set here.
            if not bool(differing(printed, found).any()) and _digest(found) == self._digest:
                return None
            return self._repair(found)
        finally:
            self.checks += 1
            self.seconds += time.perf_counter() - started

    def _repair(self, found: Tensor) -> Repair:
        end = followed(self.quine, found, lambda theta: _digest(theta) == self._digest, self.generations)
        theta, outcome, generations = end.theta, end.outcome, end.generations
        changed = differing(theta, found)
        names = [n for (n, p), c in zip(self.quine.named_weights(), self._cut(changed), strict=True) if bool(c.any())]
        if outcome != "lost":
            self.quine.theta = theta
        repair = Repair(self.calls, outcome, int(changed.sum()), tuple(names), generations)
        self.repairs.append(repair)
        level = logging.WARNING if outcome == "healed" else logging.ERROR
        what = f"{plural(repair.weights, 'weight')} in {', '.join(names) or 'no tensor'}"
        log.log(level, "call %d: %s after %s, %s", self.calls, outcome, plural(generations, "generation"), what)
        if self.on_repair is not None:
            self.on_repair(repair)
        if self.strict and outcome != "healed":
            raise Irreparable(f"the damaged network did not come back ({outcome}): load it again from its folder")
        return repair

    def _cut(self, theta: Tensor) -> tuple[Tensor, ...]:
        return theta.split([p.numel() for p in self.quine.weights])


def guard(
    quine: Quine,
    *,
    every: int = 1000,
    generations: int = 8,
    strict: bool = False,
    on_repair: Callable[[Repair], None] | None = None,
) -> Guard:
    """Wrap a bit-exact quine so that it checks itself every ``every`` calls and repairs itself in place.

    A check is one print and one comparison of all bits; see ``Guard.seconds`` for what it costs. Beside the network only a
    hash of its weights is kept, 32 bytes, which tells the original from a mutant; it repairs nothing.

    Args:
        quine: the network.
        every: calls between two checks.
        generations: that a repair may take.
        strict: raise where the original does not come back, instead of going on with what is there.
        on_repair: called with each :class:`Repair`. All are logged, to the logger ``neuralquine.guard``.

    Raises:
        NeuralQuineError: it is not bit-exact.

    Example:
        >>> import torch, neuralquine as nq
        >>> stem = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.ReLU())
        >>> live = nq.guard(nq.TaskQuine(nq.Body(stem, torch.nn.Linear(32, 3)), (8, 4), code_size=64), every=10)
        >>> live.quine.weights[0].data[0] = torch.nan  # a cosmic ray
        >>> live.check().outcome
        'healed'
    """
    return Guard(quine, every=every, generations=generations, strict=strict, on_repair=on_repair)


def _digest(theta: Tensor) -> bytes:
    return hashlib.blake2b(theta.contiguous().view(torch.uint8).cpu().numpy().data, digest_size=32).digest()
