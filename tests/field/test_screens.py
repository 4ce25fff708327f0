"""Screens, pipes and modules that fail: one line and a fitting exit status, whatever the place that is written to."""

import sys

import pytest
import torch
from torch import nn

import forked
import neuralquine as nq
from field.nets import PROBE, net
from neuralquine.errors import NeuralQuineError

PLACES = {
    "a full device": "os.dup2(os.open('/dev/full', os.O_WRONLY), 1)",
    "a closed pipe": "r, w = os.pipe(); os.close(r); sys.stdout = os.fdopen(w, 'w')",
    "an ASCII screen of 20 columns": (
        "os.environ['COLUMNS'] = '20'; sys.stdout = open(os.dup(1), 'w', encoding='ascii'); "
        "sys.stderr = open(os.dup(2), 'w', encoding='ascii')"
    ),
}
COMMANDS = {
    "recipes": ["recipes"],
    "verify": ["verify", "example:blog-exact"],
    "json": ["verify", "example:blog-exact", "--json"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("place", PLACES)
def test_no_screen_makes_a_traceback(place, command):
    code = f"import os, sys; {PLACES[place]}; sys.argv = ['neuralquine', *{COMMANDS[command]}]\n"
    done = forked.run(
        [sys.executable, "-c", code + "from neuralquine.cli import main; main()"], capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    if place == "a full device":
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "No space left" in done.stderr
    elif place.startswith("an ASCII"):
        assert done.returncode == 0
        assert done.stdout.isascii()
    else:
        assert done.stderr == ""


BROKEN = {
    "syntax": "def make(:",
    "raises on import": "raise RuntimeError('no driver')",
    "a missing key": "{}['a']",
    "a missing file": "open('/nowhere/at/all')",
    "ends the process": "raise SystemExit(3)",
    "raises when asked": "def make(): raise KeyError('a')",
    "makes a number": "def make(): return 5",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_module_of_the_users_that_fails_is_one_line(case, run, tmp_path, monkeypatch):
    name = f"broken_{list(BROKEN).index(case)}"
    (tmp_path / f"{name}.py").write_text(BROKEN[case] + "\n")
    monkeypatch.chdir(tmp_path)
    status, out, err = run("verify", "example:blog-exact", "--trunk", f"{name}:make")
    assert (status, out) == (2, "")
    assert "Error: Invalid value for --trunk: " in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("trunk", [nn.Linear, 3, "net"])
def test_what_is_no_module_is_not_loaded_into(trunk, tmp_path):
    quine = nq.Quine(net(), PROBE, code_size=16, skip=0.1)
    nq.save(quine, tmp_path / "q")
    with pytest.raises(NeuralQuineError) as caught:
        nq.load(tmp_path / "q", trunk=trunk)
    assert "\n" not in str(caught.value)


def test_eight_bits_are_no_weights():
    with pytest.raises(NeuralQuineError):
        nq.verify(nq.Quine(net(), PROBE, code_size=16, dtype=torch.float8_e4m3fn))


def test_what_a_hook_keeps_of_the_last_run_is_no_look_up():
    module, seen = net(), {}
    module.register_forward_hook(
        lambda module, inputs, output: seen.update(out=output.detach()) if output.dim() == 2 else None
    )
    quine = nq.Quine(module, PROBE, code_size=16)
    nq.solve(quine)
    assert nq.verify(quine).trivial == ()


def test_a_recurrent_layers_own_list_of_its_weights_is_no_look_up():
    torch.manual_seed(0)
    layer = nn.LSTM(3, 8)
    quine = nq.Quine(layer, torch.randn(4, 1, 3), code_size=16, select=0, skip=0.1)
    nq.solve(quine)
    quine.trunk._flat_weights = [getattr(quine.trunk, name) for name in quine.trunk._flat_weights_names]
    assert nq.verify(quine).trivial == ()


def test_gains_whose_squares_are_no_numbers_give_a_verdict():
    quine = nq.Quine(net(), PROBE, code_size=16, scales=([0.0] * 4, [1e308] * 4))
    assert not nq.verify(quine).is_quine


def test_zero_is_explained_by_an_option_that_is_somewhere():
    trunk = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Tanh(), nn.Linear(6, 1, bias=False))
    quine = nq.QueryQuine(trunk, "projection", seed=0)
    quine.theta = torch.zeros(quine.parameter_count, dtype=quine.dtype)
    solution = nq.solve(quine, "picard", max_steps=2, starts=1, throw=False)
    assert solution.status is nq.Status.ZERO_QUINE
    assert "normalize=True of nq.Quine" in solution.failure
