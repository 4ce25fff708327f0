"""The folder of a quine as plain arrays, read without torch; nothing in it is believed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ...errors import QuineFileError, first_line
from ...files.folder import kind_of, read_hashed
from ...files.names import CONFIG, WEIGHTS
from ..known import description
from ..rules import SEQUENCES, NoRule
from ..rules.common import Shapes
from ..rules.models import MODELS
from ..verdicts import NotProved
from .held import Machine
from .numbers import Bounded

FLOATS: dict[str, type[np.floating[Any]]] = {"float64": np.float64, "float32": np.float32}

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")  # of batch normalization, never printed


class Stored(ABC):
    """What a folder holds, and what a certificate says of it.

    Attributes:
        name: of the theorem, as a certificate calls its kind.
        given: of its margin, more than two computers' float64 can differ by.
        config: its configuration, which was found to be the one that the weights were written with.
        kind: of the quine.
        sha256: of the weights file, which holds the configuration, too.
        names, shapes, sizes: of the printed tensors, in the order of theta.
        trunk_dtype: of the numbers that the network computes with; that of the weights is ``dtype``.
        theta: ``(P,)``, the stored weights in their own type.
        held: all tensors by the names that the trunk has for them.
        inputs: of the network; the first one is the ``probe`` that it is run on.

    Raises:
        QuineFileError: the folder does not hold a readable quine.
        NoRule: its type or its probe has no rule.
    """

    name: ClassVar[str]
    given: ClassVar[float] = 0.0

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        config, self.sha256 = read_hashed(folder)
        self.config = config
        self.kind, self.dtype, self.spec = kind_of(config), config["dtype"], description(config)
        self.expansion, self.trunk_dtype = config["expansion"], config.get("trunk_dtype", self.dtype)
        if self.dtype not in FLOATS:
            raise NoRule(f"no proof rule for weights in {self.dtype}")
        try:
            found = load_file(folder / WEIGHTS)
        except (KeyError, TypeError, ValueError, SafetensorError) as error:  # a type that numpy does not have
            raise QuineFileError(f"{folder / WEIGHTS} is not read by numpy: {first_line(error)}") from error
        if config["kept"]:
            raise NoRule("no proof rule for weights that are not printed")
        self.inputs = self._inputs(found)
        self.probe = self.inputs[0]
        self.held = {name.removeprefix("trunk."): t for name, t in found.items() if name.startswith("trunk.")}
        self.names = [name for name, _ in config["tensors"]]
        if not set(self.names) <= set(self.held):
            raise QuineFileError(f"{folder / CONFIG} names weights that {WEIGHTS} lacks")
        tensors = [self.held[name] for name in self.names]
        self.shapes, self.sizes = [t.shape for t in tensors], [t.size for t in tensors]
        floats = [t for t in (*self.held.values(), *self.inputs) if not np.issubdtype(t.dtype, np.integer)]
        if not tensors or any(t.dtype != FLOATS[self.dtype] for t in (*tensors, *floats)):
            raise QuineFileError(f"{folder / WEIGHTS} holds no weights, or not in {self.dtype}")
        if not len(config["means"]) == len(config["gains"]) == len(tensors):
            raise QuineFileError(f"{folder / CONFIG} has not one mean and one gain for each tensor")
        self.theta: NDArray[Any] = np.concatenate([t.reshape(-1) for t in tensors])

    # -- what a certificate says ----------------------------------------------------------------------------------------

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What a certificate says of the network, beside its weights."""

    @abstractmethod
    def found(self, dtype: str) -> dict[str, float]:
        """What is proved of the machines of a type: a ``margin``, and the numbers that it follows from.

        Raises:
            NotProved: nothing.
        """

    @staticmethod
    @abstractmethod
    def claim(c: dict[str, Any], types: str, least: float) -> str:
        """The theorem in a sentence.

        Args:
            c: the certificate.
            types: the machines that it speaks of.
            least: the smallest margin on any of them.
        """

    # -- what the folder holds ------------------------------------------------------------------------------------------

    def _inputs(self, found: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """What the network is asked with, if its output is read as its rule gives it."""
        names, select, kind = self.config["probe"], self.config["select"], self.spec["type"]
        if kind not in MODELS and (names != 1 or not (select is None or (select == 0 and kind in SEQUENCES))):
            raise NoRule("no proof rule for several inputs, or for select=: wrap the trunk so that its output is read")
        places = [f"probe.{name}" for name in (["0"] if names == 1 else names)]
        if not set(places) <= set(found):
            raise QuineFileError("the folder holds no input of its network")
        inputs = [found[place] for place in places]
        if len(inputs) > 1 and inputs[1].tolist() != [inputs[0].shape[-1] - 1]:
            raise NoRule("no proof rule for a language model that is read elsewhere than at its last token")
        return inputs

    def fit(self, wanted: Shapes | None) -> None:
        """Refuse tensors that are not those that the described trunk has, in its order.

        Args:
            wanted: names and shapes of the trunk's parameters and buffers; None where a module has no rule.
        """
        if wanted is None:  # running the trunk says by name which module it is
            return
        printed = [[n, list(shape)] for n, shape in wanted.items() if n.rpartition(".")[2] not in _BUFFERS]
        if self.config["tensors"] != printed or {n: t.shape for n, t in self.held.items()} != wanted:
            raise QuineFileError("the folder lists other weights than its trunk has")

    def bounded(self, machine: Machine) -> dict[str, Bounded]:
        """All tensors as exact numbers of a machine."""
        return {name: Bounded(t, None, machine) for name, t in self.held.items()}

    def check_stored(self, name: str, printed: NDArray[Any], first: int = 0) -> None:
        """Raise NotProved unless a stretch of a tensor's numbers is what is printed of it, bit by bit."""
        stored = self.held[name].reshape(-1)[first : first + printed.size]
        if printed.dtype != stored.dtype or printed.tobytes() != stored.tobytes():
            raise NotProved(f"{name} is not stored as it is printed")
