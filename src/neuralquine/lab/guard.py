"""Who may ask the lab: a page that this lab served, on this machine, with the token of this start.

- ``Host`` must be 127.0.0.1 or localhost at our port: a foreign name that resolves here is a rebinding attack.
- Everything under ``/api`` needs the token in a header of its own. The page keeps it in its session storage, which belongs
  to one port; a cookie would be sent to every other server on 127.0.0.1. Another origin cannot send the header either:
  browsers ask first, and the lab never answers that question.
- ``Origin``, where a browser sends one, must be ours, and on writes there must be one.
- Bodies have a stated length of at most ``MAX_BODY``, archives and exported files of ``MAX_ARCHIVE``, and are read to that length, whatever was stated and in whatever
  encoding, before anything else sees them.
"""

from __future__ import annotations

import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-lab-token"
_READS = ("GET", "HEAD")
MAX_BODY = 1 << 18  # bytes; the largest honest one is a painted wound
UPLOADS, CHECKED = "/api/opened", "/api/check"  # where an archive, and where an exported file is taken
MAX_ARCHIVE = 32 << 20  # bytes of one: the lab's largest network is 16 MB in float64
_GONE = (400, "the client has gone")  # in the middle of its body: nobody is answered

_HEADERS = {
    # Blob addresses are how a page saves what it fetched with a header; eval is for WebAssembly alone.
    "content-security-policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class Guard:
    """Around the application: refuses what is not ours before anything reads it.

    Args:
        app: what is guarded.
        token: of this start.
        port: the one that is listened on.
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int) -> None:
        self.app, self._token = app, token
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self._origins = {f"http://{host}" for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal, write = self._refusal(scope), scope.get("method") not in _READS
        if refusal is None and write:
            refusal, body = await _bounded(receive, _most(scope))
            receive = _once(body, receive)
        if refusal is None:
            await self.app(scope, receive, guarded)
        elif refusal is not _GONE:
            status, reason = refusal
            # What is left of the body is not read: the connection is of no further use.
            headers = {"connection": "close"} if write else None
            await JSONResponse({"error": reason}, status, headers)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """A status and one line, or None where nothing speaks against the request."""
        if scope["type"] != "http":
            return 403, "the lab speaks HTTP only"
        headers = Headers(scope=scope)
        write = scope["method"] not in _READS
        origin = headers.get("origin")
        if headers.get("host", "") not in self._hosts:
            return 403, "the lab answers to 127.0.0.1 and localhost only"
        if (origin is None and write) or (origin is not None and origin not in self._origins):
            return 403, "the lab is driven by its own page only"
        given = headers.get(TOKEN_HEADER, "")
        if scope["path"].startswith("/api") and not secrets.compare_digest(given.encode(), self._token.encode()):
            return 403, "no valid token: open the address that `neuralquine lab` printed"
        if write:
            length = headers.get("content-length", "")
            if not length.isdecimal() or "transfer-encoding" in headers:
                return 411, "the length of the body is missing"
            if len(length) > 9 or int(length) > _most(scope):
                return _too_large(_most(scope))
        return None


def _most(scope: Scope) -> int:
    """The bytes that a body of this request may have."""
    return MAX_ARCHIVE if scope["path"] in (UPLOADS, CHECKED) else MAX_BODY


def _too_large(most: int) -> tuple[int, str]:
    return 413, f"the body is larger than {most} bytes"


async def _bounded(receive: Receive, most: int) -> tuple[tuple[int, str] | None, bytes]:
    """Read a whole body; returns why it is refused, if it is, and the bytes."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return _GONE, b""
        body += message.get("body", b"")
        if len(body) > most:
            return _too_large(most), b""
        if not message.get("more_body", False):
            return None, bytes(body)


def _once(body: bytes, receive: Receive) -> Receive:
    """Hand out a body that was read already, then what comes after it."""
    waiting = [body]

    async def received() -> Message:
        return {"type": "http.request", "body": waiting.pop(), "more_body": False} if waiting else await receive()

    return received
