"""What an older version wrote is read, printed, verified, written again and resumed to the same numbers."""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import forked
import neuralquine as nq
from neuralquine.proving.verbs import portability

HERE = Path(__file__).resolve().parent
FOLDERS = HERE / "folders"
EXPECTED = json.loads((FOLDERS / "expected.json").read_text())
JOURNALS = {
    "blog": ["blog", "--seed", "5", "--starts", "3"],
    "exact": ["blog", "--seed", "5", "--exact"],
    "queried": ["queried-121", "--seed", "5"],
}
MADE_BY = "2.13.0+cpu"  # the torch of the journals' fingerprints


class Two(nn.Module):
    """The module of the folder ``foreign``, which no file can describe."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 12), nn.Linear(12, 12)

    def forward(self, left, right):
        return {"out": self.b(torch.tanh(self.a(left))) + right}


Two.__module__ = "__main__"  # as it was when the folder was written: the configuration holds the name


def load(name, where=FOLDERS):
    return nq.load(where / name, trunk=Two() if name == "foreign" else None)


def digest(theta):
    """SHA-256 of the weights' bytes, whatever their type."""
    return hashlib.sha256(theta.detach().contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


def test_every_folder_is_expected():
    assert {p.name for p in FOLDERS.iterdir() if p.is_dir()} == set(EXPECTED)
    assert {p.stem for p in (HERE / "journals").glob("*.journal")} == set(JOURNALS)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_folder_holds_and_prints_the_same_weights(name):
    quine, expected = load(name), EXPECTED[name]
    assert type(quine).__name__ == expected["kind"]
    assert digest(quine.theta) == expected["theta"]
    printed = quine.printed()
    if expected["verification"]["bit_exact"]:
        assert digest(printed) == expected["printed"]
    elif expected["verification"]["converged"]:  # the last bits are the machine's
        difference = torch.linalg.vector_norm(printed - quine.theta) / torch.linalg.vector_norm(quine.theta)
        assert difference <= 40 * torch.finfo(quine.dtype).eps


@pytest.mark.parametrize("name", EXPECTED)
def test_a_folder_is_verified_in_the_same_words(name):
    figures, expected = nq.verify(load(name)).figures(), EXPECTED[name]["verification"]
    if not expected["bit_exact"]:  # how many bits differ, and for how long, is the machine's
        expected = {k: v for k, v in expected.items() if k not in _MACHINE}
    for said in (figures := figures.copy(), expected := expected.copy()):
        said["trivial"] = [trick.partition(":")[0] for trick in said["trivial"]]  # what was seen is said in newer words
    assert {word: figures[word] for word in expected} == expected


_MACHINE = ("differing_weights", "max_ulp", "generations_survived")


@pytest.mark.parametrize("name", EXPECTED)
def test_a_folder_is_saved_again_as_the_same_bytes(name, tmp_path):
    nq.save(load(name), tmp_path / name)
    old, new = (json.loads((folder / name / "config.json").read_text()) for folder in (FOLDERS, tmp_path))
    if old["neuralquine"] == nq.__version__:
        assert new == old
        weights = "model.safetensors"
        assert (tmp_path / name / weights).read_bytes() == (FOLDERS / name / weights).read_bytes()
    else:  # the version stands in the configuration, and that in the weights' file
        for key in ("neuralquine", "weights_sha256"):
            del new[key], old[key]
        assert new == old
        assert digest(load(name, tmp_path).theta) == EXPECTED[name]["theta"]


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if expected.get("portable")])
def test_a_folder_is_proved_portable_again(name):
    pytest.importorskip("flint")
    assert portability(FOLDERS / name).proved


@pytest.mark.parametrize("name", JOURNALS)
def test_a_search_is_resumed_to_the_same_figures(name, tmp_path):
    if torch.__version__ != MADE_BY:
        pytest.skip(f"the journals were written with torch {MADE_BY}, this is {torch.__version__}")
    if digest(load("blog").printed()) != EXPECTED["blog"]["printed"]:
        pytest.skip("the journals were written on a processor that adds up in another order")
    journal = tmp_path / f"{name}.journal"
    shutil.copy(HERE / "journals" / journal.name, journal)
    line = ["solve", *JOURNALS[name], "--out", name, "--resume", "--json"]
    run = forked.run(
        [sys.executable, "-m", "neuralquine", *line],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if name == "exact":  # the exact search is another one now
        assert run.returncode == 2
        assert run.stderr.splitlines()[-1].endswith("written by another run of this search: start without --resume")
        assert journal.read_bytes() == (HERE / "journals" / journal.name).read_bytes()
        return
    assert run.returncode == 0, run.stderr
    assert f"of {journal.name}" in run.stderr  # it was read: "resuming after 6 evaluations of blog.journal"
    figures, expected = json.loads(run.stdout), json.loads((HERE / "journals" / f"{name}.json").read_text())
    assert {key: figures[key] for key in expected} == expected
    assert not journal.exists()
