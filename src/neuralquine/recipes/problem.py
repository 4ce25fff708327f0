"""The problem that a recipe returns, and the random numbers that several recipes draw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import needed
from ..quines.networks.running import Probe
from ..quines.tables.philox import Stream, dyadic_gaussian, words


@dataclass(frozen=True)
class Problem:
    """A trunk with freshly drawn weights, its probe or queries, and the settings of its quine.

    Attributes:
        trunk: the network, with freshly drawn weights.
        probe: the fixed input of a :class:`~neuralquine.Quine`; None for a queried quine.
        options: the keywords of the quine's constructor.
        queries: the query table of a :class:`~neuralquine.QueryQuine`; None where there is a probe.
        moments: the mean and the spread that each tensor of a large trunk is initialized with; then its parameters are on
            the meta device and take no memory. None where they were drawn.
    """

    trunk: nn.Module
    probe: Probe | None = None
    options: dict[str, Any] = field(default_factory=dict)
    queries: str | Tensor | None = None
    moments: list[tuple[float, float]] | None = None


def settings(*, code_size: int, code_bits: int, skip: float, dtype: torch.dtype, **more: Any) -> dict[str, Any]:
    """Turn a recipe's numbers into the quine's settings: 0 bits mean no grid, a skip of 0 a free quine."""
    grid = {"code_bits": code_bits or None, "skip": skip or None}
    return {"code_size": code_size, "dtype": dtype, **grid, **more}


@contextmanager
def drawn(seed: int) -> Iterator[None]:
    """Draw initial weights without touching the caller's random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def numbers(seed: int, *shape: int) -> Tensor:
    """Draw a probe of Gaussian numbers, the same on every machine: float64."""
    size = int(torch.Size(shape).numel())
    return torch.from_numpy(dyadic_gaussian(seed, Stream.RECIPE_PROBE, 0, size)).reshape(shape)


def tokens(seed: int, count: int, vocabulary: int) -> Tensor:
    """A probe of token ids ``(1, count)``."""
    return torch.from_numpy(words(seed, Stream.RECIPE_PROBE, 0, count).astype("int64") % vocabulary)[None]


def transformers_module() -> Any:
    """Import the library of well-known models, silenced.

    Raises:
        NeuralQuineError: it is not installed; the message says how to install it.
    """
    transformers = needed("transformers", "models", "this recipe needs")
    transformers.logging.set_verbosity_error()
    return transformers
