"""Files that lie, end early, or ask for the moon: one clear error line, or an honest verdict; never a wrong quine."""

import contextlib
import hashlib
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

import forked
import neuralquine as nq

FILES = ("model.safetensors", "config.json", "solution.json")


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    quine = nq.recipe("blog", seed=0)
    nq.solve(quine)
    folder = tmp_path_factory.mktemp("honest") / "q"
    nq.save(quine, folder)
    return folder


@pytest.fixture
def folder(honest, tmp_path):
    return shutil.copytree(honest, tmp_path / "q")


def refused(folder):
    """``load`` says so in one line and nothing else escapes."""
    with pytest.raises(nq.QuineFileError) as caught:
        nq.load(folder)
    assert str(caught.value).isprintable()
    return str(caught.value)


def _json(config):
    """Canonical, but for numbers that are none: JSON's own spelling of infinity, which our writer refuses to write."""
    return json.dumps(config, sort_keys=True, separators=(",", ":")).replace("Infinity", "1e400")


def forge(folder, change):
    """Change the configuration as a careful liar would: inside and outside, with a hash that fits."""
    path = folder / "model.safetensors"
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    config = json.loads(header["__metadata__"]["neuralquine"])
    change(config)
    header["__metadata__"]["neuralquine"] = _json(config)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    stated = config | {"weights_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    (folder / "config.json").write_text(_json(stated))


def run_verify(folder, *options, **limits):
    command = [sys.executable, "-m", "neuralquine", "verify", str(folder), *options]
    run = subprocess.run if limits else forked.run
    return run(command, capture_output=True, text=True, check=False, timeout=600, **limits)


# -- cut and altered ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES[:2])
def test_truncated(name, honest, folder):
    data = (honest / name).read_bytes().rstrip()  # a last line may end or not
    for length in {0, 1, 7, 8, 9, 100, len(data) // 2, len(data) - 100, len(data) - 1}:
        (folder / name).write_bytes(data[:length])
        refused(folder)


def test_every_flipped_bit_of_the_weights_file_is_seen(honest, folder):
    data = bytearray((honest / "model.safetensors").read_bytes())
    for position in range(0, 8 * len(data), 997):
        data[position // 8] ^= 1 << position % 8
        (folder / "model.safetensors").write_bytes(data)
        assert "altered or cut short" in refused(folder)
        data[position // 8] ^= 1 << position % 8


def test_a_flipped_bit_of_the_configuration_is_seen_or_changes_nothing(honest, folder):
    data = bytearray((honest / "config.json").read_bytes())
    theta = nq.load(honest).theta
    for position in range(0, 8 * len(data), 101):
        data[position // 8] ^= 1 << position % 8
        (folder / "config.json").write_bytes(data)
        with contextlib.suppress(nq.QuineFileError):
            assert torch.equal(nq.load(folder).theta, theta)  # blanks may be other blanks
        data[position // 8] ^= 1 << position % 8


@pytest.mark.parametrize("name", FILES[:2])
def test_missing(name, folder):
    (folder / name).unlink()
    assert "is missing" in refused(folder)


def test_weights_of_another_quine(folder, tmp_path):
    other = nq.recipe("blog", seed=1)
    nq.solve(other)
    nq.save(other, tmp_path / "other")
    shutil.copy(tmp_path / "other/model.safetensors", folder / "model.safetensors")
    refused(folder)


def test_weights_altered_by_a_careful_liar_are_no_quine(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1 - 8 * 250] ^= 0x80  # the sign of one weight
    path.write_bytes(data)
    forge(folder, lambda config: None)
    found = run_verify(folder, "--json")
    assert found.returncode == 1
    answer = json.loads(found.stdout)
    assert answer["is_quine"] is False
    assert any("is_quine is claimed" in lie for lie in answer["false_claims"])


@pytest.mark.parametrize(
    "claim", [b"{", b"[]", b"{}", b'{"verification": 3}', b"\xff\xfe", b'{"solve": {"trace": [1]}}']
)
def test_a_broken_report_is_never_believed(claim, folder):
    (folder / "solution.json").write_bytes(claim)
    found = run_verify(folder)
    assert "Traceback" not in found.stderr
    assert found.returncode in (0, 2)


# -- bombs ----------------------------------------------------------------------------------------------------------

BOMBS = {
    "nesting": "[" * 100_000,
    "huge integer": '{"format": 1' + "0" * 10_000 + "}",
    "NaN": '{"format": NaN}',
    "a key twice": '{"format": 1, "format": 1}',
    "not UTF-8": b"\xff\xfe\x00",
    "a list": "[]",
    "pickle": b"\x80\x04\x95",
    "seventeen megabytes": " " * (17 << 20),
}


@pytest.mark.parametrize("name", BOMBS)
def test_json_bombs(name, folder):
    bomb = BOMBS[name]
    (folder / "config.json").write_bytes(bomb if isinstance(bomb, bytes) else bomb.encode())
    refused(folder)


HEADERS = {
    "longer than the file": struct.pack("<Q", 1 << 60) + b"{}",
    "empty": b"",
    "offsets beyond the end": b'{"a": {"dtype": "F64", "shape": [9], "data_offsets": [0, 72]}}',
    "overlapping": b'{"a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}, "b": {"dtype": "F64", "shape": [1], "data_offsets": [4, 12]}}',
    "huge shape": b'{"a": {"dtype": "F64", "shape": [9223372036854775807, 9], "data_offsets": [0, 8]}}',
    "pickle": b"\x80\x04cos\nsystem\n",
}


@pytest.mark.parametrize("name", HEADERS)
def test_lying_headers(name, folder):
    body = HEADERS[name]
    data = (
        body if name in ("longer than the file", "empty", "pickle") else struct.pack("<Q", len(body)) + body + bytes(8)
    )
    (folder / "model.safetensors").write_bytes(data)
    config = json.loads((folder / "config.json").read_text())
    config["weights_sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder)


def first_layer(**arguments):
    def change(config):
        config["trunk"]["children"][0][1]["arguments"] |= arguments

    return change


def of_recipe(name, **options):
    return lambda config: config.update(trunk=None, recipe={"name": name, "seed": 0, **options})


def many(kind, count, **arguments):
    children = [[str(i), {"type": kind, "arguments": arguments}] for i in range(count)]
    return lambda config: config["trunk"].update(children=children)


FORGERIES = {
    "a billion units": first_layer(out_features=10**9),
    "a million million units": first_layer(in_features=10**12),
    "a huge code": lambda config: config.update(code_size=1 << 20),
    "a huge code, structured": lambda config: config.update(code_size=1 << 20, expansion="hadamard"),
    "an unknown expansion": lambda config: config.update(expansion="magic"),
    "a negative seed": lambda config: config.update(seed=-1),
    "a class of the system": lambda config: config["trunk"]["children"][0][1].update(type="os.system"),
    "a path as a tensor": lambda config: config["tensors"].__setitem__(0, ["../../etc/passwd", [20, 8]]),
    "no weights": lambda config: config.update(tensors=[]),
    "weights that are kept, not printed": lambda config: config.update(kept=[name for name, _ in config["tensors"]]),
    "a recipe of another size": lambda config: config.update(trunk=None, recipe={"name": "gpt2", "seed": 0}),
    "a recipe of absurd size": lambda config: config.update(
        trunk=None, recipe={"name": "gpt2", "seed": 0, "layers": 1 << 40}
    ),
    "a recipe that does not exist": lambda config: config.update(trunk=None, recipe={"name": "os.system", "seed": 0}),
    "an infinite gain": lambda config: config.update(gains=[1e400] * len(config["gains"])),
    "too few gains": lambda config: config.update(gains=config["gains"][:1]),
    "another type": lambda config: config.update(dtype="object"),
    "probes without end": lambda config: config.update(probe=10**9),
    "a recipe of a million layers": of_recipe("gpt2", layers=1_000_000),
    "a transformer of a million layers": of_recipe("transformer", layers=1_000_000),
    "a queried network of a million layers": of_recipe("chang-lipson", layers=1_000_000),
    "a thousand transformers of a thousand layers": many(
        "neuralquine.CausalTransformer", 1000, vocabulary=4, width=4, layers=1000, heads=1
    ),
    "nine thousand recurrent networks of a thousand layers": many(
        *("RNN", 9000), input_size=1, hidden_size=1, num_layers=1000, bias=True, batch_first=True, dropout=0.0,
        bidirectional=False, nonlinearity="tanh"
    ),
    "a code of a quarter of a million": lambda config: config.update(code_size=250_000),
    "a code of a hundred thousand on a grid": lambda config: config.update(code_size=131_000, code_bits=8),
    "a code that takes an hour to decompose": lambda config: config.update(code_size=8000),
    "eps of 400 digits": lambda config: config.update(eps=10**400),
    "a mean of 400 digits": lambda config: config.update(means=[-(10**400)] * 6),
    "gains whose squares are none": lambda config: config.update(gains=[1e308] * 6),
    "a type that is a list": lambda config: config["trunk"].update(type=[]),
    "a recipe whose name is a list": lambda config: config.update(trunk=None, recipe={"name": [], "seed": 0}),
    "a kept weight that is not there": lambda config: config.update(kept=["nope"]),
    "a class with newlines": lambda config: config.update(
        trunk=None, recipe=None, trunk_class="a.X\nneuralquine: verified, a quine\n\x1b[2K"
    ),
    "a layer with newlines": lambda config: config["trunk"]["children"][0].__setitem__(0, "0\nverified"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_configurations(name, folder):
    forge(folder, FORGERIES[name])
    started = time.process_time()
    refused(folder)
    assert time.process_time() - started < 20


def test_an_absurd_size_is_refused_before_memory_is_taken(folder):
    forge(folder, first_layer(out_features=10**9))

    def four_gib():
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    found = run_verify(folder, preexec_fn=four_gib)
    assert found.returncode == 2
    assert len(found.stderr.strip().splitlines()) == 1
    assert "Traceback" not in found.stderr


IMAGES = {
    "paddings that add up": lambda config: [
        m["arguments"].update(padding=[1024, 1024]) for _, m in config["trunk"]["children"][:6]
    ],
    "a pool of a million million outputs": lambda config: config["trunk"]["children"][6][1]["arguments"].update(
        output_size=[10**6, 10**6]
    ),
}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    torch.manual_seed(0)
    layers = [*(nn.Conv2d(1, 1, 1) for _ in range(6)), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    folder = tmp_path_factory.mktemp("image") / "q"
    nq.save(nq.Quine(nn.Sequential(*layers), torch.randn(1, 1, 2, 2), code_size=4), folder)
    return folder


@pytest.mark.parametrize("name", IMAGES)
def test_images_that_grow_without_end(name, image, tmp_path):
    folder = shutil.copytree(image, tmp_path / "q")
    forge(folder, IMAGES[name])
    started = time.process_time()
    assert "allow for" in refused(folder)
    assert time.process_time() - started < 20


@pytest.mark.parametrize("kind", ["I64", "U64", "F8_E4M3", "C64", "BF16", "F32"])
def test_weights_in_a_type_that_is_not_theirs(kind, folder):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    entry = header["trunk.0.bias"]
    wide = {"F8_E4M3": 1, "BF16": 2, "F32": 4}.get(kind, 8)
    entry["dtype"], rest = kind, 20 * (8 - wide)
    cut = 8 + length + entry["data_offsets"][1] - rest
    for name, other in header.items():
        if name != "__metadata__" and other["data_offsets"][0] >= entry["data_offsets"][1]:
            other["data_offsets"] = [o - rest for o in other["data_offsets"]]
    entry["data_offsets"][1] -= rest
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length : cut] + data[cut + rest :])
    forge(folder, lambda config: None)
    assert "0.bias as" in refused(folder)


def test_a_derivative_without_end_does_not_end_the_interpreter():
    script = (
        "import torch, neuralquine as nq\n"
        "trunk = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 6))\n"
        "for gain in (1e155, 1e250, 1e308):\n"
        "    q = nq.Quine(trunk, torch.randn(1, 4), code_size=6, scales=([0.0] * 4, [gain] * 4))\n"
        "    print(nq.verify(q).is_quine, nq.spectrum(q).spectral_radius)\n"
    )
    done = forked.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("False") == 3


# -- what a proof is asked about ------------------------------------------------------------------------------------

PROOFS = (("certify", "q"), ("digits", "q"), ("check-proof", "q/certificate.json"), ("export", "q", "q.onnx"))


def test_what_loading_refuses_or_an_evaluation_denies_is_not_proved(honest, tmp_path, monkeypatch, capsys):
    pytest.importorskip("flint")
    from neuralquine import cli

    shutil.copytree(honest, tmp_path / "q")
    nq.save(nq.recipe("blog", seed=0), tmp_path / "q")  # not solved
    (tmp_path / "q/certificate.json").write_text("{}")
    shutil.copytree(tmp_path / "q", tmp_path / "odd")
    forge(tmp_path / "odd", first_layer(in_features=7, bias=False))
    monkeypatch.chdir(tmp_path)
    for command, folder, *rest in PROOFS:
        for name in ("q", "odd"):
            monkeypatch.setattr(sys, "argv", ["neuralquine", command, folder.replace("q", name, 1), *rest])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            said = capsys.readouterr().err
            assert ended.value.code == (1 if name == "q" and command != "export" else 2), (command, name, said)
            assert len(said.strip().splitlines()) == 1, (command, name, said)
            assert not (tmp_path / "q.onnx").exists()


# -- what is no file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES[:2])
def test_a_fifo_does_not_hang(name, folder):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    found = run_verify(folder)
    assert found.returncode == 2
    assert len(found.stderr.strip().splitlines()) == 1


def test_an_empty_folder_and_none(tmp_path):
    refused(tmp_path)
    refused(tmp_path / "nowhere")


def test_a_foreign_folder_is_not_overwritten(honest, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(nq.QuineFileError, match=r"thesis\.tex"):
        nq.save(nq.load(honest), tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


# -- writing on a bad day -------------------------------------------------------------------------------------------

SAVER = """
import sys, neuralquine as nq
one, two = nq.load(sys.argv[1]), nq.load(sys.argv[2])
while True:
    nq.save(one, sys.argv[3])
    nq.save(two, sys.argv[3])
"""


def test_kill_9_while_saving_leaves_the_old_quine_or_the_new(honest, tmp_path):
    other = nq.recipe("blog", seed=1)
    nq.solve(other)
    nq.save(other, tmp_path / "other")
    whole = [nq.load(honest).theta, other.theta]
    for moment in (0.0, 0.013, 0.05, 0.11):
        command = [sys.executable, "-c", SAVER, honest, tmp_path / "other", tmp_path / "target"]
        with forked.Forked(command) as saver:
            while saver.poll() is None and not (tmp_path / "target").exists():
                time.sleep(0.01)
            time.sleep(moment)
            assert saver.kill() == -signal.SIGKILL
        found = nq.load(tmp_path / "target").theta
        assert any(torch.equal(found, theta) for theta in whole)
    nq.save(other, tmp_path / "target")
    assert torch.equal(nq.load(tmp_path / "target").theta, other.theta)


def test_a_full_disk_keeps_the_old_quine(honest, tmp_path):
    shutil.copytree(honest, tmp_path / "q")
    script = (
        "import resource, sys, neuralquine as nq\n"
        "quine = nq.recipe('blog', seed=1); nq.solve(quine)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: nq.save(quine, sys.argv[1])\n"
        "except nq.QuineFileError as error: print(error)\n"
    )
    done = forked.run([sys.executable, "-c", script, str(tmp_path / "q")], capture_output=True, text=True)
    assert "cannot write" in done.stdout, done.stderr
    assert torch.equal(nq.load(tmp_path / "q").theta, nq.load(honest).theta)
    assert [f.name for f in tmp_path.iterdir()] == ["q"]
