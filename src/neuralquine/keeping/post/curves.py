"""Searches of the post that are written down at every step, and go on where they were stopped.

A curve is kept in one file: the loss and the size of the weights at every step, the last iterate, the best one, and
what the method remembers. A search that goes on from the file takes the same steps, bit for bit, as one that was never
stopped.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...errors import QuineFileError
from ...files.atomic import replace_file
from ...quines.quine import Quine
from ...solving.maps import FullMap
from ...solving.methods import Newton, State
from .network import network_of, set_parameters

_KEPT_EVERY = 5.0  # seconds of work that a power failure may cost
_MOST_STEPS = 10_000_000  # steps of one curve: the file of so many has 160 MB
_FIXED = ("squared", "sizes", "best", "theta")
Tick = Callable[[int, float], None]


class Stepper(Protocol):
    """A method that moves ``theta``."""

    @property
    def theta(self) -> Tensor: ...

    def look(self) -> float:
        """``||F(theta) - theta||^2`` of the present iterate; called once before every step."""
        ...

    def step(self) -> None:
        """Move on from the iterate that was looked at."""
        ...

    def memory(self) -> dict[str, Tensor]:
        """What the method remembers beside the iterate."""
        ...

    def recall(self, theta: Tensor, memory: dict[str, Tensor]) -> None:
        """Go on from an earlier iterate and what was remembered there."""
        ...


class PostLoop:
    """The post's training loop: RMSprop on ``||F(theta) - theta||^2`` with the weights copied in outside of autograd.

    Args:
        quine: gives the network's numbers and the initial weights.
        meant: differentiate the network too, as the loop was meant to.
    """

    def __init__(self, quine: Quine, *, meant: bool = False) -> None:
        self.network, self.meant = network_of(quine), meant
        (self.probe,) = quine.inputs
        self._begin(quine.theta)

    def _begin(self, theta: Tensor) -> None:
        self.theta = theta.detach().clone().requires_grad_(True)
        self.optimizer = torch.optim.RMSprop([self.theta], lr=1e-3)

    def look(self) -> float:
        if self.meant:
            shapes = {name: p.shape for name, p in self.network.named_parameters()}
            pieces = self.theta.split([shape.numel() for shape in shapes.values()])
            weights = {name: piece.view(shapes[name]) for name, piece in zip(shapes, pieces, strict=True)}
            printed = torch.func.functional_call(self.network, weights, (self.probe,)).view(-1)
        else:
            set_parameters(self.network, self.theta)
            printed = self.network(self.probe).view(-1)
        self.loss = (printed - self.theta).square().sum()
        return float(self.loss.detach())

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.loss.backward()
        self.optimizer.step()

    def memory(self) -> dict[str, Tensor]:
        held = self.optimizer.state[self.theta]
        return {name: value.clone() for name, value in held.items() if isinstance(value, Tensor)}

    def recall(self, theta: Tensor, memory: dict[str, Tensor]) -> None:
        self._begin(theta)
        self.optimizer.state[self.theta] = {name: value.clone() for name, value in memory.items()}


class PartOneNewton:
    """Part 1's method: Newton on all P weights with a dense ``P x P`` Jacobian and whole steps."""

    def __init__(self, quine: Quine) -> None:
        self.f, self.method = FullMap(quine), Newton(space="full", line_search=False)
        self.recall(quine.theta, {})

    @property
    def theta(self) -> Tensor:
        return self.state.x[0]

    def look(self) -> float:
        return float((self.state.fx - self.state.x).square().sum())

    def step(self) -> None:
        self.state = self.method.step(self.f, self.state, torch.tensor([0]))

    def memory(self) -> dict[str, Tensor]:
        return {}

    def recall(self, theta: Tensor, memory: dict[str, Tensor]) -> None:
        self.state: State = self.method.init(self.f, theta[None].clone())


@contextmanager
def later() -> Iterator[list[int]]:
    """Note Ctrl-C and ``kill`` in the list that is yielded, so that a step is never cut in two."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # which alone may say what a signal does
        yield noted
        return
    before = {number: signal.signal(number, lambda n, _: noted.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Curve:
    """A search, written down at every step. Entry ``k`` is the iterate after ``k`` steps.

    Args:
        path: the file that it is kept in.
        stepper: the method, at its start.
        name: what the file must say it holds: the method and the seed.

    Raises:
        QuineFileError: the file holds something else.
    """

    def __init__(self, path: Path, stepper: Stepper, name: str) -> None:
        self.path, self.stepper, self.name = path, stepper, name
        self.squared, self.sizes = np.zeros(0), np.zeros(0)
        self.best = stepper.theta.detach().clone()
        if path.exists():
            self._read()

    @property
    def relative(self) -> np.ndarray:
        """``||F(theta) - theta|| / ||theta||`` at every step; infinite at zero."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.sizes > 0, np.sqrt(self.squared) / self.sizes, np.inf)

    @property
    def steps(self) -> int:
        """The steps that are recorded."""
        return max(0, len(self.squared) - 1)

    @property
    def last(self) -> Tensor:
        """The last iterate."""
        return self.stepper.theta.detach().clone()

    def advance(self, steps: int, tick: Tick) -> None:
        """Go on until ``steps`` steps are recorded. An interruption keeps what is done, and is passed on."""
        squared, sizes = self.squared.tolist(), self.sizes.tolist()
        lowest, due = min(self.relative, default=math.inf), time.monotonic() + _KEPT_EVERY
        try:
            with later() as interrupted:
                while len(squared) <= steps:
                    if squared:
                        self.stepper.step()
                    loss, theta = self.stepper.look(), self.stepper.theta.detach()
                    size = float(torch.linalg.vector_norm(theta))
                    squared.append(loss)
                    sizes.append(size)
                    if size > 0 and loss**0.5 / size < lowest:
                        lowest, self.best = loss**0.5 / size, theta.clone()
                    tick(len(squared) - 1, loss)
                    if interrupted:
                        raise KeyboardInterrupt
                    if time.monotonic() > due:
                        self._take(squared, sizes)
                        self.keep()
                        due = time.monotonic() + _KEPT_EVERY
        finally:
            self._take(squared, sizes)
            self.keep()

    def _take(self, squared: list[float], sizes: list[float]) -> None:
        whole = min(len(squared), len(sizes))
        self.squared, self.sizes = np.array(squared[:whole]), np.array(sizes[:whole])

    def keep(self) -> None:
        """Write the file, in one step."""
        if not len(self.squared):
            return
        tensors = {
            "squared": torch.from_numpy(self.squared),
            "sizes": torch.from_numpy(self.sizes),
            "best": self.best.contiguous(),
            "theta": self.last.contiguous(),
        }
        tensors |= {f"memory.{name}": value.contiguous() for name, value in self.stepper.memory().items()}
        with replace_file(self.path) as partial:
            save_file(tensors, partial, metadata={"neuralquine-curve": self.name})

    def _read(self) -> None:
        wrong = QuineFileError(f"{self.path} holds no curve of {self.name}: remove it, or choose another folder")
        count = self.stepper.theta.numel()
        if not self.path.is_file():
            raise wrong
        try:
            with safe_open(self.path, framework="pt") as file:
                shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
                if (file.metadata() or {}).get("neuralquine-curve") != self.name or not set(_FIXED) <= set(shapes):
                    raise wrong
                (steps,) = shapes["squared"]
                right = shapes["sizes"] == (steps,) and shapes["best"] == shapes["theta"] == (count,)
                small = all(math.prod(shape) <= count for key, shape in shapes.items() if key not in _FIXED)
                if not (right and small and 0 < steps <= _MOST_STEPS):
                    raise wrong
                held = {key: file.get_tensor(key) for key in shapes}
        except (OSError, SafetensorError, ValueError) as error:
            raise wrong from error
        self.squared, self.sizes = held["squared"].double().numpy(), held["sizes"].double().numpy()
        self.best = held["best"]
        memory = {key.removeprefix("memory."): value for key, value in held.items() if key.startswith("memory.")}
        self.stepper.recall(held["theta"], memory)
        self.stepper.look()
