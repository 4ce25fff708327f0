"""Checkpoints of trainings that lie: refused in one line, and nothing is put back by halves."""

import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from neuralquine.errors import QuineFileError
from neuralquine.tasks.checkpoint import Checkpoint

PROBLEM = {"task": "test"}


def trained():
    torch.manual_seed(0)
    parameters = [torch.randn(3, requires_grad=True), torch.randn(2, 2, requires_grad=True)]
    optimizer = torch.optim.Adam(parameters)
    sum(p.square().sum() for p in parameters).backward()
    optimizer.step()
    return parameters, [p.detach().clone() for p in parameters], optimizer


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "q.training"
    Checkpoint(path, PROBLEM, resume=False).keep(*trained(), [{"epoch": 0.0, "loss": 1.0}], 2.0)
    return path


def altered(path, metadata=None, tensors=None):
    with safe_open(path, framework="np") as file:
        held = json.loads(file.metadata()["neuralquine"])
    held |= metadata or {}
    save_file(load_file(path) | (tensors or {}), path, {"neuralquine": json.dumps(held)})


def restored(path):
    parameters, best, optimizer = trained()
    before = [p.detach().clone() for p in parameters]
    with pytest.raises(QuineFileError) as caught:
        Checkpoint(path, PROBLEM, resume=True).restore(parameters, best, optimizer)
    assert str(caught.value).isprintable()
    assert all(torch.equal(p, b) for p, b in zip(parameters, before, strict=True))


def test_it_comes_back(kept):
    assert Checkpoint(kept, PROBLEM, resume=True).restore(*trained()) == ([{"epoch": 0.0, "loss": 1.0}], 2.0)


@pytest.mark.parametrize(
    "metadata",
    [
        *({"seconds": s} for s in (None, "x", [], 10**400, True)),
        *(
            {"history": h}
            for h in (
                None,
                {},
                [],
                [1],
                [[]],
                [{"epoch": 0.0, "loss": "x"}],
                [{"epoch": 0.0, "loss": 10**400}],
                [{}, {"epoch": 0.0, "loss": 1.0}],
            )
        ),
    ],
)
def test_malformed_figures(metadata, kept):
    altered(kept, metadata)
    restored(kept)


@pytest.mark.parametrize(
    "tensors",
    [
        *({"now.1": torch.zeros(s)} for s in ((2,), (4,), (2, 2, 1))),
        {"now.0": torch.zeros(3, dtype=torch.int64)},
        {"exp_avg.1": torch.zeros(2, 2).to(torch.float8_e4m3fn)},
        {"best.0": torch.full((3,), torch.nan)},
        {"step.0": torch.zeros(1)},
        {"now.1": torch.zeros(2, 2, dtype=torch.complex64)},
    ],
)
def test_tensors_that_do_not_fit(tensors, kept):
    altered(kept, tensors=tensors)
    restored(kept)


def test_nesting_and_a_missing_tensor(kept):
    tensors = load_file(kept)
    save_file(tensors, kept, {"neuralquine": "[" * 100_000})
    restored(kept)
    Checkpoint(kept, PROBLEM, resume=False).keep(*trained(), [{"epoch": 0.0, "loss": 1.0}], 2.0)
    with safe_open(kept, framework="np") as file:
        metadata = file.metadata()
    tensors.pop("step.1")
    save_file(tensors, kept, metadata)
    restored(kept)


def test_a_pipe_is_no_checkpoint(tmp_path):
    os.mkfifo(tmp_path / "q.training")
    with pytest.raises(QuineFileError, match="not a file"):
        Checkpoint(tmp_path / "q.training", PROBLEM, resume=True)
