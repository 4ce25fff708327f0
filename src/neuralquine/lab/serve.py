"""Running the lab: one socket on this machine, one token, a clean end."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
import tempfile
import webbrowser
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from ..errors import NeuralQuineError
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

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal; a terminal that is closed sends one too, which is ignored under ``nohup``."""
        hang_up = getattr(signal, "SIGHUP", None)  # not on Windows
        if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:
            signal.signal(hang_up, lambda _, frame: self.handle_exit(signal.SIGINT, frame))
        super().run(sockets)

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
    with bound(port) as listening, tempfile.TemporaryDirectory(prefix="neuralquine-lab-") as place:
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
        address = f"http://{HOST}:{port}/?token={token}"
        say(f"the lab is open at {address}\nCtrl-C closes it")
        if browser:
            webbrowser.open(address)
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn passes it on after it has stopped
            _Server(config, lab).run(sockets=[listening])
    with contextlib.suppress(OSError):  # the terminal may be closed
        say("the lab is closed; what was not downloaded is gone")
