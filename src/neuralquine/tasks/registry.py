"""The registry of tasks. One decorated function is a new task: ``nq.tasks.recipe``, ``train`` and ``recipes`` list it at once.

from neuralquine.tasks.registry import TaskPlan, task

@task("digits-linear", DIGITS)
def digits_linear(seed: int = 0, code_size: int = 1024) -> TaskPlan:
    \"""A linear classifier of scikit-learn's digits.\"""
    ...
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..errors import BadOption
from .data import Source
from .training import Schedule


@dataclass(frozen=True)
class TaskPlan:
    """What a task is made of, before a quine is built and data are read.

    Attributes:
        body: returns features and outputs; its weights are freshly drawn.
        probe: the shape of the probe, ``(m, ...)``.
        settings: keywords of the task quine: its code size and repeats.
        schedule: how long and how fast it is trained.
    """

    body: nn.Module
    probe: tuple[int, ...]
    settings: dict[str, Any]
    schedule: Schedule


class NamedTask:
    """A registered task; call it with ``seed=`` and options for its :class:`TaskPlan`.

    Attributes:
        name: what ``nq.tasks.recipe`` and the commands call it.
        source: where its data come from, and how a picture becomes one of its inputs.
        in_lab: the options with which the lab trains it while somebody waits; None where the lab does not list it.
    """

    def __init__(
        self, make: Callable[..., TaskPlan], name: str, source: Source, in_lab: Mapping[str, Any] | None
    ) -> None:
        functools.update_wrapper(self, make)  # so that its signature and its docstring are those of the function
        self._make = make
        self.__doc__ = make.__doc__ or name
        self.name, self.source, self.in_lab = name, source, in_lab

    def __call__(self, *, seed: int = 0, **options: Any) -> TaskPlan:
        return self._make(seed=seed, **options)


TASKS: dict[str, NamedTask] = {}  # by name, in the order in which `neuralquine recipes` lists them


def task(
    name: str, source: Source, *, in_lab: Mapping[str, Any] | None = None
) -> Callable[[Callable[..., TaskPlan]], Callable[..., TaskPlan]]:
    """Register the decorated function as a task; the arguments are the attributes of :class:`NamedTask`.

    Raises:
        BadOption: the name is taken.
    """

    def registered(make: Callable[..., TaskPlan]) -> Callable[..., TaskPlan]:
        if name in TASKS or not name:
            raise BadOption(f"{name!r} cannot name a task: it is taken or empty")
        TASKS[name] = NamedTask(make, name, source, in_lab)
        return make

    return registered
