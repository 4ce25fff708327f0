"""A stored quine as arithmetic: its network, read from the folder and computed in whatever arithmetic its rules are run in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ..errors import QuineFileError, first_line
from ..files.folder import read_hashed
from ..files.names import CONFIG, WEIGHTS
from ..quines.tables.anchor import anchor
from ..quines.tables.philox import Stream, dyadic_gaussian
from . import own_matrix
from .direct import DirectPrinter
from .known import description, named_probe
from .printers import LARGEST, REFUSED, MatrixPrinter
from .rules import SEQUENCES, NoRule, run
from .rules.common import A, Weights, described
from .rules.models import MODELS
from .rules.resnet import RESNET
from .streamed import StreamedSigns

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")  # buffers of batch normalization, never printed
_TYPES = {"float64": np.float64, "float32": np.float32}


class Network:
    """The self-map of a folder's quine.

    Attributes:
        spec: plain-data description of the trunk.
        dtype, trunk_dtype: types of the weights, and of the numbers that the trunk computes with.
        narrow: whether it computes in float32 inside, whatever its type.
        theta: ``(P,)`` stored weights, exact.
        d: code size; of a module that prints itself by a matrix of its own, the numbers that the matrix takes.
        code_bits: grid of the quantized code, or None.
        code_phase: moves that grid; 0 where it is not moved.
        grid: k of activations that are rounded to multiples of ``2^-k``, or None.
        printer: expands a code to weights.
        sha256: hash of the weights file, which holds the configuration, too.

    Raises:
        QuineFileError: the folder does not hold a readable quine.
        NoRule: the trunk cannot be described, or its type, printer or input has no rule.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        config, self.sha256 = read_hashed(folder)
        self.spec, self.dtype = description(config), config["dtype"]
        self.trunk_dtype = config.get("trunk_dtype", self.dtype)
        self.narrow = bool(self.spec.get("arguments", {}).get("narrow"))
        _refuse(config, self.spec)
        self.d, self.seed, self.code_bits = config["code_size"], config["seed"], config.get("code_bits")
        self.code_phase = config.get("code_phase", 0)
        self.normalized, self.eps = config["normalize"], config["eps"]
        self.grid = config.get("activation_bits")
        try:
            held = load_file(folder / WEIGHTS)
        except (KeyError, TypeError, ValueError, SafetensorError) as error:  # a type that numpy does not have
            raise QuineFileError(f"{folder / WEIGHTS} is not read by numpy: {first_line(error)}") from error
        self.names = [name for name, _ in config["tensors"]]
        try:
            tensors = [held[f"trunk.{name}"] for name in self.names]
            self.probe, inputs = _inputs(config, self.spec, held, self.dtype)
        except KeyError as error:
            raise QuineFileError(f"{folder / CONFIG} names {error.args[0]}, which {WEIGHTS} lacks") from error
        _check_tensors(config, self.spec, held, folder)
        self.shapes = [t.shape for t in tensors]
        self.sizes = [t.size for t in tensors]
        self.theta = np.concatenate([t.reshape(-1) for t in tensors])
        weights = {f"trunk.{name}" for name in self.names}
        self.buffers = {
            k.removeprefix("trunk."): v for k, v in held.items() if k.startswith("trunk.") and k not in weights
        }
        self.expansion = config["expansion"]
        self.printer: MatrixPrinter | DirectPrinter | StreamedSigns
        if self.expansion == own_matrix.KIND:
            self.spec, self.printer = own_matrix.apart(self.spec, self.buffers, len(self.theta))
            self.d = self.printer.d
        else:
            self.printer = printer_of(config, self.sizes)
        self.skip = config.get("skip")
        self.anchor = None if self.skip is None else anchor(inputs, self.d, self.seed)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The trunk's parameters and buffers by name, as they are stored."""
        pieces = np.split(self.theta, np.cumsum(self.sizes)[:-1])
        named = zip(self.names, self.shapes, pieces, strict=True)
        return {**self.buffers, **{name: piece.reshape(shape) for name, shape, piece in named}}

    def computed(self, weights: Weights[A], hold: Callable[[str, NDArray[Any]], A], *, stepped: bool = False) -> A:
        """The code before any quantization, ``(1, d)``, in the arithmetic of the weights.

        Args:
            weights: finds the trunk's parameters and buffers by name.
            hold: takes a fixed array, of the name given, into the arithmetic: the probe, the readout, the anchor.
            stepped: the arithmetic rounds activations to their grid where the network has one.
        """
        return self.coded(self.features(weights, hold, stepped=stepped), hold)

    def features(self, weights: Weights[A], hold: Callable[[str, NDArray[Any]], A], *, stepped: bool = False) -> A:
        """The first d numbers of :meth:`computed`, ``(1, d)``: the trunk's, or those that the readout makes of them.

        Raises:
            NoRule: activations are rounded to a grid, and the arithmetic does not do it.
        """
        if self.grid is not None and not stepped:
            raise NoRule("no proof rule for activations on a grid in balls or tubes: they are proved by the checker")
        indices = bool(np.issubdtype(self.probe.dtype, np.integer))
        h = run(self.spec, hold("probe", self.probe), weights, indices=indices).reshape(1, -1)
        return h if h.shape[1] == self.d else h.affine(hold("readout", self.readout(h.shape[1])))

    def coded(self, h: A, hold: Callable[[str, NDArray[Any]], A]) -> A:
        """The code of :meth:`features`: normalized, and with the anchor."""
        c = h.normalize(self.eps) if self.normalized else h
        if self.anchor is None:
            return c
        return (c.scale(float(self.anchor_gain)) + hold("anchor", self.anchor)).normalize(self.eps)

    def readout(self, features: int) -> NDArray[np.floating[Any]]:
        """The fixed ``(d, n)`` projection of the features, in the type of the trunk's numbers."""
        if self.expansion == own_matrix.KIND:
            raise NoRule("no proof rule for a module that prints its own weights itself, in several rows")
        # The same numbers as in quines/coding.py: dyadic entries divided by sqrt(n), in double precision, then cast.
        entries = dyadic_gaussian(self.seed, Stream.READOUT, 0, self.d * features).reshape(self.d, features)
        return (entries / np.sqrt(float(features))).astype(_TYPES[self.trunk_dtype])

    @property
    def anchor_gain(self) -> np.floating[Any]:
        """beta, the factor of the trunk's part in an anchored code, in the type of the trunk's numbers."""
        return _TYPES[self.trunk_dtype](self.skip)


def _refuse(config: dict[str, Any], spec: dict[str, Any]) -> None:
    """Raise NoRule for what no arithmetic here computes."""
    if config["expansion"] in REFUSED:
        raise NoRule(f"no proof rule for {REFUSED[config['expansion']]}")
    if config["expansion"] == "direct" and config.get("queries") is None:
        raise NoRule("no proof rule for a network that answers with all of its weights at once")
    if config.get("code_phase") and config.get("code_bits") is None:
        raise NoRule("no proof rule for a grid that is moved and is none")
    if config["dtype"] not in _TYPES:
        raise NoRule(f"no proof rule for weights in {config['dtype']}")
    if spec["type"] == RESNET and config["trunk"] is None:
        raise NoRule("no proof rule for a ResNet of a recipe but on a grid of activations: its tubes are too wide")
    if spec["type"] in MODELS:
        return
    if config["select"] is not None and not (config["select"] == 0 and spec.get("type") in SEQUENCES):
        raise NoRule("no proof rule for select=: wrap the trunk so that its output is what is read")
    if config["probe"] != 1 and named_probe(config) is None:
        raise NoRule("no proof rule for several inputs")


def printer_of(config: dict[str, Any], sizes: list[int]) -> MatrixPrinter | DirectPrinter | StreamedSigns:
    """The printer of a folder: with a table of its matrix, where that is not too large."""
    if config["expansion"] == "direct":
        return DirectPrinter(config, sizes)
    if config["expansion"] == "hadamard" and sum(sizes) * config["code_size"] > LARGEST:
        return StreamedSigns(config, sizes)
    return MatrixPrinter(config, sizes)


def _inputs(
    config: dict[str, Any], spec: dict[str, Any], held: dict[str, NDArray[Any]], dtype: str
) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """What the trunk is run on, and all of the inputs that an anchor is made from."""
    if isinstance(config["probe"], list) and spec["type"] in MODELS:
        first, *others = (held[f"probe.{name}"] for name in config["probe"])
        if others and (first.ndim != 2 or others[0].tolist() != [first.shape[1] - 1]):
            raise NoRule("no proof rule for a language model that is read elsewhere than at its last token")
        return first, [first, *others]
    named = named_probe(config)
    probe = held["probe.0"] if named is None else named.astype(_TYPES[dtype])
    return probe, [probe]


def _check_tensors(config: dict[str, Any], spec: dict[str, Any], held: dict[str, NDArray[Any]], folder: Path) -> None:
    """Raise QuineFileError where the tensors of the file are not those that the description of the trunk asks for."""
    if not config["tensors"] or len(config["means"]) != len(config["tensors"]):
        raise QuineFileError(f"{folder / CONFIG} has {len(config['means'])} means of {len(config['tensors'])} tensors")
    if len(config["gains"]) != len(config["tensors"]):
        raise QuineFileError(f"{folder / CONFIG} has {len(config['gains'])} gains of {len(config['tensors'])} tensors")
    found = {name.removeprefix("trunk."): t.shape for name, t in held.items() if name.startswith("trunk.")}
    counts = {name for name in held if name.startswith("probe.") or name.endswith("num_batches_tracked")}
    whole = {name for name in counts if np.issubdtype(held[name].dtype, np.integer)}
    odd = [name for name, t in held.items() if name not in whole and t.dtype != _TYPES[config["dtype"]]]
    if odd:
        raise QuineFileError(f"{folder / WEIGHTS} holds {odd[0]} in {held[odd[0]].dtype}, not {config['dtype']}")
    wanted = described(spec)
    if wanted is None:  # running the trunk says which module has no rule
        return
    frozen = {*config["kept"], *(name for name in wanted if name.rpartition(".")[2] in _BUFFERS)}
    printed = [[name, list(shape)] for name, shape in wanted.items() if name not in frozen]
    if config["tensors"] != printed or found != wanted:
        raise QuineFileError(f"{folder / CONFIG} lists other weights than its trunk has")
