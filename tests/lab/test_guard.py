"""Who may ask: every refusal, and that what is refused never reaches the routes."""

import pytest

pytest.importorskip("starlette")

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient, WebSocketDenialResponse

from neuralquine.lab.guard import MAX_BODY, Guard

TOKEN, HOME = "the-token", "http://127.0.0.1:8765"


@pytest.fixture
def client():
    """A guarded application that writes down what reaches it."""
    reached = []

    async def answer(request):
        reached.append((request.method, await request.body()))
        return PlainTextResponse("in")

    methods = ["GET", "POST", "OPTIONS", "DELETE"]
    app = Starlette(routes=[Route("/", answer), Route("/api/thing", answer, methods=methods)])
    client = TestClient(Guard(app, token=TOKEN, port=8765), base_url=HOME)
    client.reached = reached
    return client


def refused(client, response, status, words):
    assert response.status_code == status
    assert words in response.json()["error"]
    assert client.reached == []


def test_its_own_page_with_the_token_reads_and_writes(client):
    assert client.get("/api/thing", headers={"x-lab-token": TOKEN}).text == "in"
    sent = client.post("/api/thing", headers={"x-lab-token": TOKEN, "origin": HOME}, content=b"{}")
    assert sent.text == "in"
    assert client.reached == [("GET", b""), ("POST", b"{}")]


def test_localhost_is_this_machine_too(client):
    headers = {"host": "localhost:8765", "origin": "http://localhost:8765", "x-lab-token": TOKEN}
    assert client.post("/api/thing", headers=headers, content=b"").text == "in"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1", "127.0.0.1:80", "", "127.0.0.1:8765.evil"]
)
@pytest.mark.parametrize("path", ["/", "/api/thing"])
def test_a_name_that_was_rebound_to_this_machine_is_refused(client, host, path):
    refused(client, client.get(path, headers={"host": host, "x-lab-token": TOKEN}), 403, "127.0.0.1 and localhost only")


@pytest.mark.parametrize("token", [None, "", "the-toke", "the-token ", "other", "tök".encode("latin-1")])
def test_without_the_token_nothing_of_the_api_answers(client, token):
    headers = {} if token is None else {"x-lab-token": token}
    refused(client, client.get("/api/thing", headers=headers), 403, "no valid token")
    refused(client, client.post("/api/thing", headers=headers | {"origin": HOME}), 403, "no valid token")


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://127.0.0.1:9999", "https://127.0.0.1:8765"]
)
def test_another_origin_does_not_write_even_with_the_token(client, origin):
    headers = {"x-lab-token": TOKEN} | ({"origin": origin} if origin else {})
    for method in ("POST", "DELETE", "OPTIONS"):
        refused(client, client.request(method, "/api/thing", headers=headers), 403, "its own page only")


def test_another_origin_does_not_read_either(client):
    headers = {"x-lab-token": TOKEN, "origin": "http://127.0.0.1:9999"}
    refused(client, client.get("/api/thing", headers=headers), 403, "its own page only")


def test_a_large_body_is_refused_before_it_is_read(client):
    headers = {"x-lab-token": TOKEN, "origin": HOME}
    assert client.post("/api/thing", headers=headers, content=b"x" * MAX_BODY).status_code == 200
    client.reached.clear()
    refused(client, client.post("/api/thing", headers=headers, content=b"x" * (MAX_BODY + 1)), 413, "larger")
    refused(client, client.post("/api/thing", headers=headers, content=iter([b"x"])), 411, "length")
    huge = headers | {"content-length": "9" * 5000}
    refused(client, client.post("/api/thing", headers=huge, content=b""), 413, "larger")


def test_every_answer_forbids_other_sources_frames_and_readers(client):
    for response in (client.get("/"), client.get("/api/thing")):
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self' 'wasm-unsafe-eval';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in response.headers


def test_web_sockets_are_not_spoken(client):
    with pytest.raises(WebSocketDenialResponse), client.websocket_connect("/"):
        pass
    assert client.reached == []
