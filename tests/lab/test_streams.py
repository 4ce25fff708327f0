"""Clients that vanish, crowd or send too much: everybody else is answered, nothing breaks, nothing is written to stderr."""

import asyncio
import contextlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")

from lab.opened import close_lab
from lab.stand import EVENTS, SIZE, stand
from neuralquine.lab.jobs import Job, Jobs
from neuralquine.lab.process import Process


@pytest.fixture
def lab():
    """A lab that must have nothing to complain about when it is closed."""
    opened = stand()
    yield opened
    _, err = close_lab(opened)
    assert err == ""
    assert opened.process.returncode == 0


def port(lab):
    return int(lab.base.rpartition(":")[2])


def headers(lab):
    return {"x-lab-token": lab.token, "origin": lab.base}


def ask(lab, path, method="GET", body=None, **more):
    connection = http.client.HTTPConnection("127.0.0.1", port(lab), timeout=600)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers(lab) | more)
        response = connection.getresponse()
        return response.status, response.read()


def raw(lab, line, *extra):
    """A socket on which the head of a request was sent."""
    connection = socket.create_connection(("127.0.0.1", port(lab)), timeout=600)
    lines = [line, f"Host: 127.0.0.1:{port(lab)}", *(f"{k}: {v}" for k, v in headers(lab).items()), *extra]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


def memory(lab):
    lines = Path(f"/proc/{lab.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])  # kB


def vanish(connection):
    """Reset it, as a closed tab or a killed browser does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def test_clients_that_leave_a_long_story_are_not_written_to(lab):
    for _ in range(16):
        connection = raw(lab, "GET /api/jobs/j1 HTTP/1.1")
        connection.recv(1000)
        vanish(connection)
    status, body = ask(lab, "/api/jobs/j1")
    assert status == 200
    assert body.count(b"data: ") == EVENTS + 1
    assert ask(lab, "/api/hello")[0] == 200


def test_a_story_gives_the_loop_its_turn_after_every_event():
    async def counted():
        jobs, turns = Jobs(Process()), 0
        job = Job("j1", "solve", {}, "", 1.0, lambda result: result, state="done")
        job.events = [{"kind": "point"}] * 500

        async def others():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(others())
        said = [number async for number, _ in jobs.story(job, 0)]
        beside.cancel()
        return said, turns

    said, turns = asyncio.run(counted())
    assert said == list(range(500))
    assert turns >= 500


@pytest.mark.parametrize("together", [8, 25])
def test_downloads_at_once_are_whole(lab, together):
    whole = []

    def download():
        status, body = ask(lab, "/api/quines/q1/folder.zip")
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            whole.append(status == 200 and archive.testzip() is None and len(archive.namelist()) == 2)

    for _ in range(50 // together):
        threads = [threading.Thread(target=download) for _ in range(together)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(whole) == 50 // together * together
    assert all(whole)


def test_a_download_that_is_left_breaks_no_other(lab):
    for _ in range(10):
        connection = raw(lab, "GET /api/quines/q1/folder.zip HTTP/1.1")
        connection.recv(1000)
        vanish(connection)
    _, body = ask(lab, "/api/quines/q1/folder.zip")
    assert len(body) > 2 * SIZE
    assert zipfile.ZipFile(io.BytesIO(body)).testzip() is None


@pytest.mark.parametrize("stated", [["Content-Length: 2"], []])
def test_a_chunked_body_without_end_takes_no_memory(lab, stated):
    ask(lab, "/api/hello")
    before = memory(lab)
    connection = raw(lab, "POST /api/solve HTTP/1.1", *stated, "Transfer-Encoding: chunked")
    with contextlib.suppress(OSError):  # the lab closes the connection
        for _ in range(100):
            connection.sendall(b"100000\r\n" + b"x" * (1 << 20) + b"\r\n")
    with contextlib.suppress(OSError):
        assert connection.recv(1000).startswith(b"HTTP/1.1 411")
    connection.close()
    assert memory(lab) - before < 20_000
    assert ask(lab, "/api/hello")[0] == 200


def test_a_body_that_is_longer_than_allowed_is_refused_while_it_is_read():
    from neuralquine.lab.guard import MAX_BODY, Guard

    reached, sent = [], []

    async def app(scope, receive, send):
        reached.append(scope)

    async def receive():
        return {"type": "http.request", "body": b"x" * 60_000, "more_body": True}

    async def send(message):
        sent.append(message)

    named = {"host": "127.0.0.1:1", "origin": "http://127.0.0.1:1", "x-lab-token": "t", "content-length": "2"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/solve",
        "headers": [(k.encode(), v.encode()) for k, v in named.items()],
    }
    asyncio.run(Guard(app, token="t", port=1)(scope, receive, send))
    assert reached == []
    assert sent[0]["status"] == 413
    assert (b"connection", b"close") in sent[0]["headers"]
    assert str(MAX_BODY) in json.loads(sent[1]["body"])["error"]


def test_clients_that_leave_in_the_middle_of_a_body(lab):
    for sent in (b"", b'{"network"'):
        for leave in (vanish, socket.socket.close):
            connection = raw(lab, "POST /api/solve HTTP/1.1", "Content-Length: 200")
            connection.sendall(sent)
            time.sleep(0.05)
            leave(connection)
    assert ask(lab, "/api/hello")[0] == 200


def test_an_absurd_number_in_an_address_is_one_line(lab):
    for number in ("9" * 5000, "-1", "x", "%D9%A3", "0"):
        status, body = ask(lab, f"/api/quines/q1/zoo/j1/{number}", "POST", b"")
        assert status == 400
        assert "no such quine" in json.loads(body)["error"]


def test_400_idle_connections_do_not_keep_the_page_out():
    lab = stand(files=256)
    idle = []
    try:
        for _ in range(400):
            idle.append(socket.create_connection(("127.0.0.1", port(lab)), timeout=600))
        for _ in range(3):
            assert ask(lab, "/api/hello")[0] == 200
        threads = [threading.Thread(target=ask, args=(lab, "/api/quines/q1/folder.zip")) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ask(lab, "/")[0] == 200
    finally:
        for connection in idle:
            connection.close()
        _, err = close_lab(lab)
    assert err == ""


def test_a_connection_that_is_used_is_not_the_one_that_makes_room():
    lab = stand(files=256)
    used = http.client.HTTPConnection("127.0.0.1", port(lab), timeout=600)
    idle = []
    try:
        for _ in range(8):
            used.request("GET", "/api/hello", headers=headers(lab))
            assert used.getresponse().read()
            idle += [socket.create_connection(("127.0.0.1", port(lab)), timeout=600) for _ in range(40)]
    finally:
        used.close()
        for connection in idle:
            connection.close()
        _, err = close_lab(lab)
    assert err == ""


@pytest.mark.parametrize("answered", [False, True])
def test_a_terminal_that_closes_leaves_nothing_behind(tmp_path, monkeypatch, answered):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    lab = stand()
    if answered:
        assert ask(lab, "/api/hello")[0] == 200
    assert len(list(tmp_path.iterdir())) == 1
    _, err = close_lab(lab, signal.SIGHUP)
    if answered:  # before it listens, asyncio may warn of a server that was never begun
        assert err == ""
    assert lab.process.returncode == 0
    assert list(tmp_path.iterdir()) == []


LOST = """
import signal
from neuralquine.lab import serve

class Gone:
    def __del__(self):  # what is raised in here, or when a weak reference is dropped, Python prints and forgets
        signal.raise_signal(signal.SIGHUP)

def say(text):
    print(text)
    if "is open" in text:
        Gone()

serve.serve(0, browser=False, say=say)
"""


def test_an_interrupt_that_comes_before_the_server_listens_is_not_lost(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", LOST],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0
    assert ended.stderr == ""
    assert "the lab is closed" in ended.stdout
    assert list(tmp_path.iterdir()) == []
