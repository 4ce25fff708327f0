"""Files from elsewhere: a graph is believed when it is the exporter's own, node by node, and prints its weights."""

import json
import os
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import forked
import neuralquine as nq
from keeping.onnx.forged import FORGERIES, forged, theta_of, weight_names
from neuralquine.files.strict_json import canonical
from neuralquine.keeping.onnx.check import Verdict, checked


@pytest.fixture(scope="module")
def exported(tmp_path_factory, exact_blog):
    return nq.export(exact_blog(), tmp_path_factory.mktemp("check") / "self.onnx")


def written(folder, data):
    (folder / "file.onnx").write_bytes(data)
    return folder / "file.onnx"


def test_an_exported_file_is_the_exporters_graph_and_prints_its_weights(exported):
    found = checked(exported)
    assert (found.verdict, found.reason, found.parameters, found.differing) == (Verdict.QUINE, "", 1020, 0)
    assert found.is_quine


def test_float32_frozen_buffers_token_ids_and_names_of_every_kind(tmp_path):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.SiLU(), nn.Linear(16, 12))
    trunk[1].running_mean.normal_()
    trunk[3].weight.requires_grad_(False)
    first = nq.Quine(
        trunk, torch.randn(1, 6), code_size=12, dtype=torch.float32, print_frozen=False, skip=0.1, code_bits=6
    )
    words = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 12))
    second = nq.Quine(words, torch.randint(7, (1, 3)), code_size=12, skip=0.1, code_bits=6, expansion="hadamard")
    for name, quine in (("a", first), ("b", second)):
        nq.solve(quine, exact=True)
        found = checked(nq.export(quine, tmp_path / f"{name}.onnx"))
        assert found.verdict is Verdict.QUINE, found


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda f: f.__name__)
def test_a_forged_file_is_another_graph(forgery, exported, tmp_path):
    file = written(tmp_path, forged(onnx.load(exported), forgery))
    found = checked(file)
    assert found.verdict is Verdict.FOREIGN, found
    assert found.reason
    assert "\n" not in found.reason
    assert not found.is_quine


BELIEVED = [
    *(
        "three_identities",
        "constant_answer",
        "compared_with_itself",
        "copy_of_stored",
        "identity_of_stored",
        "hidden_copy",
    ),
    *("code_as_a_constant", "planted_offset", "echo", "extra_if", "no_description"),
]


@pytest.mark.parametrize("forgery", [f for f in FORGERIES if f.__name__ in BELIEVED], ids=lambda f: f.__name__)
def test_onnx_runtime_believes_what_was_forged(forgery, exported, tmp_path):
    assert bool(onnxruntime.InferenceSession(forged(onnx.load(exported), forgery)).run(["is_quine"], {})[0])


def test_one_flipped_bit_of_a_weight_or_of_the_probe_makes_it_no_quine(exported, tmp_path):
    data = bytearray(exported.read_bytes())
    data[data.index(theta_of(onnx.load(exported))[:8].tobytes())] ^= 1
    found = checked(written(tmp_path, data))
    assert (found.verdict, found.differing) == (Verdict.NO_QUINE, 1)
    model = onnx.load(exported)
    probe = next(i for i in model.graph.initializer if i.name == "/probe")
    probe.raw_data = (np.frombuffer(probe.raw_data) * 2).tobytes()
    assert checked(written(tmp_path, model.SerializeToString())).verdict is Verdict.NO_QUINE


def test_random_bits_of_the_file_never_make_another_graph_a_quine(exported, tmp_path):
    generator = np.random.default_rng(0)
    data = exported.read_bytes()
    model = onnx.load(exported)
    words = [entry.value.encode() for entry in model.metadata_props if "sha256" in entry.key] + [b"0.1.0"]
    for _ in range(12):
        bit = int(generator.integers(8 * len(data)))
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        found = checked(written(tmp_path, changed))
        inside = [data.index(word) <= bit // 8 < data.index(word) + len(word) for word in words]
        assert not found.is_quine or any(inside), (bit, found)


def test_what_is_no_model_is_not_readable(tmp_path, exported):
    os.mkfifo(tmp_path / "pipe.onnx")
    for file in (written(tmp_path, b"not a model"), tmp_path / "pipe.onnx", tmp_path / "nowhere.onnx", tmp_path):
        assert checked(file).verdict is Verdict.UNREADABLE
    for data in (b"", exported.read_bytes()[:-1000]):
        assert checked(written(tmp_path, data)).verdict in (Verdict.UNREADABLE, Verdict.FOREIGN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"code_size":20', '"code_size":250000'),
        ('"code_bits":', '"code_bits":null,"x":'),
        ('"eps":', '"eps":1e999,"x":'),
        ('"dtype":"float64"', '"dtype":["float64"]'),
        ('"trunk":{', '"trunk":{"a":' + "[" * 3000 + "]" * 3000 + ","),
        ('"tensors":[', '"tensors":[["x",[' + "9" * 400 + "]],"),
    ],
)
def test_a_forged_description_is_refused_in_one_line(old, new, exported, tmp_path):
    model = onnx.load(exported)
    entry = next(entry for entry in model.metadata_props if entry.key == "description")
    assert old in entry.value
    entry.value = entry.value.replace(old, new)
    found = checked(written(tmp_path, model.SerializeToString()))
    assert found.verdict is Verdict.FOREIGN
    assert found.reason.count("\n") == 0
    assert str(tmp_path) not in found.reason


def test_weights_that_are_constants_of_the_description_are_printed_by_a_trick(tmp_path):
    torch.manual_seed(0)
    quine = nq.Quine(nn.Linear(4, 12), torch.randn(1, 4), code_size=12, code_bits=6, scales=([0.25, 0.5], [0.0, 0.0]))
    quine.theta = quine.self_map(quine.theta)
    found = checked(nq.export(quine, tmp_path / "self.onnx"))
    assert found.verdict is Verdict.TRIVIAL
    assert found.trivial
    assert not found.is_quine


@pytest.mark.parametrize(
    ("old", "new"),
    [('"parameters":1020', '"parameters":1021'), ('"kept":[]', '"kept":["x"]'), ("{", '{"author":"me",')],
)
def test_nothing_false_is_left_in_the_description(old, new, exported, tmp_path):
    model = onnx.load(exported)
    entry = next(entry for entry in model.metadata_props if entry.key == "description")
    assert old in entry.value
    entry.value = canonical(json.loads(entry.value.replace(old, new, 1)))
    assert checked(written(tmp_path, model.SerializeToString())).verdict is Verdict.FOREIGN


def test_the_names_of_the_weights_are_in_the_description(exported):
    model = onnx.load(exported)
    assert weight_names(model) == [n for n, _ in nq.recipe("blog").named_weights()]


def command(*words):
    run = forked.run(
        [sys.executable, "-m", "neuralquine", *map(str, words)], capture_output=True, text=True, timeout=600
    )
    assert run.stderr == ""
    return run.returncode, run.stdout


def test_the_command_says_what_was_found(exported, tmp_path):
    status, said = command("verify", exported)
    assert (status, said.splitlines()[0]) == (0, f"{exported}: a quine")
    file = written(tmp_path, forged(onnx.load(exported), FORGERIES[1]))
    status, said = command("verify", file, "--json")
    found = json.loads(said)
    assert (status, found["status"], found["is_quine"]) == (1, "foreign", False)
    assert set(found) == {"status", "is_quine", "reason", "parameters", "differing_weights", "trivial", "seconds"}
