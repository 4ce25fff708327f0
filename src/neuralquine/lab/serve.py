"""Running the lab: one socket on this machine, one token, a clean end."""

from __future__ import annotations

import contextlib
import secrets
import socket
import tempfile
import webbrowser
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from ..errors import NeuralQuineError
from .app import Lab, make_app

HOST = "127.0.0.1"


class _Server(uvicorn.Server):
    """Ends the open streams first: uvicorn waits for them."""

    def __init__(self, config: uvicorn.Config, lab: Lab) -> None:
        super().__init__(config)
        self._lab = lab

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
        listening.listen()
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
        config = uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=2, ws="none")
        address = f"http://{HOST}:{port}/?token={token}"
        say(f"the lab is open at {address}\nCtrl-C closes it")
        if browser:
            webbrowser.open(address)
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn passes it on after it has stopped
            _Server(config, lab).run(sockets=[listening])
    say("the lab is closed; what was not downloaded is gone")
