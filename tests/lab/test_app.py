"""The routes: what is asked is checked field by field, and every error is one line."""

import io
import json
import zipfile

import pytest

pytest.importorskip("starlette")

from starlette.testclient import TestClient

import neuralquine as nq
from neuralquine.lab.app import Lab, make_app

HOME = "http://127.0.0.1:8765"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    app = make_app(Lab(tmp_path_factory.mktemp("lab")), token="t", port=8765)
    with TestClient(app, base_url=HOME, headers={"x-lab-token": "t", "origin": HOME}) as client:
        yield client


def story(client, job, **headers):
    """The events of a job, to its end."""
    lines = client.get(f"/api/jobs/{job}", headers=headers).text.splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


@pytest.fixture(scope="module")
def quine(client):
    job = client.post("/api/solve", json={"network": "blog", "seed": 0}).json()["id"]
    return story(client, job)[-1]["result"]


def test_a_solve_is_told_from_its_first_residual_to_its_quine(client, quine):
    events = story(client, "j1")
    residuals = [e["relative_residual"] for e in events if e["kind"] == "point"]
    assert residuals[0] > 0.1
    assert residuals[-1] < 1e-14
    assert quine["verification"]["is_quine"]
    assert quine["solution"]["status"] == "converged"
    assert story(client, "j1", **{"last-event-id": str(len(events) - 2)}) == events[-1:]
    assert story(client, "j1", **{"last-event-id": "nonsense"}) == events


def test_hello_lists_only_networks_of_the_labs_size(client, quine):
    hello = client.get("/api/hello").json()
    names = [n["name"] for n in hello["networks"]]
    assert names[0] == "blog"
    assert not {"gpt2", "resnet18", "llama-8b"} & set(names)
    assert hello["quines"][0]["id"] == quine["id"]
    assert hello["jobs"][0]["state"] == "done"
    assert [d["name"] for d in hello["damages"]] == ["noise", "large-noise", "zero", "negate", "flip", "words"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"network": "gpt2"}, "network must be one of 'blog'"),
        ({"network": ["blog"]}, "network must be one of"),
        ({"network": "blog", "seed": -1}, "seed must be a whole number"),
        ({"network": "blog", "seed": 1.5}, "seed must be a whole number"),
        ({"network": "blog", "seed": True}, "seed must be a whole number"),
        ({"network": "blog", "time_limit": 1e9}, "time_limit must be a whole number from 1 to 600"),
        ({"network": "blog", "method": "magic"}, "method must be one of"),
        ({"network": "blog", "exact": "yes"}, "exact must be true or false"),
        ({"network": "blog", "anchored": True}, "blog cannot be anchored"),
        ({"network": "blog", "width": 10**9}, "the body must be an object of network"),
        ([], "the body must be an object"),
    ],
)
def test_a_solve_of_anything_else_is_refused(client, body, words):
    response = client.post("/api/solve", json=body)
    assert response.status_code == 400
    assert words in response.json()["error"]
    assert "\n" not in response.json()["error"]


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe"])
def test_a_body_that_is_not_json_is_one_line(client, content):
    response = client.post("/api/solve", content=content)
    assert response.status_code == 400
    assert response.json()["error"] == "the body is not JSON"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"kind": "acid", "share": 0.1}, "kind must be one of"),
        ({"kind": "noise", "share": 1.1}, "share must be a number from 0 to 1"),
        ({"kind": "noise", "share": "all"}, "share must be a number"),
        ({"kind": "noise", "share": 0.1, "layer": 99}, "there is no layer 99"),
        ({"kind": "noise", "cells": [[[0, -1]]]}, "cells must be lists"),
        ({"kind": "noise", "cells": [[[0, 0, 0]]]}, "cells must be lists"),
        ({"kind": "noise", "cells": [0]}, "cells must be lists"),
        ({"kind": "noise", "cells": [[[0, 0]] * 20_001]}, "at most 20000"),
    ],
)
def test_a_wound_of_another_kind_is_refused(client, quine, body, words):
    response = client.post(f"/api/quines/{quine['id']}/damage", json=body)
    assert response.status_code == 400
    assert words in response.json()["error"]


def test_painted_cells_change_those_weights_and_no_others(client, quine):
    path = f"/api/quines/{quine['id']}"
    before = client.get(path).json()["view"]
    after = client.post(
        f"{path}/damage", json={"kind": "zero", "cells": [[[0, 0], [19, 7], [500, 500]], [], [[3, 4]]]}
    ).json()
    changed = {}
    for old, new in zip(before["layers"], after["layers"], strict=True):
        pairs = zip(cells(old["stored"]), cells(new["stored"]), strict=True)
        changed[old["name"]] = [i for i, (a, b) in enumerate(pairs) if a != b]
    assert {k: v for k, v in changed.items() if v} == {"0.weight": [0, 159], "3.weight": [64]}
    assert after["verdict"] == "damaged"
    assert client.post(f"{path}/reset").json()["verdict"] == "whole"


def cells(text):
    import base64
    import struct

    data = base64.b64decode(text)
    return struct.unpack(f"<{len(data) // 4}f", data)


@pytest.mark.parametrize("path", ["", "/eigenvalues", "/folder.zip", "/certificate.json", "/samples", "/self.onnx"])
def test_a_quine_that_is_not_there_is_one_line(client, path):
    response = client.get(f"/api/quines/..%2f..{path}") if not path else client.get(f"/api/quines/q99{path}")
    assert response.status_code in (400, 404)
    assert response.status_code == 404 or "there is no quine 'q99'" in response.json()["error"]


def test_the_folder_that_is_downloaded_is_the_quine_bit_for_bit(client, quine, tmp_path):
    import torch

    import neuralquine as nq

    data = client.get(f"/api/quines/{quine['id']}/folder.zip").content
    zipfile.ZipFile(io.BytesIO(data)).extractall(tmp_path)
    (folder,) = tmp_path.iterdir()
    loaded, fresh = nq.load(folder), nq.recipe("blog", seed=0)
    assert nq.verify(loaded).is_quine
    nq.solve(fresh)
    assert torch.equal(loaded.theta, fresh.theta)


def test_a_certificate_is_there_once_it_is_proved(client, quine):
    pytest.importorskip("flint")
    path = f"/api/quines/{quine['id']}"
    assert "nothing is proved" in client.get(f"{path}/certificate.json").json()["error"]
    result = story(client, client.post(f"{path}/prove", json={}).json()["id"])[-1]["result"]
    assert result["proof"]["proved"]
    assert not result["proof"]["portable"]
    assert client.get(f"{path}/certificate.json").json()["kind"] == "fixed point"


def test_a_zoo_is_listed_and_each_of_its_quines_can_be_had(client, quine):
    path = f"/api/quines/{quine['id']}/zoo"
    job = client.post(path, json={"starts": 8}).json()["id"]
    found = story(client, job)[-1]["result"]["quines"]
    assert len(found) > 2
    assert all(-1 <= v <= 1 for q in found for v in q["at"])
    one = client.post(f"{path}/{job}/1", json={}).json()
    assert one["verification"]["is_quine"]
    assert one["verification"]["spectral_radius"] == pytest.approx(found[1]["spectral_radius"])
    assert "no such quine" in client.post(f"{path}/{job}/{len(found)}", json={}).json()["error"]
    assert "no such quine" in client.post(f"{path}/j1/0", json={}).json()["error"]


def test_a_quine_without_work_reads_no_digits(client, quine):
    path = f"/api/quines/{quine['id']}"
    assert "no work" in client.post(f"{path}/read", json={"ink": [0] * 64}).json()["error"]
    for ink in ([0] * 63, [17] * 64, ["0"] * 64, None):
        assert "64 numbers" in client.post(f"{path}/read", json={"ink": ink}).json()["error"]


def test_the_graph_of_an_exported_file_is_compared(client, exact_blog, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    forgeries = pytest.importorskip("keeping.onnx.forged")
    data = nq.export(exact_blog(), tmp_path / "self.onnx").read_bytes()
    found = client.post("/api/check", content=data).json()
    assert (found["verdict"], found["is_quine"], found["reason"]) == ("quine", True, "")
    model = onnx.load(tmp_path / "self.onnx")
    for forgery in forgeries.FORGERIES:
        said = client.post("/api/check", content=forgeries.forged(model, forgery)).json()
        assert not said["is_quine"], forgery
        assert said["reason"] or said["said"]
    unreadable = client.post("/api/check", content=b"not a model").json()
    assert unreadable["verdict"] in ("unreadable", "foreign")
    assert "neuralquine-checked" not in json.dumps(unreadable)
