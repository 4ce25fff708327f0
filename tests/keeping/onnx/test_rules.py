"""Every rule in ONNX against torch: the code a graph computes is torch's to round-off, with and without optimizations."""

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, checker, helper
from onnx.reference import ReferenceEvaluator
from torch import nn

import neuralquine as nq
from modules import cases
from neuralquine.keeping.export import IR, OPSET, hold_weights, real_code
from neuralquine.keeping.onnx.values import Graph
from neuralquine.proving.network import Network
from neuralquine.proving.rules import NoRule, run


def model_of(graph, output):
    info = helper.make_tensor_value_info(output.name, TensorProto.DOUBLE, output.shape)
    body = helper.make_graph(graph.nodes, "test", [], [info], graph.initializers)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    checker.check_model(model, full_check=True)  # which infers every shape again, and compares
    return model


def answers(model):
    """Of ONNX Runtime without and with optimizations, and of the reference evaluator."""
    for level in (ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        options.intra_op_num_threads = 1
        yield ort.InferenceSession(model.SerializeToString(), options).run(None, {})[0]
    yield ReferenceEvaluator(model).run(None, {})[0]


# Type and anchor do not know of each other: the other two pairs are slow ones.
PAIRS = [
    (torch.float64, None),
    (torch.float32, 0.1),
    *(pytest.param(*pair, marks=pytest.mark.slow) for pair in ((torch.float64, 0.1), (torch.float32, None))),
]


@pytest.mark.parametrize(("dtype", "skip"), PAIRS)
@pytest.mark.parametrize("name", cases())
def test_a_graph_computes_the_code_of_torch(name, dtype, skip, tmp_path):
    torch.manual_seed(0)
    trunk, probe = cases()[name]()
    quine = nq.Quine(trunk, probe, code_size=8, seed=0, dtype=dtype, skip=skip)
    nq.save(quine, tmp_path / "q")
    network, graph = Network(tmp_path / "q"), Graph()
    model = model_of(graph, real_code(graph, network, hold_weights(graph, network)))
    expected = quine.real_code().detach().double().numpy()
    for found in answers(model):
        assert np.abs(found[0] - expected).max() < (1e-13 if dtype == torch.float64 else 3e-5)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ({"type": "Softplus", "arguments": {"alpha": 1.0}}, "Softplus"),
        ({"type": "Softmax", "arguments": {"dim": 0}}, "Softmax over axis 0"),
        ({"type": "LayerNorm", "arguments": {"normalized_shape": [2, 3], "eps": 1e-5}}, "LayerNorm"),
        ({"type": "AdaptiveAvgPool1d", "arguments": {"output_size": 2}}, "adaptive pooling"),
        ({"type": "LSTM", "arguments": {"bidirectional": True}}, "bidirectional"),
        ({"type": "TransformerEncoderLayer", "arguments": {"batch_first": False}}, "TransformerEncoderLayer"),
    ],
)
def test_a_module_without_a_rule_is_refused_by_name(module, words):
    x = Graph().constant(np.zeros((2, 3)))
    with pytest.raises(NoRule, match=f"no proof rule for .*{words}") as caught:
        run({"type": "Sequential", "children": [["a", module]]}, x, lambda _: None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", [{"padding_mode": "reflect"}, {"padding": "same"}])
def test_so_is_a_convolution_of_another_kind(option, tmp_path):
    trunk = nn.Sequential(nn.Conv1d(2, 2, 3, **{"padding": 1} | option), nn.Flatten())
    quine = nq.Quine(trunk, torch.randn(1, 2, 4), code_size=8, prints="code")
    nq.save(quine, tmp_path / "q")
    network, graph = Network(tmp_path / "q"), Graph()
    with pytest.raises(NoRule, match="convolution"):
        real_code(graph, network, hold_weights(graph, network))
