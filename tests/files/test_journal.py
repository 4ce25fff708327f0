"""A killed search goes on where it stopped and finds the same bits."""

import hashlib
import math
import os
import shutil
import signal
import struct
import sys
import time
import zlib
from pathlib import Path

import pytest
import torch
from torch import nn

import forked
import neuralquine as nq
from neuralquine.files.journal import Journal
from neuralquine.solving.loop import Stop

PROBLEM = {"recipe": "blog", "seed": 0}


def solved(path, *, resume, method=None, make=lambda: nq.recipe("blog", seed=0), **options):
    quine = make()
    with Journal(path, PROBLEM, resume=resume) as journal:
        recorded = journal.recorded
        solution = nq.solve(quine, method, journal=journal, throw=False, **options)
    return recorded, solution, quine.theta


COSTLY = {"newton-full", "newton-krylov"}  # each step is worth many of another method


def tiny():
    """Of 112 weights, for these."""
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8))
    return nq.Quine(trunk, torch.randn(1, 4), code_size=8, seed=0)


@pytest.mark.parametrize(
    "method",
    [None, "newton", "anderson", "newton-krylov", "deflation", "rmsprop", "adam", "regeneration", "newton-full"],
)
def test_a_search_cut_anywhere_is_resumed_to_the_same_bits(method, tmp_path):
    options = {"stop": Stop(max_steps=12), "starts": 2} if method else {}
    options |= {"make": tiny} if method in COSTLY else {}
    _, whole, theta = solved(tmp_path / "whole", resume=False, method=method, **options)
    data = (tmp_path / "whole").read_bytes()
    for share in (0.02, 0.3, 0.77, 1.0):
        path = tmp_path / f"cut-{share}"
        path.write_bytes(data[: int(len(data) * share)])
        recorded, again, found = solved(path, resume=True, method=method, **options)
        assert torch.equal(found, theta)
        assert again.map_evaluations == whole.map_evaluations
        assert again.jvps == whole.jvps
        assert path.read_bytes() == data
        assert recorded > 0 or share < 0.1


def test_what_is_recorded_is_not_computed_again(tmp_path):
    solved(tmp_path / "j", resume=False)
    quine = nq.recipe("blog", seed=0)
    calls = [0]
    real_codes = quine.real_codes

    def counted(thetas):
        calls[0] += 1
        return real_codes(thetas)

    quine.real_codes = counted
    with Journal(tmp_path / "j", PROBLEM, resume=True) as journal:
        nq.solve(quine, journal=journal)
    assert calls[0] <= 2  # the spectrum at the end, which is no part of the search


def test_an_exact_search_is_resumed_too(tmp_path):
    quine = nq.recipe("blog", seed=1)
    with Journal(tmp_path / "j", PROBLEM, resume=False) as journal:
        nq.solve(quine, exact=True, journal=journal)
    data = (tmp_path / "j").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    again = nq.recipe("blog", seed=1)
    with Journal(tmp_path / "cut", PROBLEM, resume=True) as journal:
        assert nq.solve(again, exact=True, journal=journal).bit_exact
    assert torch.equal(again.theta, quine.theta)


def test_a_damaged_record_ends_what_is_believed(tmp_path):
    solved(tmp_path / "j", resume=False)
    data = bytearray((tmp_path / "j").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "j").write_bytes(data)
    with Journal(tmp_path / "j", PROBLEM, resume=True) as journal:
        assert journal.recorded > 0
    _, solution, _ = solved(tmp_path / "j", resume=True)
    assert solution.converged


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x80\x04pickle"])
def test_a_foreign_file_is_refused(content, tmp_path):
    (tmp_path / "j").write_bytes(content)
    if not content:
        Journal(tmp_path / "j", PROBLEM, resume=True).discard()
        return
    with pytest.raises(nq.QuineFileError, match="not a journal"):
        Journal(tmp_path / "j", PROBLEM, resume=True)


def test_another_problems_journal_is_refused(tmp_path):
    solved(tmp_path / "j", resume=False)
    with pytest.raises(nq.QuineFileError, match="another problem"):
        Journal(tmp_path / "j", {"recipe": "cnn"}, resume=True)


def test_kill_9_on_the_command_line(tmp_path):
    command = [sys.executable, "-m", "neuralquine", "solve", "cnn", "--exact", "--out"]
    journal = tmp_path / "b.journal"
    for _ in range(20):  # on a busy machine a search may end before it is killed: then another one is started
        with forked.Forked([*command, str(tmp_path / "b")], capture_output=True) as killed:
            while killed.poll() is None and not (journal.exists() and journal.stat().st_size > 3000):
                time.sleep(0.005)
            if killed.kill() == -signal.SIGKILL:
                break
        shutil.rmtree(tmp_path / "b")
    assert not (tmp_path / "b").exists()
    resumed = forked.run([*command, str(tmp_path / "b"), "--resume"], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after" in resumed.stderr
    assert not journal.exists()
    forked.run([*command, str(tmp_path / "a")], capture_output=True, check=True)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


# -- journals that lie ------------------------------------------------------------------------------------------------


def record(kind, key, code, shape, data, size=None):
    head = struct.pack("<1s32s1sBQ", kind, key, code, len(shape), len(data) if size is None else size)
    whole = head + struct.pack(f"<{len(shape)}Q", *shape) + data
    return whole + struct.pack("<I", zlib.crc32(whole))


def journal_with(path, *records):
    with Journal(path, PROBLEM, resume=False):
        pass
    path.write_bytes(path.read_bytes() + b"".join(records))


@pytest.mark.parametrize(
    ("code", "shape", "data", "size"),
    [
        (b"d", (3,), bytes(16), None),
        (b"d", (2**40, 2**40), bytes(16), None),
        (b"d", (2,), bytes(16), 2**63),
        (b"f", (2,), bytes(16), None),
        (b"x", (2,), bytes(16), None),
        (b"d", (2**62,), bytes(0), None),
    ],
)
def test_a_record_whose_counts_do_not_fit_ends_the_journal(code, shape, data, size, tmp_path):
    journal_with(tmp_path / "j", record(b"f", bytes(32), code, shape, data, size))
    with Journal(tmp_path / "j", PROBLEM, resume=True) as journal:
        assert journal.recorded == 0


@pytest.mark.parametrize(("code", "shape"), [(b"d", (2,)), (b"d", (1, 7)), (b"f", (1, 4)), (b"d", ())])
def test_a_value_that_no_evaluation_gives_is_refused(code, shape, tmp_path):
    point = torch.zeros(1, 4, dtype=torch.float64)
    key = hashlib.sha256(point.numpy().tobytes()).digest()
    data = bytes((8 if code == b"d" else 4) * math.prod(shape))
    journal_with(tmp_path / "j", record(b"f", key, code, shape, data))
    with Journal(tmp_path / "j", PROBLEM, resume=True) as journal:
        assert journal.recorded == 1
        with pytest.raises(nq.QuineFileError, match="never computes"):
            journal(b"f", point, lambda: point, point.shape)


@pytest.mark.parametrize("resume", [True, False])
def test_a_pipe_or_a_device_is_no_journal(resume, tmp_path):
    os.mkfifo(tmp_path / "j")
    for path in (tmp_path / "j", Path("/dev/zero")):
        with pytest.raises(nq.QuineFileError, match="is not a file"):
            Journal(path, PROBLEM, resume=resume)


def test_a_sparse_journal_takes_no_memory(tmp_path):
    journal_with(tmp_path / "j")
    os.truncate(tmp_path / "j", 1 << 36)
    with Journal(tmp_path / "j", PROBLEM, resume=True) as journal:
        assert journal.recorded == 0
