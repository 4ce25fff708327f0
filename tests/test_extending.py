"""Each kind of addition in one file outside the package: those of CONTRIBUTING.md, used from Python and the command line."""

import json
import re
import sys
from pathlib import Path

import pytest

import forked

ROOT = Path(__file__).resolve().parents[1]
TAPE = str(ROOT / "tests" / "golden" / "folders" / "tape")
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
ADDED = {
    re.match(r"# (\w+)\.py\n", text)[1]: text
    for text in re.findall(r"^```py\n(.*?)^```", GUIDE, flags=re.MULTILINE | re.DOTALL)
}

COMMANDS = """
import contextlib, io, json, sys
from neuralquine.cli import main

for words in json.loads(sys.argv[1]):
    sys.argv = ["neuralquine", *words]
    out, messages, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(messages):
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
    print(json.dumps([status, out.getvalue(), messages.getvalue()]))
"""

SOLVED = """
import sys, torch, neuralquine as nq
from torch import nn
import forked

torch.manual_seed(0)
trunk = nn.Sequential(nn.Linear(8, 24), nn.{activation}(), nn.Linear(24, 16))
quine = {make}(trunk, torch.randn(1, 8, dtype=torch.float64), code_size=16, {options})
nq.solve(quine, exact={exact})
nq.save(quine, "q")
assert type(nq.load("q")) is type(quine)
assert torch.equal(nq.load("q").theta, quine.theta)
"""


def solved(make="nq.Quine", activation="Tanh", options="", exact=False):
    """Code that solves a quine of a small network and keeps it in the folder ``q``."""
    return SOLVED.format(make=make, activation=activation, options=options, exact=exact)


@pytest.fixture
def run(tmp_path):
    """Run command lines, after some code, in one process that has imported an addition or none.

    What it returns for each line: the JSON that it printed, or, of bad input, the one line of the refusal.
    """
    for name, text in ADDED.items():
        (tmp_path / f"{name}.py").write_text(text)

    def run(added, *lines, code=""):
        whole = "\n".join([f"import {added}" if added else "", code, COMMANDS])
        done = forked.run(
            [sys.executable, "-c", whole, json.dumps(lines)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answers = []
        for status, out, messages in map(json.loads, done.stdout.splitlines()):
            if status == 2:
                (line,) = messages.splitlines()
                assert line.startswith("neuralquine: ")
            answers.append(line if status == 2 else json.loads(out))
        return answers

    run.folder = tmp_path
    return run


METHOD = ["solve", "rnn", "-r", "skip=0.1", "--method", "halfway", "--json"]
RECIPE = ["solve", "wide", "-r", "width=32", "--out", "w", "--json"]
DAMAGE = ["heal", TAPE, "--damage", "halve:0.5", "--trials", "5", "--json"]
VERIFY = ["verify", "q", "--json"]
PORTABLE = ["verify", "q", "--portable", "--json"]


def test_every_file_of_the_guide_is_used_here_and_short():
    assert set(ADDED) == {"halfway", "cosines", "wide", "leaking", "halved", "mirrored"}
    assert all(len([line for line in text.splitlines() if line.strip()]) <= 20 for text in ADDED.values())


def test_without_the_files_none_of_the_names_is_known(run):
    method, recipe, damage = run(None, METHOD, RECIPE, DAMAGE)
    assert "no method 'halfway'" in method
    assert "no recipe 'wide'" in recipe
    assert "no damage 'halve'" in damage


def test_a_method(run):
    figures, listed = run("halfway", METHOD, ["methods", "--json"])
    assert figures["converged"]
    assert figures["method"] == "halfway"
    assert "x <- (x + f(x)) / 2" in next(row["summary"] for row in listed["methods"] if row["name"] == "halfway")


def test_a_printer(run):
    (figures,) = run("cosines", VERIFY, code=solved(options="expansion='cosines'"))
    assert figures["is_quine"]
    (refusal,) = run(None, VERIFY)
    assert "not 'cosines'" in refusal  # a list of those that there are


def test_a_recipe(run):
    listed, figures = run("wide", ["recipes", "--json"], RECIPE)
    assert "wide" in [row["name"] for row in listed["recipes"]]
    assert figures["recipe"] == "wide"
    assert figures["parameters"] == 8 * 32 + 32 + 32 * 20 + 20
    (again,) = run(None, ["verify", "w", "--json"])  # the folder describes its trunk
    assert again["is_quine"]


def test_a_proof_rule_and_the_graph_that_comes_with_it(run):
    pytest.importorskip("flint")
    (refusal,) = run(None, PORTABLE, code=solved(activation="RReLU", exact=True))
    assert "no proof rule for RReLU" in refusal
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    figures, exported = run("leaking", PORTABLE, ["export", "q", "self.onnx", "--json"])
    assert figures["portable"]
    assert exported


def test_a_kind_of_damage(run):
    ((figures,),) = (answer["damages"] for answer in run("halved", DAMAGE))
    assert (figures["damage"], figures["healed"]) == ("halve", 5)


def test_help_lists_a_kind_of_damage_from_outside(run):
    code = "import sys\nfrom neuralquine.cli import main\nsys.argv = ['neuralquine', 'heal', '--help']\nmain()"
    for added in ("import halved\n", ""):
        done = forked.run(
            [sys.executable, "-c", added + code], cwd=run.folder, capture_output=True, text=True, timeout=600
        )
        assert ("\n  halve " in done.stdout) == bool(added)


def test_a_kind_of_quine(run):
    (figures,) = run("mirrored", VERIFY, code=solved(make="mirrored.Mirrored"))
    assert figures["is_quine"]
    (refusal,) = run(None, VERIFY)
    assert "mirrored" in refusal
