"""A live network that checks itself every so often, and repairs itself in place when bits have changed.

What is watched: the weights, which printing brings back, and everything else that decides the answers and stays as it is:
buffers, weights that are not printed, the probe, the tables of the coding and of the printer. Printing cannot bring these
back, so a fault in one of them is reported, or mended from a spare. What is right, by its digest, is never overwritten.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..errors import BadOption, Irreparable, NeuralQuineError, plural
from ..quines.bits import differing, same
from ..quines.fixed import fixed_tensors
from ..quines.lineage import End, followed
from ..quines.quine import Quine

log = logging.getLogger("neuralquine.guard")
_MODE, _PRINT = "training mode", "what it prints"  # faults that lie in no tensor
Spare = Callable[[], Quine]


@dataclass(frozen=True)
class Repair:
    """One repair.

    Attributes:
        call: the call of the network at which the damage was found.
        outcome: ``healed``, every bit is as it was when the guard was set; ``mutant``, the network is an exact quine
            again but another one; ``lost``, the weights did not settle, and were left as they were found; ``broken``, the
            weights are right, and something that printing cannot mend is not.
        weights: how many weights were changed, or would have been where they are lost.
        tensors: the names of the tensors that they are in.
        generations: how many generations were printed.
        parts: what was wrong beside the weights, such as ``"buffer 1.running_var"``.
        unmended: those of the parts that still are.
    """

    call: int
    outcome: str
    weights: int
    tensors: tuple[str, ...]
    generations: int
    parts: tuple[str, ...] = ()
    unmended: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = [f"{plural(self.weights, 'weight')} in {', '.join(self.tensors)}"] if self.weights else []
        where += [f"{part} (not mended)" if part in self.unmended else part for part in self.parts]
        after = f" after {plural(self.generations, 'generation')}" if self.generations else ""
        return f"call {self.call}: {self.outcome}{after}, {'; '.join(where) or 'no tensor'}"


class Guard(nn.Module):
    """A quine that answers its task, and is its own watchman; see :func:`guard`.

    Attributes:
        quine: the network.
        calls: the number of calls answered so far.
        checks: the number of checks made so far.
        seconds: the time that they took, all together.
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
        spare: Spare | None = None,
    ) -> None:
        super().__init__()
        if every < 1 or generations < 1:
            raise BadOption(f"every and generations must be at least 1, not {every} and {generations}")
        self.quine, self.every, self.generations, self.strict = quine, every, generations, strict
        self.on_repair, self._spare = on_repair, spare
        self.calls = self.checks = 0
        self.seconds = 0.0
        self.repairs: list[Repair] = []
        theta = quine.theta
        with torch.no_grad():
            if not same(quine.self_map(theta), theta):
                raise NeuralQuineError("only a bit-exact quine can guard itself: this one does not print its own bits")
        self._digest = _digest(theta)
        self._parts = {name: _digest(t) for name, t in fixed_tensors(quine).items()}
        with torch.no_grad():
            quine.printed()
        # A counter of calls changes with every run, and decides nothing: what has been printed is the same.
        self._parts = {n: d for n, d in self._parts.items() if _digest(fixed_tensors(quine)[n]) == d}
        self._modes = [m.training for m in quine.trunk.modules()]
        self.training = quine.training

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Answer as the network does: a task quine with its outputs, any other with what its trunk returns."""
        with self.quine.turn:
            self.calls += 1
            due = self.calls % self.every == 0
        if due:
            self.check()
        return self.quine.answer(*args, **kwargs)

    def train(self, mode: bool = True) -> Self:
        """Change nothing: a guarded network answers in the mode in which it was guarded."""
        return self

    @torch.no_grad()
    def check(self) -> Repair | None:
        """Compare all that is watched with its digests, and print once; repair in place what has changed.

        Raises:
            Irreparable: with ``strict``, the original did not come back.
        """
        with self.quine.turn:
            return self._check()

    def _check(self) -> Repair | None:
        started = time.perf_counter()
        try:
            found = self.quine.theta
            parts, intact = self._wrong(), _digest(found) == self._digest
            # A mutant prints its own bits too: only the digest tells it from the network that was set here.
            if intact and not parts and same(self.quine.self_map(found), found):
                return None
            return self._repair(found, intact, parts or ([_PRINT] if intact else []))
        finally:
            self.checks += 1
            self.seconds += time.perf_counter() - started

    def _wrong(self) -> list[str]:
        """Name what is wrong beside the weights."""
        now = fixed_tensors(self.quine)
        wrong = [name for name, right in self._parts.items() if name not in now or _digest(now[name]) != right]
        return wrong + [_MODE] * ([m.training for m in self.quine.trunk.modules()] != self._modes)

    def _repair(self, found: Tensor, intact: bool, parts: list[str]) -> Repair:
        spare = self._spared() if self._spare is not None and set(parts) - {_MODE, _PRINT} else None
        unmended = [part for part in parts if not self._mended(part, spare)]
        end = End("healed", 0, found) if intact else self._brought_back(found, spare, exact=not unmended)
        outcome = "broken" if unmended and end.outcome == "healed" else end.outcome
        changed = differing(end.theta, found)
        names = [n for n, c in self.quine.tensors(changed).items() if bool(c.any())]
        if not intact and outcome != "lost":
            self.quine.theta = end.theta
        repair = Repair(
            self.calls, outcome, int(changed.sum()), tuple(names), end.generations, tuple(parts), tuple(unmended)
        )
        self.repairs.append(repair)
        log.log(logging.WARNING if outcome == "healed" else logging.ERROR, "%s", repair)
        if self.on_repair is not None:
            self.on_repair(repair)
        if self.strict and outcome != "healed":
            what = ": ".join([outcome, *filter(None, [", ".join(unmended)])])
            raise Irreparable(f"the damaged network did not come back ({what}): load it again from its folder")
        return repair

    def _brought_back(self, found: Tensor, spare: Quine | None, *, exact: bool) -> End:
        """Print until the weights settle; take the spare's where they do not come back.

        Args:
            found: the damaged weights ``(P,)``.
            spare: the spare, if it was read already.
            exact: whether all that prints is right; otherwise nothing but the original itself is believed.
        """
        end = followed(self.quine, found, self._is_original, self.generations)
        if end.outcome != "healed" and self._spare is not None:
            spare = spare or self._spared()
            if spare is not None and self._is_original(theta := spare.theta.to(found)):
                return End("healed", end.generations, theta)
        return end if exact or end.outcome != "mutant" else replace(end, outcome="lost")

    def _is_original(self, theta: Tensor) -> bool:
        return _digest(theta) == self._digest

    def _spared(self) -> Quine | None:
        """Read the spare; one that cannot be read is none."""
        assert self._spare is not None
        try:
            return self._spare()
        except NeuralQuineError as error:
            log.error("the spare cannot be read: %s", error)
            return None

    def _mended(self, part: str, spare: Quine | None) -> bool:
        """Mend what is wrong beside the weights: a mode, or a tensor for which the spare has the right bits."""
        if part == _MODE:
            for module, mode in zip(self.quine.trunk.modules(), self._modes, strict=True):
                module.training = mode
            return True
        right = fixed_tensors(spare).get(part) if spare is not None else None
        held = fixed_tensors(self.quine).get(part)
        if right is None or held is None or right.shape != held.shape or _digest(right) != self._parts[part]:
            return False
        held.copy_(right)
        return _digest(held) == self._parts[part]


def guard(
    quine: Quine,
    *,
    every: int = 1000,
    generations: int = 8,
    strict: bool = False,
    on_repair: Callable[[Repair], None] | None = None,
    spare: Spare | None = None,
) -> Guard:
    """Wrap a bit-exact quine so that it checks itself every ``every`` calls and repairs itself in place.

    A check is one print and one comparison of all bits; see ``Guard.seconds`` for what it costs. Beside the network only
    hashes are kept, 32 bytes for the weights, which tell the original from a mutant, and 32 for each buffer, table and
    other tensor that printing cannot bring back. They repair nothing.

    Args:
        quine: the network; its buffers, frozen weights and probe must stay as they are.
        every: the number of calls between two checks.
        generations: how many generations a repair may take.
        strict: raise where the original does not come back, instead of going on with what is there.
        on_repair: called with each :class:`Repair`. All are logged, to the logger ``neuralquine.guard``.
        spare: returns another copy of the same quine, such as ``lambda: nq.load(folder)``. It is called only when something
            is wrong that printing does not mend, and what is taken from it is compared with the hash first.

    Raises:
        NeuralQuineError: the quine is not bit-exact.
        BadOption: ``every`` or ``generations`` is below 1.

    Example:
        >>> import torch, neuralquine as nq
        >>> stem = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.ReLU())
        >>> live = nq.guard(nq.TaskQuine(nq.Body(stem, torch.nn.Linear(32, 3)), (8, 4), code_size=64), every=10)
        >>> live.quine.weights[0].data[0] = torch.nan  # a cosmic ray
        >>> live.check().outcome
        'healed'
    """
    return Guard(quine, every=every, generations=generations, strict=strict, on_repair=on_repair, spare=spare)


def _digest(tensor: Tensor) -> bytes:
    """Hash the bits of a tensor of any shape."""
    words = tensor.detach().contiguous().reshape(-1).view(torch.uint8).cpu()
    return hashlib.blake2b(words.numpy().data, digest_size=32).digest()
