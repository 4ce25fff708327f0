"""The file of a task quine: it answers inputs and says whether it is itself, and a damaged one prints what it was."""

import json
import sys

import numpy as np
import onnxruntime as ort
import pytest

import forked
import neuralquine as nq
from neuralquine.keeping.onnx.check import Verdict, checked
from proving.test_tape import small


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = small(tmp_path_factory.mktemp("tape") / "q")
    return folder, nq.export(folder, folder.parent / "self.onnx")


def session(data):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(data, options)


def test_it_answers_and_says_that_it_is_itself(kept):
    folder, file = kept
    quine, run = nq.load(folder), session(file.read_bytes())
    x = np.random.default_rng(0).standard_normal((1, 4)).astype(np.float32)
    answer, itself = run.run(["answer", "is_quine"], {"x": x})
    assert np.allclose(answer, quine.outputs(quine.theta.new_tensor(x)).detach().numpy(), atol=1e-5)
    assert itself
    assert run.run(["printed"], {})[0].tobytes() == quine.theta.numpy().tobytes()
    assert checked(file).verdict is Verdict.QUINE


def test_one_flipped_bit_makes_it_false_and_it_prints_what_it_was(kept, tmp_path):
    folder, file = kept
    quine, data, draw = nq.load(folder), file.read_bytes(), np.random.default_rng(0)
    for name, weight in quine.named_weights():
        raw = weight.detach().numpy().tobytes()
        assert data.count(raw) == 1
        for bit in (31, 30, int(draw.integers(8 * len(raw)))):  # the sign, the highest of the exponent, any
            changed = bytearray(data)
            changed[data.index(raw) + bit // 8] ^= 1 << bit % 8
            printed, itself = session(bytes(changed)).run(["printed", "is_quine"], {})
            assert not itself, name
            assert printed.tobytes() == quine.theta.numpy().tobytes()
    (tmp_path / "file.onnx").write_bytes(changed)
    assert checked(tmp_path / "file.onnx").verdict is Verdict.NO_QUINE


def test_another_graph_is_foreign(kept, tmp_path):
    data = kept[1].read_bytes()
    for old, new in ((b"ReduceMean", b"ReduceMax_"), (b"Clip", b"Clap"), (b"IsNaN", b"IsInf")):
        if old in data:
            (tmp_path / "file.onnx").write_bytes(data.replace(old, new, 1))
            assert not checked(tmp_path / "file.onnx").is_quine


def test_the_command_line_exports_and_verifies_it(kept, tmp_path):
    folder, _ = kept

    def ask(*words):
        return forked.run([sys.executable, "-m", "neuralquine", *map(str, words)], capture_output=True, text=True)

    done = ask("export", folder, tmp_path / "self.onnx", "--json")
    assert json.loads(done.stdout)["inputs"] == ["x"]
    assert ask("verify", tmp_path / "self.onnx").returncode == 0
    assert ask("verify", "--portable", folder).returncode == 0
