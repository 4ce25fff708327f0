"""An ONNX file from elsewhere: is its graph the one that the exporter writes for the quine that it says it is?

The outputs of a file prove nothing, because any graph can answer True. So the file's weights, probe and description are
taken out of it, the exporter writes the graph of these once more, and every node and every initializer is compared with
the file's, byte by byte. Only then is the graph run.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import DecodeError, Message
from onnx import ModelProto, TensorProto
from safetensors.numpy import save_file

from ...errors import NeuralQuineError, first_line
from ...files.folder import METADATA_KEY, read_config, sha256
from ...files.names import CONFIG, WEIGHTS
from ...files.strict_json import canonical, read_json
from ...proving.verbs import portability
from ..export import DESCRIPTION, LARGEST, ORIGIN, assemble, describe, network_of, run
from ..patience import patience
from .values import Graph, Value

if TYPE_CHECKING:
    from ...checking.verify import Verification
    from ...proving.verdicts import Portability

_TYPES = {int(TensorProto.FLOAT): "<f4", int(TensorProto.DOUBLE): "<f8", int(TensorProto.INT64): "<i8"}
_COUNTS = "num_batches_tracked"  # the one buffer of whole numbers that a trunk with rules can have


class Verdict(Enum):
    """What was found; the value says it in words."""

    QUINE = "the graph is exactly what neuralquine exports for this description, and it prints its weights"
    NO_QUINE = "the graph is exactly what neuralquine exports for this description, and it does not print its weights"
    TRIVIAL = "the graph is exactly what neuralquine exports for this description, and it prints its weights by a trick"
    FOREIGN = "another graph than neuralquine exports: whatever it answers is only its own word"
    UNREADABLE = "not readable"


@dataclass(frozen=True)
class Checked:
    """The verdict on a file.

    Attributes:
        verdict: what was found.
        reason: what speaks against the file, in one sentence; empty for a quine.
        parameters: the number of weights, where the graph is the exporter's.
        differing: how many of them are printed with other bits, likewise.
        trivial: the tricks that were found, in words.
    """

    verdict: Verdict
    reason: str = ""
    parameters: int | None = None
    differing: int | None = None
    trivial: tuple[str, ...] = ()

    @property
    def is_quine(self) -> bool:
        return self.verdict is Verdict.QUINE


class _Differs(Exception):
    """The file is not what the exporter writes; the message says where."""


def checked(path: str | Path) -> Checked:
    """Compare an ONNX file with what the exporter writes for the quine that the file describes, then run it once.

    Nothing that the file holds is run, unpickled, imported or fetched before every byte of its graph was found to be the
    exporter's own.

    Args:
        path: the file, which may come from anyone.

    Returns:
        The verdict. A graph that a different version of neuralquine wrote may be a foreign one to this version.

    Raises:
        NeuralQuineError: ONNX or ONNX Runtime (extra ``onnx``) are missing.
    """
    try:
        model = _read(Path(path))
    except (OSError, ValueError, DecodeError) as error:
        return Checked(Verdict.UNREADABLE, first_line(error))
    with tempfile.TemporaryDirectory() as folder:
        try:
            return _judged(model, _unpacked(model, Path(folder) / "quine"))
        except _Differs as error:
            return Checked(Verdict.FOREIGN, str(error))
        # A forged description can fail wherever it is used, and in any of these ways.
        except (
            NeuralQuineError,
            ArithmeticError,
            LookupError,
            MemoryError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            reason = first_line(error).replace(f"{folder}/", "")
            return Checked(Verdict.FOREIGN, f"its description is not one of an exported quine: {reason[:200]}")


def _read(path: Path) -> ModelProto:
    if not path.is_file():  # reading a pipe would wait for ever
        raise ValueError(f"{path} is not a file")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} is larger than {LARGEST >> 20} MiB")
    model = ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ValueError(f"{path} is not an ONNX model") from error
    return model


# -- the quine that the file describes --------------------------------------------------------------------------------


def _unpacked(model: ModelProto, folder: Path) -> Path:
    """A folder of the quine that the file describes, with the file's own weights, buffers and probe."""
    texts = [entry.value for entry in model.metadata_props if entry.key == DESCRIPTION]
    if len(texts) != 1:
        raise _Differs("it does not carry the description of one quine")
    folder.mkdir()
    (folder / CONFIG).write_text(texts[0], encoding="utf-8")
    config = read_json(folder / CONFIG)
    if canonical(config) != texts[0]:
        raise _Differs("its description is not in the spelling of the exporter")
    if config.get("code_bits") is None and not isinstance(config.get("tape"), dict):
        raise _Differs("it describes a quine without a grid of codes, and the exporter refuses these")
    kind = np.dtype({"float64": np.float64, "float32": np.float32}[config["dtype"]])
    # The graph's own names begin with a slash; the others are parameters and buffers.
    given = {value.name for value in model.graph.input}  # whose defaults are no weights
    held = {
        t.name: t
        for t in model.graph.initializer
        if t.name == "/probe" or not (t.name.startswith("/") or t.name in given)
    }
    tensors = {f"trunk.{n}": _array(t, np.dtype(np.int64) if n.endswith(_COUNTS) else kind) for n, t in held.items()}
    if (probe := tensors.pop("trunk./probe", None)) is None:
        raise _Differs("it holds no probe")
    if held["/probe"].data_type == TensorProto.INT64:
        probe = _array(held["/probe"], np.dtype(np.int64))
    save_file(tensors | {"probe.0": probe}, folder / WEIGHTS, {METADATA_KEY: texts[0]})
    (folder / CONFIG).write_text(canonical(config | {"weights_sha256": sha256(folder / WEIGHTS)}), encoding="utf-8")
    return folder


def _array(tensor: TensorProto, kind: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """The numbers of an initializer, in the type that the quine's folder keeps them in."""
    dtype, size = _TYPES.get(tensor.data_type), math.prod(tensor.dims)
    if dtype is None or tensor.external_data or len(tensor.raw_data) != size * np.dtype(dtype).itemsize:
        raise _Differs(f"the initializer {_named(tensor.name)} is not written as the exporter writes one")
    with np.errstate(all="ignore"):  # what does not survive the cast is found by the comparison
        return np.frombuffer(tensor.raw_data, dtype).reshape(tuple(tensor.dims)).astype(kind)


# -- the comparison ---------------------------------------------------------------------------------------------------


class _Compared(Graph):
    """A graph that stops being written at the first node or initializer that is not the model's.

    So a forged description costs no more memory than the file that carries it.
    """

    def __init__(self, model: ModelProto) -> None:
        super().__init__()
        self._wanted = model.graph

    def hold(self, name: str, numbers: np.ndarray[Any, Any]) -> Value:
        value = super().hold(name, numbers)
        self._compare(self._wanted.initializer, self.initializers, f"the initializer {_named(name)}")
        return value

    def op(self, kind: str, *arguments: Any, **attributes: Any) -> Value:
        value = super().op(kind, *arguments, **attributes)
        self._compare(self._wanted.node, self.nodes, f"the node {_named(value.name)}")
        return value

    def _compare(self, wanted: Any, written: Any, what: str) -> None:
        place = len(written) - 1
        if place >= len(wanted):
            raise _Differs(f"it lacks {what}")
        if not _same(wanted[place], written[place]):
            raise _Differs(f"the exporter writes {what} in another way than {_named(wanted[place].name)} is written")


def _judged(model: ModelProto, folder: Path) -> Checked:
    """Write the graph of a folder again, compare it with the model's, and run it."""
    from ..store import load, save

    config, held = read_config(folder), sum(len(i.raw_data) for i in model.graph.initializer)
    if config["tape"] is None and config["code_size"] * sum(math.prod(shape) for _, shape in config["tensors"]) > held:
        raise _Differs("it does not hold the table of the expansion that it describes")
    quine = load(folder)  # which bounds what the trunk's description may ask for
    network = network_of(folder)
    expected = assemble(_Compared(model), network, describe(folder))
    _compare_rest(model, expected)
    again = folder.with_name("again")
    verification = save(quine, again)
    if describe(again) != describe(folder):
        raise _Differs("its description is not the one that the exporter gives of that quine")
    with patience(folder):
        proof = portability(folder)
    return _asked(expected, network, proof, verification)


def _asked(model: ModelProto, network: Any, proof: Portability, verification: Verification) -> Checked:
    """Run a graph that is the exporter's own, once, and compare the bits."""
    printed, stored, says = run(model)
    count, size = network.theta.size, network.theta.itemsize
    bits = [np.frombuffer(numbers.tobytes(), f"V{size}") for numbers in (printed, stored, network.theta)]
    differing = int((bits[0] != bits[2]).sum())
    if differing or not says or (bits[1] != bits[2]).any():
        reason = f"{differing} of {count} weights are printed with other bits"
        return Checked(Verdict.NO_QUINE, reason, count, differing)
    if not proof.proved and proof.wider != "float64":
        raise _Differs(f"the exporter refuses what it describes, because {proof.reason}")
    tricks = tuple(str(trick) for trick in verification.trivial)
    if tricks:
        return Checked(Verdict.TRIVIAL, "; ".join(tricks), count, 0, tricks)
    return Checked(Verdict.QUINE, "", count, 0)


def _compare_rest(model: ModelProto, expected: ModelProto) -> None:
    """Compare what is not a node or an initializer: both models are equal but for what they say about themselves."""
    for kind in ("node", "initializer"):
        more = len(getattr(model.graph, kind)) - len(getattr(expected.graph, kind))
        if more:
            raise _Differs(f"it has {more} {kind}{'s' * (more > 1)} more than the exporter writes")
    pair = [ModelProto.FromString(m.SerializeToString()) for m in (model, expected)]
    words = [{entry.key: entry.value for entry in m.metadata_props} for m in pair]
    for m, said in zip(pair, words, strict=True):
        m.ClearField("producer_version")
        m.ClearField("metadata_props")
        said.pop(ORIGIN, None)  # the hash of a file that is not here
    if not _same(*pair) or words[0] != words[1]:
        raise _Differs("outside its nodes and initializers it says something else than the exporter writes")


def _same(a: Message, b: Message) -> bool:
    """Whether two messages are written with the same bytes, fields that this version does not know included."""
    return a.SerializeToString(deterministic=True) == b.SerializeToString(deterministic=True)


def _named(name: str) -> str:
    """A name from a file, fit to be repeated."""
    return ascii(name[:60])
