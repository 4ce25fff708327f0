"""Each kind of addition in one file outside the package: those of CONTRIBUTING.md, used from Python and the command line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden" / "folders"
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
ADDED = {
    re.match(r"# (\w+)\.py\n", text)[1]: text
    for text in re.findall(r"^```py\n(.*?)^```", GUIDE, flags=re.MULTILINE | re.DOTALL)
}


@pytest.fixture
def run(tmp_path):
    """Run Python or the command line in a process that has imported an addition from the working folder, or none."""
    for name, text in ADDED.items():
        (tmp_path / f"{name}.py").write_text(text)

    def run(code, *words, added=None, status=0):
        line = [sys.executable, "-c", f"import {added or 'sys'}\n{code}", *map(str, words)]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == status, done.stderr
        return done

    return run


@pytest.fixture
def command(run):
    def command(*words, added=None, status=0):
        return run("from neuralquine.cli import main; main()", *words, added=added, status=status)

    return command


def refused(done):
    """The one line that says what is not there."""
    (line,) = done.stderr.splitlines()
    assert line.startswith("neuralquine: ")
    return line


def test_every_file_of_the_guide_is_used_here():
    assert set(ADDED) == {"halfway", "cosines", "wide", "leaky", "halved", "mirrored"}
    tests = Path(__file__).read_text()
    assert all(f'"{name}"' in tests.partition("def test_every_file")[2].partition("assert all")[2] for name in ADDED)
    assert all(len(re.findall(r"^\s*[^\s#]", text, flags=re.MULTILINE)) <= 20 for text in ADDED.values())


def test_a_method(command):
    line = ["solve", "rnn", "-r", "skip=0.1", "--method", "halfway", "--json"]
    assert "no method 'halfway'" in refused(command(*line, status=2))
    figures = json.loads(command(*line, added="halfway").stdout)
    assert figures["converged"]
    assert figures["method"] == "halfway"
    listed = json.loads(command("methods", "--json", added="halfway").stdout)["methods"]
    assert "x <- (x + f(x)) / 2" in next(row for row in listed if row["name"] == "halfway")["summary"]


SOLVED = """
import sys, torch, neuralquine as nq
from torch import nn
torch.manual_seed(0)
trunk = nn.Sequential(nn.Linear(8, 24), nn.{activation}(), nn.Linear(24, 16))
quine = {make}(trunk, torch.randn(1, 8, dtype=torch.float64), code_size=16{options})
nq.solve(quine, exact={exact})
nq.save(quine, "q")
print(type(nq.load("q")).__name__, torch.equal(nq.load("q").theta, quine.theta))
"""


def solved(make="nq.Quine", activation="Tanh", options="", exact=False):
    return SOLVED.format(make=make, activation=activation, options=options, exact=exact)


def test_a_printer(run, command):
    code = solved(options=", expansion='cosines'")
    assert "cosines" in run(code, status=1).stderr.splitlines()[-1]
    assert run(code, added="cosines").stdout.split() == ["Quine", "True"]
    assert "cosines" in refused(command("verify", "q", status=2))
    assert json.loads(command("verify", "q", "--json", added="cosines").stdout)["is_quine"]


def test_a_recipe(command):
    assert "no recipe 'wide'" in refused(command("solve", "wide", status=2))
    assert '"wide"' in command("recipes", "--json", added="wide").stdout
    figures = json.loads(command("solve", "wide", "-r", "width=32", "--out", "q", "--json", added="wide").stdout)
    assert figures["recipe"] == "wide"
    assert figures["parameters"] == 8 * 32 + 32 + 32 * 20 + 20
    assert json.loads(command("verify", "q", "--json").stdout)["is_quine"]  # the folder describes its trunk


def test_a_proof_rule(run, command):
    pytest.importorskip("flint")
    run(solved(activation="LeakyReLU", exact=True))
    line = ["verify", "q", "--portable", "--json"]
    assert "no proof rule for LeakyReLU" in refused(command(*line, status=2))
    assert json.loads(command(*line, added="leaky").stdout)["portable"]
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    command("export", "q", "self.onnx", added="leaky")


def test_a_kind_of_damage(command):
    line = ["heal", GOLDEN / "tape", "--damage", "halve:0.5", "--trials", "5", "--json"]
    assert "no damage 'halve'" in refused(command(*line, status=2))
    (figures,) = json.loads(command(*line, added="halved").stdout)["damages"]
    assert (figures["damage"], figures["healed"]) == ("halve", 5)


def test_a_kind_of_quine(run, command):
    code = solved(make="mirrored.Mirrored")
    assert run(code, added="mirrored").stdout.split() == ["Mirrored", "True"]
    assert "mirrored" in refused(command("verify", "q", status=2))
    assert json.loads(command("verify", "q", "--json", added="mirrored").stdout)["is_quine"]
