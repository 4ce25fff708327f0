"""self.onnx: it says True of itself in every runtime, False after any flipped bit, and is refused where that is not sure."""

import json
import shutil
import subprocess
import sys
from importlib.resources import files

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from mpmath import mp
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import load_file
from torch import nn

import forked
import neuralquine as nq
from browser import chromium, served
from keeping.onnx.test_functions import POINTS, ulps
from keeping.onnx.test_rules import model_of
from neuralquine.keeping.onnx.functions import erf, tanh
from neuralquine.keeping.onnx.values import Graph
from neuralquine.recipes import problem

RECIPES = {
    "blog": {},
    "cnn": {"skip": 0.1},
    "rnn": {"skip": 0.1},
    "gru": {"skip": 0.1},
    "lstm": {"skip": 0.1},
    "transformer": {"skip": 0.1, "code_bits": 4},
}


def made(name):
    """Of the two that are written with the most nodes, three of the twelve steps: each is written as the first is."""
    if name not in ("gru", "lstm"):
        return nq.recipe(name, **RECIPES[name])
    found = problem(name, **RECIPES[name])
    return nq.Quine(found.trunk, found.probe[:, :3], **found.options)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Folder and ONNX file of an exact quine of each recipe, made when it is first asked for."""
    written = {}

    def kept(name):
        if name not in written:
            folder = tmp_path_factory.mktemp("onnx") / name
            quine = made(name)
            nq.solve(quine, exact=True)
            nq.save(quine, folder)
            written[name] = folder, nq.export(folder, folder.parent / "self.onnx")
        return written[name]

    return kept


def weights_of(folder):
    config = json.loads((folder / "config.json").read_text())
    held = load_file(folder / "model.safetensors")
    return {name: held[f"trunk.{name}"] for name, _ in config["tensors"]}


def ask(model, *, optimize=True, threads=1):
    options = ort.SessionOptions()
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimize else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    return ort.InferenceSession(model, options).run(None, {})


def flipped(model, weights, name, bit):
    """The file with one bit of one tensor's stored numbers changed, found by its bytes."""
    raw = weights[name].tobytes()
    assert model.count(raw) == 1
    changed = bytearray(model)
    changed[model.index(raw) + bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("name", RECIPES)
def test_it_says_true_in_onnx_runtime_and_in_the_reference_evaluator(name, kept):
    folder, file = kept(name)
    theta = np.concatenate([w.reshape(-1) for w in weights_of(folder).values()])
    model = file.read_bytes()
    for optimize in (False, True):
        for threads in (1, 2):
            printed, stored, is_quine = ask(model, optimize=optimize, threads=threads)
            assert is_quine.dtype == bool
            assert is_quine.shape == ()
            assert is_quine
            assert printed.tobytes() == stored.tobytes() == theta.tobytes()
    with np.errstate(divide="ignore"):  # numpy mentions the reciprocal of a weight that is zero
        printed, stored, is_quine = ReferenceEvaluator(onnx.load(file)).run(None, {})
    assert is_quine
    assert printed.tobytes() == stored.tobytes() == theta.tobytes()


@pytest.mark.parametrize("name", RECIPES)
def test_any_flipped_bit_of_a_stored_weight_makes_it_false(name, kept):
    folder, file = kept(name)
    weights, model = weights_of(folder), file.read_bytes()
    generator = np.random.default_rng(0)
    names = list(weights)
    places = [(n := names[generator.integers(len(names))], generator.integers(64 * weights[n].size)) for _ in range(8)]
    first = names[0]
    places += [(first, 0), (first, 63), (first, 62), (first, 52)]  # lowest, sign, highest exponent, lowest exponent
    zeros = [(n, 64 * int(np.flatnonzero(w.reshape(-1) == 0)[0]) + 63) for n, w in weights.items() if (w == 0).any()]
    for place in places + zeros[:3]:  # +0 and -0 are the same number, and not the same bits
        printed, stored, is_quine = ask(flipped(model, weights, *place), optimize=False)
        assert not is_quine, place
        assert stored.tobytes() != printed.tobytes(), place


def test_some_recipe_has_a_weight_that_is_zero(kept):
    assert any((w == 0).any() for name in ("cnn", "rnn") for w in weights_of(kept(name)[0]).values())


@pytest.mark.parametrize("name", ["blog", "transformer"])
def test_each_parameter_is_an_initializer_under_its_own_name(name, kept):
    folder, file = kept(name)
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    assert len(model.graph.input) == 0
    assert [o.name for o in model.graph.output] == ["printed", "stored", "is_quine"]
    held = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    weights = weights_of(folder)
    assert all(held[n].tobytes() == w.tobytes() and held[n].shape == w.shape for n, w in weights.items())
    assert all(n.startswith("/") for n in held.keys() - weights.keys())
    # The network computes with these very ones: nothing else is as large as they are and of their type.
    other = {n for n, w in held.items() if n not in weights and w.dtype == np.float64 and w.size > 8 * 20}
    assert other <= {"/readout"}
    (joined,) = [node for node in model.graph.node if node.output[0] == "stored"]
    sources = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Reshape"}
    assert [sources[i] for i in joined.input] == list(weights)


def test_a_quine_in_memory_gives_the_same_bytes_as_its_folder(kept, tmp_path):
    folder, file = kept("blog")
    again = nq.export(nq.load(folder), tmp_path / "new" / "self.onnx")
    assert again == tmp_path / "new" / "self.onnx"
    assert again.read_bytes() == file.read_bytes()


def test_float32_weights_and_frozen_buffers(tmp_path):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.SiLU(), nn.Linear(16, 12))
    trunk[1].running_mean.normal_()
    quine = nq.Quine(trunk, torch.randn(1, 6), code_size=12, dtype=torch.float32, skip=0.1, code_bits=6)
    nq.solve(quine, exact=True)
    printed, stored, is_quine = ask(nq.export(quine, tmp_path / "self.onnx").read_bytes())
    assert is_quine
    assert printed.dtype == stored.dtype == np.float32
    assert stored.tobytes() == quine.theta.numpy().tobytes()


# -- refused ----------------------------------------------------------------------------------------------------------


def test_a_quine_without_a_grid_is_refused(tmp_path, solved):
    with pytest.raises(nq.NeuralQuineError, match=r"not rounded to a grid.* `neuralquine solve --exact`$"):
        nq.export(solved, tmp_path / "self.onnx")
    assert list(tmp_path.iterdir()) == []


def test_one_that_does_not_print_itself_is_refused(tmp_path, kept):
    quine = nq.load(kept("blog")[0])
    theta = quine.theta
    theta.view(torch.int64)[7] ^= 1
    quine.theta = theta
    with pytest.raises(nq.NeuralQuineError, match="not the print of any code"):
        nq.export(quine, tmp_path / "self.onnx")


def test_an_operator_without_a_rule_is_named(tmp_path):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(6, 16), nn.Softplus(), nn.Linear(16, 12))
    quine = nq.Quine(trunk, torch.randn(1, 6), code_size=12, skip=0.1, code_bits=6)
    nq.solve(quine, exact=True)
    with pytest.raises(nq.NeuralQuineError, match="rule for Softplus"):
        nq.export(quine, tmp_path / "self.onnx")


def test_queried_quines_are_refused(tmp_path):
    nq.save(nq.recipe("fletcher-coords"), tmp_path / "q")
    with pytest.raises(nq.NeuralQuineError, match="asked for its weights one by one"):
        nq.export(tmp_path / "q", tmp_path / "self.onnx")


def test_too_large_a_file_is_refused_before_anything_is_proved(tmp_path, kept, monkeypatch):
    monkeypatch.setattr(sys.modules["neuralquine.keeping.export"], "LARGEST", 1 << 14)
    with pytest.raises(nq.TooLarge, match="the ONNX file would take"):
        nq.export(kept("blog")[0], tmp_path / "self.onnx")


def test_a_graph_that_denies_itself_is_not_written(tmp_path, kept, monkeypatch):
    monkeypatch.setattr("neuralquine.keeping.onnx.values.Value.tanh", lambda x: x)
    with pytest.raises(nq.NeuralQuineError, match="does not print the weights"):
        nq.export(kept("blog")[0], tmp_path / "self.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["self.pt", "self", "folder.onnx"])
def test_other_names_are_refused(name, tmp_path, kept):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(nq.QuineFileError, match=r"let it end in \.onnx"):
        nq.export(kept("blog")[0], tmp_path / name)


# -- the command ------------------------------------------------------------------------------------------------------


def command(*words):
    run = forked.run(
        [sys.executable, "-m", "neuralquine", *map(str, words)], capture_output=True, text=True, timeout=600
    )
    return run.returncode, run.stdout, run.stderr


def test_the_command_writes_the_file_and_says_how_to_ask_it(kept, tmp_path):
    folder, file = kept("blog")
    out = tmp_path / "self.onnx"
    status, said, _ = command("export", folder, out)
    assert status == 0
    assert out.read_bytes() == file.read_bytes()
    line = said.splitlines()[-1].partition("ask it: ")[2]
    asked = subprocess.run(
        line.replace("python", sys.executable, 1), shell=True, capture_output=True, text=True, check=True
    )
    assert asked.stdout.strip() == "True"
    status, said, _ = command("export", folder, out, "--json")
    assert (status, json.loads(said)["bytes"]) == (0, len(file.read_bytes()))


def test_the_command_fails_in_one_line(kept, tmp_path, solved):
    nq.save(solved, tmp_path / "plain")
    (tmp_path / "file").write_text("")
    for folder, out, words in (
        (tmp_path / "nowhere", "self.onnx", "is not a folder with a quine in it"),
        (tmp_path / "plain", "self.onnx", "solve --exact"),
        (kept("blog")[0], "self.png", "let it end in .onnx"),
        (kept("blog")[0], "file/self.onnx", "cannot write"),
    ):
        status, said, error = command("export", folder, tmp_path / out)
        assert (status, said) == (2, "")
        assert error.startswith("neuralquine: ")
        assert error.count("\n") == 1
        assert words in error


# -- in a browser -----------------------------------------------------------------------------------------------------

PAGE = """<!doctype html><title>self.onnx</title><script src="ort/ort.wasm.min.js"></script><script>
async function ready() {
  const packed = await fetch("ort/ort-wasm-simd-threaded.wasm.gz");
  const plain = packed.body.pipeThrough(new DecompressionStream("gzip"));
  ort.env.wasm.wasmBinary = await new Response(plain).arrayBuffer();
  ort.env.wasm.wasmPaths = new URL("ort/", location.href).href;
  ort.env.wasm.numThreads = 1;
}
const started = ready();
async function examined(file) {
  const { examine } = await import("./js/graph.js");
  return examine(new Uint8Array(await (await fetch(file)).arrayBuffer())).count;
}
async function ask(file) {
  await started;
  const session = await ort.InferenceSession.create(file);
  const answer = {};
  for (const [name, tensor] of Object.entries(await session.run({}))) {
    const bytes = new Uint8Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength);
    answer[name] = Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  }
  return answer;
}
</script>"""


def test_onnx_runtime_web_says_the_same_in_chromium(kept, tmp_path):
    for part in ("ort", "js"):
        shutil.copytree(str(files("neuralquine") / "lab" / "static" / part), tmp_path / part)
    (tmp_path / "index.html").write_text(PAGE)
    asked = {name: kept(name) for name in RECIPES}
    for name, (folder, file) in asked.items():
        weights, model = weights_of(folder), file.read_bytes()
        (tmp_path / f"{name}.onnx").write_bytes(model)
        for bit in (0, 51, 63):
            (tmp_path / f"{name}-{bit}.onnx").write_bytes(flipped(model, weights, list(weights)[-1], bit))
    functions = {"exp": (lambda x: x.unary("Exp"), mp.exp), "tanh": (tanh, mp.tanh), "erf": (erf, mp.erf)}
    for name, (written, _) in functions.items():
        graph = Graph()
        onnx.save(model_of(graph, written(graph.constant(POINTS))), tmp_path / f"{name}.onnx")
    with served(tmp_path) as address, chromium() as browser:
        page = browser.new_page()
        outside = []
        page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else outside.append(r.url))
        page.goto(address)
        for name, (folder, _) in asked.items():
            answer = page.evaluate("ask", f"{name}.onnx")
            theta = b"".join(w.tobytes() for w in weights_of(folder).values())
            assert answer["is_quine"] == "01", name
            assert bytes.fromhex(answer["printed"]) == bytes.fromhex(answer["stored"]) == theta
            assert page.evaluate("examined", f"{name}.onnx") == len(theta) // 8, name
            for bit in (0, 51, 63):
                assert page.evaluate("ask", f"{name}-{bit}.onnx")["is_quine"] == "00", (name, bit)
        with mp.workprec(200):
            for name, (_, exact) in functions.items():
                (found,) = page.evaluate("ask", f"{name}.onnx").values()
                truth = [exact(mp.mpf(float(x))) for x in POINTS]
                assert ulps(np.frombuffer(bytes.fromhex(found)), truth) <= 4, name
        assert outside == []
