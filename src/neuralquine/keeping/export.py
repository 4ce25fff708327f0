"""A quine as one ONNX file that asks itself: the outputs ``printed``, ``stored`` and ``is_quine``, without any input.

A task quine also takes an input ``x`` and gives an ``answer`` (``onnx/tape.py``).

Only quines that print the same bits on every machine are written (``proving/portable.py``): the proof bounds what any
runtime may round, so ``is_quine`` is True in all of them. Each parameter is an initializer under its own name. ``stored``
joins these initializers, ``printed`` is what the network computes from them, and ``is_quine`` says whether all bits are
the same; change one bit of a weight in the file and it is False.

The file carries what it was made from, so that ``onnx/check.py`` can write the graph again and compare: its metadata hold
the names of the weights and, in one spelling, the description of the quine.

The trunk runs in float64. The code is rounded to its grid and expanded in the weights' own type by a fixed table of
whole numbers, as exactly as everywhere.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import NeuralQuineError, QuineFileError, check_bytes, installing
from ..files.atomic import replace_file
from ..files.folder import kind_of, read_config
from ..files.strict_json import canonical
from ..proving.checker.tape import KIND, USES, Taped
from ..version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto

    from ..proving.network import Network
    from ..quines.quine import Quine
    from .onnx.values import Graph, Value

OPSET, IR = 18, 8  # of 2022: old enough for any runtime in use
LARGEST = 1 << 30  # bytes of one file; ONNX itself ends at 2 GiB
OUTPUTS = ("printed", "stored", "is_quine")
WEIGHT_NAMES, DESCRIPTION, ORIGIN = "weights", "description", "sha256 of model.safetensors"  # keys of the metadata


def export(quine: Quine | str | Path, path: str | Path) -> Path:
    """Write a portable quine as an ONNX model that prints itself and says so.

    Args:
        quine: a quine, or the folder of one.
        path: ends in ``.onnx``; a file that is there is replaced.

    Returns:
        The path.

    Raises:
        NeuralQuineError: it is not bit-exact, not proved portable, or made of a module without a rule; or ONNX
            (extra ``onnx``) is missing.
        QuineFileError: the path cannot be written.
        TooLarge: the file would be larger than 1 GiB.

    Example:
        >>> import neuralquine as nq, onnxruntime
        >>> quine = nq.recipe("blog", seed=0)
        >>> _ = nq.solve(quine, exact=True)
        >>> session = onnxruntime.InferenceSession(nq.export(quine, "/tmp/self.onnx"))
        >>> bool(session.run(["is_quine"], {})[0])
        True
    """
    _check_extras()
    target = Path(path)
    if target.suffix != ".onnx" or target.is_dir():
        raise QuineFileError(f"{target} is not the name of an ONNX file: let it end in .onnx")
    if isinstance(quine, str | Path):
        model = to_model(quine)
    else:
        from .store import save

        with tempfile.TemporaryDirectory() as folder:
            save(quine, Path(folder) / "quine")
            model = to_model(Path(folder) / "quine")
    try:
        with replace_file(target) as file:
            file.write_bytes(model.SerializeToString(deterministic=True))
    except OSError as error:
        raise QuineFileError(f"cannot write {target}: {error.strerror}") from error
    return target


def to_model(folder: str | Path) -> ModelProto:
    """The model of a folder's quine, run once by ONNX Runtime and found to say True."""
    import onnxruntime

    from ..proving.rules import NoRule
    from .gate import check_sound
    from .onnx.values import Graph
    from .theorems import portability

    check_sound(folder)
    network = network_of(folder)
    if network.expansion not in (*EXPANSIONS, "tape"):
        raise NoRule("no graph is written of a quine that is asked for its weights one by one")
    size = _table_bytes(network) + 2 * network.theta.nbytes
    check_bytes("the ONNX file", size, "it holds the weights and their table of expansion", LARGEST)
    verdict = portability(folder)
    if not verdict.proved and verdict.wider != "float64":  # in which the graph computes
        raise NeuralQuineError(
            f"{folder} is not proved to print the same bits everywhere: {verdict.reason}; "
            "try another seed, or a coarser grid, with `neuralquine solve --exact`"
        )
    model = assemble(Graph(), network, describe(folder))
    if not bool(run(model)[2]):
        raise NeuralQuineError(f"ONNX Runtime {onnxruntime.__version__} does not print the weights of {folder}")
    return model


def ports(path: str | Path) -> tuple[list[str], list[str]]:
    """The names of the inputs and of the outputs of a file that was written here."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return [value.name for value in graph.input], [value.name for value in graph.output]


def describe(folder: str | Path) -> str:
    """What a file says of the quine that it was made from: the folder's configuration, without what is not computed with."""
    config = read_config(Path(folder)) | {"recipe": None, "trunk_class": ""}
    return canonical({key: value for key, value in config.items() if key not in ("neuralquine", "library_name")})


def run(model: ModelProto) -> list[np.ndarray[Any, Any]]:
    """What ONNX Runtime gives for ``printed``, ``stored`` and ``is_quine``."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # an input with a default is mentioned as a warning
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(list(OUTPUTS), {})]


def network_of(folder: str | Path) -> Any:
    """What a graph is written of: the arithmetic of a folder's quine, as the proof reads it."""
    from ..proving import checker

    if kind_of(read_config(Path(folder))) == KIND:
        return checker.read(folder)
    from ..proving.network import Network

    return Network(folder)


@singledispatch
def _table_bytes(network: Any) -> int:
    """Bytes of the table that the printer takes in a file."""
    return network.printer.count


@_table_bytes.register(Taped)
def _(network: Taped) -> int:
    return (4 * USES + 8) * sum(network.sizes[:-1])


def assemble(graph: Graph, network: Any, description: str) -> ModelProto:
    """The whole model of a network: the graph is filled, and the metadata are added.

    Args:
        graph: an empty one.
        network: what the graph computes.
        description: of the quine, as :func:`describe` gives it.
    """
    from onnx import TensorProto, helper

    outputs = write(network, graph)
    kind = helper.np_dtype_to_tensor_dtype(network.theta.dtype)
    types = [(kind, network.theta.shape), (kind, network.theta.shape), (TensorProto.BOOL, ())]
    types += [(TensorProto.FLOAT, value.shape) for value in outputs[3:]]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "neural_quine",
            graph.inputs,
            [helper.make_tensor_value_info(v.name, *t) for v, t in zip(outputs, types, strict=True)],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="neuralquine",
        producer_version=__version__,
        doc_string="A neural quine: it prints its own weights. Run it without inputs.",
    )
    helper.set_model_props(
        model, {WEIGHT_NAMES: ", ".join(network.names), ORIGIN: network.sha256, DESCRIPTION: description}
    )
    return model


@singledispatch
def write(network: Any, graph: Graph) -> list[Value]:
    """The whole graph of a network; gives the outputs ``printed``, ``stored`` and ``is_quine``, and others after these."""
    from .onnx.values import concat

    weights = hold_weights(graph, network)
    grid = 2.0 ** int(network.code_bits or 0)
    code = real_code(graph, network, weights) * grid
    if network.code_phase:
        offset = graph.hold("/offset", network.printer.offset.copy())
        code = ((code - offset).unary("Round") + offset) / grid
    else:
        code = code.unary("Round") / grid
    printed = concat(EXPANSIONS[network.expansion](graph, network, code.cast(network.dtype)), 0, "printed")
    stored = concat([value.reshape(-1) for value in weights.values()], 0, "stored")
    return [printed, stored, _same_bits(printed, stored, network.theta.dtype)]


@write.register(Taped)
def _(network: Taped, graph: Graph) -> list[Value]:
    from .onnx.tape import write_tape
    from .onnx.values import concat

    weights = hold_weights(graph, network)
    pieces, answer = write_tape(graph, network, weights)
    printed = concat(pieces, 0, "printed")
    stored = concat([value.reshape(-1) for value in weights.values()], 0, "stored")
    return [printed, stored, _same_bits(printed, stored, network.theta.dtype), answer]


def hold_weights(graph: Graph, network: Any) -> dict[str, Value]:
    """Every printed parameter as an initializer under its own name, in its own type."""
    pieces = np.split(network.theta, np.cumsum(network.sizes)[:-1])
    named = zip(network.names, network.shapes, pieces, strict=True)
    return {name: graph.hold(name, piece.reshape(shape)) for name, shape, piece in named}


def real_code(graph: Graph, network: Network, weights: dict[str, Value]) -> Value:
    """The code before it is rounded, ``(1, d)`` in float64, from the weights' initializers."""
    wide = weights if network.dtype == "float64" else {name: v.cast("float64") for name, v in weights.items()}
    wide |= {name: graph.hold(name, numbers.astype(np.float64)) for name, numbers in network.buffers.items()}

    def hold(name: str, numbers: np.ndarray[Any, Any]) -> Value:
        whole = np.issubdtype(numbers.dtype, np.integer)
        return graph.hold(f"/{name}", numbers.astype(np.int64 if whole else np.float64))

    graph.grid = network.grid
    return network.computed(wide.get, hold, stepped=True)


def _same_bits(a: Value, b: Value, dtype: np.dtype[Any]) -> Value:
    """Whether no bit differs: numbers are compared, then their reciprocals, which tell +0 from -0; NaN equals nothing."""
    graph = a.graph
    one = graph.constant(np.array(1, dtype))
    same = [graph.op("Equal", pair, a.shape) for pair in ((a, b), (one / a, one / b))]
    both = graph.op("And", same, a.shape).cast("int32")
    return graph.op("Cast", [graph.op("ReduceMin", [both], (), keepdims=0)], (), "is_quine", to=_BOOL)


_BOOL = 9  # TensorProto.BOOL


def _table(graph: Graph, network: Network, code: Value) -> list[Value]:
    """``mean + gain * (A c)`` tensor by tensor, with 4 A, whole numbers below 2^6, in bytes."""
    from ..proving.printers import MatrixPrinter

    assert isinstance(network.printer, MatrixPrinter)  # the table below says which expansions come here
    # 4 A c / 4 is exact in any order: portability was proved.
    quarter = code.reshape(-1, 1) * graph.constant(np.array(0.25, network.theta.dtype))
    pieces, start = [], 0
    for name, count in zip(network.names, network.sizes, strict=True):
        if count:
            rows = (4 * network.printer.matrix[start : start + count]).astype(np.int8)
            sums = graph.hold(f"/expansion/{name}", rows).cast(network.dtype) @ quarter
            gain, mean = (graph.constant(numbers[start]) for numbers in (network.printer.gain, network.printer.mean))
            pieces.append((sums.reshape(-1) * gain) + mean)
        start += count
    return pieces


# Each prints all weights, tensor by tensor, from the code ``(1, d)`` in the weights' own type.
EXPANSIONS: dict[str, Callable[[Graph, Network, Value], list[Value]]] = {"gaussian": _table, "hadamard": _table}


def _check_extras() -> None:
    for package, name in (("onnx", "onnx"), ("onnxruntime", "onnxruntime")):
        if importlib.util.find_spec(package) is None:
            raise NeuralQuineError(f"export needs {name}: {installing('onnx')}")
