"""What several rooms of tests share. One thread in every test process: the suite runs two of them side by side."""

import copy
import functools
import gc
import itertools
import signal
import sys

import pytest
import typer.main

import neuralquine as nq
from neuralquine import cli
from neuralquine.cli.group import App

gc.disable()  # until everything is collected
# Every command line would make all commands anew, of the same functions, which takes as long as many a test.
_made = functools.cache(typer.main.get_command)
App.__call__ = lambda app, *words, **options: _made(app)(*words, **options)
# A suite in the background may have been told to ignore what its tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


# The files that take longest, the longest first: a worker that begins one of them last would be waited for.
LONGEST = (
    *("page", "docs", "queried_search", "recipes", "export", "commands", "certificate", "methods"),
    *("site", "rules", "networks", "training", "sharded", "life", "journal", "play"),
    *("agreement", "golden", "files", "zoo", "verbs", "stack", "honest", "hub"),
    *("plots", "solve", "streams", "exact", "counting", "sweep"),
)


def pytest_collection_modifyitems(items):
    """Order the files by how long they take, and leave the tests of a file in their order."""
    place = {f"test_{name}": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_collection_finish():
    """What was imported stays: nobody looks through it for garbage again, nor for what a test leaves after every line."""
    import torch  # not above: the process that hands the tests out runs none of them

    torch.set_num_threads(1)
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


@pytest.fixture(scope="session")
def _caches(tmp_path_factory):
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(autouse=True)
def _cache(_caches, monkeypatch):
    """No test leaves its last result with the user, nor, by a process that outlives it, with another test."""
    monkeypatch.setenv("NQ_CACHE_DIR", str(_caches / str(next(_numbers))))


_numbers = itertools.count()


@pytest.fixture
def small():
    """An unsolved quine of 352 weights."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16))
    return nq.Quine(trunk, torch.randn(1, 4), code_size=16, seed=0)


@pytest.fixture(scope="session")
def _solved_once():
    quine = nq.recipe("blog", seed=0)
    nq.solve(quine)
    return quine


@pytest.fixture
def solved(_solved_once):
    """The blog's network of seed 0, solved to round-off; each test may do with its own what it likes."""
    return copy.deepcopy(_solved_once)


@pytest.fixture(scope="session")
def exact_blog():
    """A function that gives the blog's network of seed 0 with every bit printed, each time another copy of it."""
    quine = nq.recipe("blog", seed=0)
    nq.solve(quine, exact=True)
    return lambda: copy.deepcopy(quine)


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
