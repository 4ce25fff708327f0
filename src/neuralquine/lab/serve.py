"""Running the lab: one socket on this machine, one token, a clean end."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
import tempfile
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import uvicorn

from ..errors import NeuralQuineError
from ..quines.interrupts import interrupt_here, interrupts_held
from .app import Lab, make_app
from .connection import Connection

HOST = "127.0.0.1"
_BACKLOG = 16  # connections that are taken in one turn of the loop, before any can be closed to make room
_QUEUE = 128  # connections that may wait to be taken; one that finds no place asks again after a second


class _Server(uvicorn.Server):
    """Ends the open streams first: uvicorn waits for them."""

    def __init__(self, config: uvicorn.Config, lab: Lab) -> None:
        super().__init__(config)
        self._lab = lab

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or []:
            listening.listen(_QUEUE)  # the loop has set it to the number that it takes in one turn

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._lab.jobs.close()
        super().handle_exit(sig, frame)


def bound(port: int) -> socket.socket:
    """Bind a socket on the loopback interface; port 0 lets the system choose.

    Raises:
        NeuralQuineError: the port is taken or forbidden.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen(_QUEUE)
    except OSError as error:
        listening.close()
        raise NeuralQuineError(f"port {port}: {error.strerror}; choose another with --port, or 0 for any") from error
    return listening


def serve(port: int, *, browser: bool, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or ``kill``.

    Args:
        port: to listen on.
        browser: open the page.
        say: where the address goes.

    Raises:
        NeuralQuineError: the port is not available.
    """
    with (
        contextlib.suppress(KeyboardInterrupt),
        interrupts_held(forget=True),  # until the server hears them: one that is raised while it starts may be lost
        _hanging_up(),
        bound(port) as listening,
        tempfile.TemporaryDirectory(prefix="neuralquine-lab-") as place,
    ):
        port = listening.getsockname()[1]
        token = secrets.token_urlsafe(32)
        lab = Lab(Path(place))
        app = make_app(lab, token=token, port=port)
        config = uvicorn.Config(
            app,
            http=Connection,
            backlog=_BACKLOG,
            log_level="error",
            access_log=False,
            timeout_graceful_shutdown=2,
            ws="none",
        )
        server = _Server(config, lab)
        address = f"http://{HOST}:{port}/?token={token}"
        with server.capture_signals():
            interrupt_here()
            say(f"the lab is open at {address}\nCtrl-C closes it")
            if browser:
                webbrowser.open(address)
            server.run(sockets=[listening])
    with contextlib.suppress(OSError):  # the terminal may be closed
        say("the lab is closed; what was not downloaded is gone")


@contextlib.contextmanager
def _hanging_up() -> Iterator[None]:
    """Take a terminal that is closed for Ctrl-C, unless it is to be ignored, as under ``nohup``."""
    number = getattr(signal, "SIGHUP", None)  # not on Windows
    before = None if number is None else signal.getsignal(number)
    if number is None or before is signal.SIG_IGN:
        yield
        return
    signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(number, before)
