"""What several rooms of tests share. One thread in every test process: the suite runs two of them side by side."""

import os
import sys

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine import cli

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """No test leaves its last result with the user."""
    os.environ["NQ_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def small():
    """An unsolved quine of 352 weights."""
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16))
    return nq.Quine(trunk, torch.randn(1, 4), code_size=16, seed=0)


@pytest.fixture
def solved():
    """The blog's network of seed 0, solved to round-off."""
    quine = nq.recipe("blog", seed=0)
    nq.solve(quine)
    return quine


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the entry point in this process: (exit status, stdout, stderr)."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["neuralquine", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code or 0, *capsys.readouterr()

    return run
