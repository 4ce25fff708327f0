"""The wheel: what is in it, and that it installs alone into an empty environment whose command answers."""

import email
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import neuralquine as nq

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*words, **options):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(w) for w in words], capture_output=True, text=True, timeout=900, env=environment, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (file,) = folder.iterdir()
    return file


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel):
    assert wheel.name == f"neuralquine-{nq.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if not n.startswith(f"neuralquine-{nq.__version__}.dist-info/")}
    listed = run("git", "ls-files", "src/neuralquine", cwd=ROOT) if (ROOT / ".git").exists() else ""
    expected = {line.removeprefix("src/") for line in listed.splitlines() if (ROOT / line).exists()}
    assert expected <= names
    assert {"neuralquine/py.typed", "neuralquine/lab/static/ort/ort-wasm-simd-threaded.wasm.gz"} <= names
    assert all(n.startswith("neuralquine/") and "__pycache__" not in n for n in names)
    assert wheel.stat().st_size < 10 << 20  # `make wheel` says how large it is


def test_what_the_wheel_says_of_itself(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        data = email.message_from_bytes(archive.read(name))
        licenses = [n for n in archive.namelist() if "/licenses/" in n]
    assert data["Version"] == nq.__version__
    assert data["Requires-Python"] == ">=3.11"
    assert data["License-Expression"] == "Apache-2.0 AND MIT"
    assert len(licenses) == 2  # ours, and that of ONNX Runtime Web
    versions = [c.rpartition(" ")[2] for c in data.get_all("Classifier") if re.search(r"Python :: 3\.\d+", c)]
    assert versions == ["3.11", "3.12", "3.13"]
    assert set(data.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    default = {re.split(r"[<>=!~ ;]", d)[0] for d in data.get_all("Requires-Dist") if "extra ==" not in d}
    assert default == {"numpy", "rich", "safetensors", "scipy", "torch", "typer"}


@pytest.mark.slow
def test_it_installs_alone_and_its_command_answers(wheel, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    bin_ = tmp_path / "venv" / "bin"
    pip = [bin_ / "python", "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "install", "--quiet", "-c", ROOT / "constraints.txt", wheel)
    run(*pip, "check")
    assert run(bin_ / "neuralquine", "--version", cwd=tmp_path).strip() == nq.__version__
    assert "solve" in run(bin_ / "neuralquine", "--help", cwd=tmp_path)
    assert "A quine" in run(bin_ / "neuralquine", "solve", "blog", "--out", "q", cwd=tmp_path)
    assert "q: a quine" in run(bin_ / "neuralquine", "verify", "q", cwd=tmp_path)
    for words, extra in ((["certify", "q"], "proof"), (["plot", "q"], "plot"), (["export", "q", "q.onnx"], "onnx")):
        done = subprocess.run([bin_ / "neuralquine", *words], capture_output=True, text=True, cwd=tmp_path, timeout=600)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert f"pip install 'neuralquine[{extra}] @ file://" in done.stderr
