"""``neuralquine lab`` as a process: it answers soon, says its address, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import forked

pytest.importorskip("uvicorn")

from lab.opened import close_lab, open_lab


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly(sign, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    lab = open_lab()
    assert b"neuralquine" in urllib.request.urlopen(lab.base, timeout=600).read()
    assert len(lab.token) >= 40
    assert len(list(tmp_path.iterdir())) == 1
    out, err = close_lab(lab, sign)
    assert (lab.process.returncode, err) == (0, "")
    assert "the lab is closed" in out
    assert list(tmp_path.iterdir()) == []


def test_it_answers_soon_and_without_torch():
    """In seconds of the processor, of which it may take eight times as many as its server takes to be imported."""
    before = os.times()
    subprocess.run([sys.executable, "-c", "import uvicorn, starlette.applications"], check=True)
    after = os.times()
    bare = after.children_user + after.children_system - before.children_user - before.children_system
    lab = open_lab()
    urllib.request.urlopen(lab.base, timeout=600).read()
    process = Path(f"/proc/{lab.process.pid}")
    ticks = process.joinpath("stat").read_text().rpartition(")")[2].split()
    seconds = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
    assert 0 < seconds < 8 * bare
    assert "libtorch" not in process.joinpath("maps").read_text()
    close_lab(lab)


def test_every_start_has_its_own_token_and_its_own_workers_that_end_with_it():
    first, second = open_lab(), open_lab()
    assert first.token != second.token
    workers = children(first.process.pid)
    assert len(workers) == 2
    close_lab(second)
    first.process.kill()  # even so
    first.process.communicate(timeout=600)
    until = time.monotonic() + 600
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(alive, workers))


def children(pid):
    until = time.monotonic() + 600
    found = []
    while len(found) < 2 and time.monotonic() < until:
        found = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_port_that_is_taken_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = forked.run(
            [sys.executable, "-m", "neuralquine", "lab", "--no-browser", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=600,
            env=os.environ,
        )
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr == f"neuralquine: port {port}: Address already in use; choose another with --port, or 0 for any\n"


def test_it_listens_to_this_machine_only():
    from neuralquine.lab.serve import bound

    with bound(0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"
