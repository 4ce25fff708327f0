"""The quines that are installed with the package: each is what it is said to be, and none is written to."""

import importlib.util
import shutil
from pathlib import Path

import pytest
import torch

import neuralquine as nq
from neuralquine.keeping.examples import PLACE, located, names

ROOT = Path(__file__).resolve().parents[2]


def made():
    spec = importlib.util.spec_from_file_location("made_examples", ROOT / "benchmarks" / "examples.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_those_are_installed_that_the_script_makes_and_they_are_small():
    assert names() == sorted(made().MADE)
    assert sum(file.stat().st_size for file in PLACE.rglob("*")) < 500_000


@pytest.mark.parametrize("name", names())
def test_each_is_a_quine(name):
    verification = nq.verify(nq.load(f"example:{name}"))
    assert verification.is_quine
    assert verification.bit_exact == (name in ("blog-exact", "healing"))
    assert verification.numbers_outside < verification.parameters


@pytest.mark.parametrize("name", made().PROVED)
def test_the_certificates_hold(name):
    pytest.importorskip("flint")
    assert "exact real arithmetic" in nq.check_proof(f"example:{name}")["claim"]


def test_the_one_that_heals_does():
    quine = nq.load("example:healing")
    healing = nq.heal(quine, nq.Damage("noise", 0.5), trials=5)
    assert healing.all_healed


def test_a_name_that_nothing_has_lists_those_there_are():
    with pytest.raises(nq.UnknownName, match="example:blog, example:blog-exact, example:elman") as caught:
        nq.load("example:bolg")
    assert "\n" not in str(caught.value)
    for address in ("example:", "example:..", "example:../examples.py", "example:/", "example:blog/"):
        with pytest.raises(nq.UnknownName, match="no example"):
            located(address)


def test_they_are_only_read(tmp_path, monkeypatch):
    pytest.importorskip("flint")
    with pytest.raises(nq.QuineFileError, match=r"copy it with `neuralquine pull example:blog-exact DIR`"):
        nq.certify("example:blog-exact")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(located("example:blog"), "example:blog")  # a folder of that name is reached by another path
    assert torch.equal(nq.load("./example:blog").theta, nq.load("example:blog").theta)
