"""Somebody's own function in the place of a recipe: found, built, refused in one line, and never run for a file's sake."""

import json
import sys

import pytest
import torch

import neuralquine as nq
from neuralquine.recipes.own import recipe_or_own

FILE = """
import torch
from torch import nn
from {stem}_beside import WIDTH

class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)

def network(width=WIDTH):
    return nn.Sequential(Doubled(4, width), nn.Tanh(), nn.Linear(width, 20))

def make(seed, width=WIDTH):
    return network(width), torch.randn(1, 4)

def plain():
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 12)), torch.ones(1, 4), {{"code_size": 12}}

def quine():
    import neuralquine as nq
    return nq.recipe("blog")

class Itself(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 16)
        self.register_buffer("table", torch.randn(16, 144) / 4)

    def forward(self, z):
        x = torch.tanh(self.layer(z))
        return 2 * (x - x.mean()) @ self.table / x.norm()

def itself():
    return Itself(), torch.randn(1, 8)

def alone():
    return network()

def fails():
    raise KeyError("x")
"""


@pytest.fixture
def own(tmp_path, monkeypatch, request):
    """The file of somebody who has never heard of this package's recipes; modules are known by name, so each has its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    stem = f"own_{abs(hash(request.node.name)) % 10**8}"
    (tmp_path / f"{stem}.py").write_text(FILE.format(stem=stem))
    (tmp_path / f"{stem}_beside.py").write_text("WIDTH = 10\n")
    return f"{stem}.py"


def test_of_a_module_that_prints_itself_no_grid_is_promised(own, run):
    status, out, err = run("solve", f"{own}:itself")
    assert status == 0, out + err
    assert "its output, 144 numbers, is compared with its 144 weights" in out
    assert "--exact" not in out
    status, _, err = run("solve", f"{own}:itself", "--exact")
    assert status == 2
    assert 'prints="code"' in err


def test_a_network_of_ones_own_is_solved_kept_and_verified_by_the_same_name(own, run, tmp_path):
    status, out, err = run("solve", f"{own}:make", "--out", "q", "--seed", 3)
    assert status == 0, out + err
    assert f"recipe               {own}:make, seed 3, 270 weights" in out
    assert f"check it with `neuralquine verify q --trunk {own}:make`" in out
    assert "`--exact` looks for one" in out
    card = (tmp_path / "q" / "README.md").read_text()
    assert f"`neuralquine verify . --trunk {own}:make`" in card
    assert run("verify", "q", "--trunk", f"{own}:make")[0] == 0
    assert (
        run("verify", "q", "--trunk", f"{own.removesuffix('.py')}:network")[0] == 0
    )  # the module alone, by its module
    status, out, err = run("verify", "q")
    assert (status, out) == (2, "")
    assert "--trunk on the command line" in err


def test_what_can_be_described_needs_no_trunk_and_options_go_where_they_are_taken(own, run):
    assert run("solve", f"{own}:plain", "--out", "p", "-r", "skip=0.1")[0] == 0
    assert run("verify", "p")[0] == 0
    assert (
        json.loads(run("solve", f"{own}:make", "-r", "width=12", "--json", "-r", "code_size=18")[1])["parameters"]
        == 320
    )
    assert json.loads(run("solve", f"{own}:quine", "--json")[1])["parameters"] == 1020
    assert run("zoo", f"{own}:plain", "--starts", 4)[0] in (0, 1)


def test_a_seed_makes_the_same_network_again(own):
    one, two, three = (recipe_or_own(f"{own}:make", seed=s).theta for s in (5, 5, 6))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


def test_a_sweep_takes_it_too(own, tmp_path):
    from neuralquine.solving.sweep import run_job

    row = run_job({"recipe": f"{own}:plain", "seed": 1, "options": {"skip": 0.1}})
    assert row["converged"], row


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.py:make", "there is no file nowhere.py"),
        ("{own}:mak", "has no function 'mak'; it defines"),
        ("{own}:alone", "returns a module alone, and no probe: it returns (module, probe)"),
        ("{own}:fails", "gives no module: KeyError: 'x'"),
        ("no_such_module:make", "gives no module: ModuleNotFoundError"),
        ("{own}:", "is not FILE.py:FUNCTION"),
        ("{own}", "name the function in it that makes the network, {own}:FUNCTION"),
    ],
)
def test_what_makes_no_quine_is_refused_in_one_line(own, run, name, message):
    status, out, err = run("solve", name.format(own=own))
    assert (status, out) == (2, "")
    assert message.format(own=own) in err
    assert err.count("\n") == 1


def test_no_file_of_a_quine_runs_what_it_names(own, tmp_path):
    (tmp_path / own).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    quine = nq.recipe("blog")
    nq.solve(quine)
    quine.recipe = {"name": f"{own}:make", "seed": 0}
    nq.save(quine, tmp_path / "q")
    again = nq.load(tmp_path / "q")
    nq.verify(again)
    with pytest.raises(nq.UnknownName):
        nq.recipe(f"{own}:make")
    assert not (tmp_path / "ran").exists()
