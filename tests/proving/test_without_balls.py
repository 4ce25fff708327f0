"""Certificates on an installation without python-flint: what tubes prove holds, and what they cannot tell is not called false."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import neuralquine
from neuralquine.proving.certificate import certify, check
from neuralquine.proving.form import digest
from neuralquine.proving.network import Network
from neuralquine.proving.proofs import krawczyk
from neuralquine.proving.tubes import margins
from neuralquine.proving.verdicts import NotChecked, NotProved

EXAMPLES = Path(neuralquine.__file__).parent / "keeping" / "example_quines"
PROVED = sorted(path.parent.name for path in EXAMPLES.rglob("certificate.json"))


@pytest.fixture
def without_flint(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "flint" else found(name, *more)
    )


def without(*words):
    """Run the command line in a process that has no python-flint."""
    code = "import sys; sys.modules['flint'] = None; from neuralquine.cli import main; main()"
    ran = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120, check=False)
    return ran.returncode, ran.stdout, ran.stderr


def sealed(folder, **changes):
    """Write a certificate with other numbers, its sentence and its seal made to fit."""
    path = folder / "certificate.json"
    certificate = json.loads(path.read_text())
    for key, value in changes.items():
        certificate["claim"] = certificate["claim"].replace(repr(certificate[key]), repr(value))
        certificate[key] = value
    certificate["digest"] = digest(certificate)
    path.write_text(json.dumps(certificate))
    return path


def copied(name, tmp_path):
    shutil.copytree(EXAMPLES / name, tmp_path / name)
    return tmp_path / name


def test_there_are_examples_of_both_kinds_of_proof():
    assert {"blog", "blog-exact"} <= set(PROVED)


@pytest.mark.parametrize("name", PROVED)
def test_the_installed_examples_are_proved_without_any_extra(name):
    """They were certified by balls once, and `verify` called them false claims wherever python-flint was not installed."""
    status, out, error = without("verify", f"example:{name}", "--json")
    found = json.loads(out)
    assert (status, found["proved"], found["false_claims"], found["not_checked"]) == (0, True, [], None), error
    status, out, _ = without("check-proof", f"example:{name}")
    assert status == 0
    assert "proved" in out or "holds" in out


def test_a_margin_that_only_balls_prove_is_not_called_false(tmp_path, without_flint, monkeypatch):
    folder = copied("blog-exact", tmp_path)
    network = Network(folder)
    code = json.loads((folder / "certificate.json").read_text())["code"]
    tube = margins.rounding_margin(network, code, None)
    narrow = tube.margin + 1.3 * tube.error  # as balls gave it
    with pytest.raises(NotChecked, match=r"neuralquine\[proof\]"):
        check(sealed(folder, margin=narrow))
    with pytest.raises(NotProved, match="smaller than claimed") as refused:
        check(sealed(folder, margin=tube.margin + 4 * tube.error))  # which tubes deny by themselves
    assert not isinstance(refused.value, NotChecked)
    monkeypatch.undo()
    with pytest.raises(NotProved, match="smaller than claimed"):
        check(sealed(folder, margin=tube.margin + 2.5 * tube.error))  # asked of balls, which deny it


def test_a_box_that_only_balls_prove_is_not_called_false(tmp_path, monkeypatch):
    folder = copied("blog", tmp_path)
    certificate = certify(folder)
    box = krawczyk(Network(folder), certificate["code_midpoint"], 1e-13)
    assert box.proved
    path = sealed(folder, code_radius=1e-13, theta_radius=box.theta_radius)
    assert check(path)
    found = importlib.util.find_spec
    with monkeypatch.context() as patched:
        patched.setattr(
            importlib.util, "find_spec", lambda name, *more: None if name == "flint" else found(name, *more)
        )
        with pytest.raises(NotChecked):
            check(path)
    status, out, _ = without("verify", str(folder))
    assert status == 0
    assert "not checked: certificate.json: its numbers are too narrow for tubes" in out
    assert "false claim" not in out
    status, out, error = without("check-proof", str(folder), "--json")
    assert (status, json.loads(out)["proved"]) == (1, None)
    assert error.startswith("not checked: ")


def test_a_folder_that_claims_its_proof_is_not_called_a_liar_where_that_cannot_be_checked(tmp_path):
    folder = copied("blog", tmp_path)
    box = krawczyk(Network(folder), certify(folder)["code_midpoint"], 1e-13)
    sealed(folder, code_radius=1e-13, theta_radius=box.theta_radius)
    solution = json.loads((folder / "solution.json").read_text())
    solution["verification"]["proved"] = True
    (folder / "solution.json").write_text(json.dumps(solution))
    status, out, _ = without("verify", str(folder), "--json")
    found = json.loads(out)
    assert (status, found["false_claims"], found["proved"]) == (0, [], None)
    (folder / "certificate.json").unlink()
    status, out, _ = without("verify", str(folder), "--json")
    assert (status, json.loads(out)["false_claims"]) == (1, ["proved is claimed, and is not so"])
