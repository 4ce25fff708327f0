"""The command line on queried quines, as a process."""

import json
import signal
import sys
import time

import pytest
import torch

import forked
import neuralquine as nq


def run(*arguments, code=0):
    done = forked.run(
        [sys.executable, "-m", "neuralquine", *arguments], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("queried") / "q"
    solved = json.loads(run("solve", "queried-121", "--seed", "1", "--json", "--out", str(out)))
    assert solved["converged"]
    assert solved["relative_residual"] < 1e-14
    assert solved["weight_rms"] > 0.01
    return out


def test_a_kept_quine_is_verified_from_its_file(folder):
    found = json.loads(run("verify", str(folder), "--json"))
    assert found["status"] == "quine"
    assert found["numbers_outside"] == 0
    assert found["false_claims"] == []
    card = (folder / "README.md").read_text()
    assert "projection queries, made again from seed 1" in card
    assert "expansion" not in card


def test_it_is_looked_at_like_any_other(folder):
    assert json.loads(run("spectrum", str(folder), "--json"))["spectral_radius"] > 1
    assert json.loads(run("generations", str(folder), "-n", "100", "--json", code=1))["survived"] < 100
    run("plot", str(folder))
    assert (folder / "figures").is_dir() or list(folder.glob("**/*.png"))


def test_what_it_cannot_be_is_said(folder):
    done = forked.run(
        [sys.executable, "-m", "neuralquine", "solve", "fletcher-coords", "--seed", "2", "--exact", "--starts", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "hopeless" in done.stdout + done.stderr


def test_a_search_killed_in_the_middle_goes_on(tmp_path):
    out = str(tmp_path / "q")
    # Anderson's method solves none of these starts, and leaves each in a moment.
    hopeless = ["-r", "activation=relu", "--method", "anderson", "--starts", "5000"]
    command = ["solve", "queried-121", *hopeless, "--out", out]
    journal = tmp_path / "q.journal"
    with forked.Forked([sys.executable, "-m", "neuralquine", *command], capture_output=True) as process:
        while process.poll() is None and not (journal.exists() and journal.stat().st_size > 10_000):
            time.sleep(0.05)
        assert process.kill() == -signal.SIGKILL
    done = forked.run(
        [sys.executable, "-m", "neuralquine", *command, "--resume", "--time-limit", "3", "--json"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert int(done.stderr.split("resuming after ")[1].split()[0]) >= 5
    said = json.loads(done.stdout)
    assert said["status"] == "time_limit"
    assert journal.exists()  # a time limit is no end
    assert not nq.verify(nq.load(out)).is_quine
    assert torch.isfinite(nq.load(out).theta).all()
