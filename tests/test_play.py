"""The page to play with, in a real browser, opened as a file: what it computes is what the package computes."""

import base64
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import neuralquine as nq
from browser import LONG, chromium, served

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "site" / "play" / "index.html"
RANDOM = np.random.default_rng(2026)  # every process of a test run draws the same


def copies():
    spec = importlib.util.spec_from_file_location("play", ROOT / "benchmarks" / "play.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser):
    context = browser.new_context()
    context.set_default_timeout(LONG)
    asked, wrong = [], []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(PAGE.as_uri())
    yield page
    context.close()
    assert wrong == []
    assert {url for url in asked if not url.startswith(PAGE.parent.as_uri())} == set()  # nothing is fetched


def seeds(count):
    return [int(RANDOM.integers(2**53)) for _ in range(count)]


def built(found, seed):
    """The package's own network with what the page found, by the lines that the page shows."""
    lines = found.split("\n")
    assert lines[-2] == "print(nq.verify(quine))"
    told = {}
    exec("\n".join(lines[:-2]), told)
    assert told["quine"].seed == seed
    return told["quine"]


def found(page, button, seed, title):
    page.fill("#seed", str(seed))
    page.click(button)
    expect(page.locator("#facts-title")).to_have_text(f"{title}, seed {seed}", timeout=LONG)
    expect(page.locator("#found-status")).to_contain_text("Found in", timeout=LONG)
    return built(page.locator("#snippet").text_content(), seed)


# -- the same numbers -------------------------------------------------------------------------------------------------


def test_what_is_shared_with_the_lab_is_up_to_date():
    for path, text in copies().files().items():
        assert path.read_text() == text, f"{path.name} is stale: make play"


def test_a_module_that_the_copy_does_not_understand_is_refused():
    plain = copies().plain
    assert "const { a, b } = Page;" in plain("x", 'import { a, b } from "./page.js";\n\nexport const c = a;\n')
    for text in ("export default 3;\n", 'import x from "./page.js";\n', "export { a };\n"):
        with pytest.raises(ValueError, match="does not know"):
            plain("x", text)


def test_the_network_is_the_packages_at_any_seed(page):
    ask = """([seed, code, beta]) => { const net = Network.make(seed, { beta }), theta = net.expand(Float64Array.from(code));
      return [theta, net.run(theta).code, net.jacobian(theta).flatMap((row) => [...row]), [net.sensitivity(theta)]].map((v) => [...v]); }"""
    for seed in [0, *seeds(2)]:
        for beta in (None, 0.1):
            quine = nq.recipe("blog", seed=seed)
            if beta is not None:
                quine = nq.Quine(quine.trunk, quine.inputs, code_size=20, seed=seed, alpha=0.25, skip=beta)
            code = torch.from_numpy(RANDOM.normal(size=20))
            theta, printed, jacobian, sensitivity = page.evaluate(ask, [seed, code.tolist(), beta])
            quine.theta = quine.expand(code)
            local = nq.spectrum(quine)
            assert np.allclose(theta, quine.theta, rtol=1e-13, atol=1e-16), seed
            assert np.allclose(printed, quine.real_code().detach(), rtol=1e-11, atol=1e-11), seed
            values = np.linalg.eigvals(np.reshape(jacobian, (20, 20)))
            assert np.allclose(sorted(abs(values)), sorted(local.eigenvalues.abs().tolist()), rtol=1e-6, atol=1e-9), (
                seed
            )
            assert abs(sensitivity[0] - local.self_sensitivity) < 1e-8 * local.self_sensitivity


def test_the_eigenvalues_of_random_matrices_are_right(page):
    for size in (1, 2, 3, 5, 8, 20, 20, 20):
        matrix = RANDOM.normal(size=(size, size)) * 10.0 ** RANDOM.integers(-3, 3)
        told = page.evaluate("m => Linear.eigenvalues(m)", matrix.tolist())
        values, right = [complex(*v) for v in told], list(np.linalg.eigvals(matrix))
        scale = max(abs(v) for v in right)
        for value in values:
            nearest = min(right, key=lambda v: abs(v - value))
            assert abs(nearest - value) < 1e-7 * scale
            right.remove(nearest)


def test_numbers_are_rounded_as_ieee_does(page):
    numbers = [0.5, 1.5, 2.5, -0.5, -0.2, 0.2, -2.5, 1e15 + 0.5, 4503599627370497.5, 2.0**60, 0.49999999999999994]
    told = page.evaluate(
        "list => list.map((v) => { const r = Network.rint(v); return Object.is(r, -0) ? '-0' : r; })", numbers
    )
    assert [str(float(v)) for v in told] == [str(v) for v in np.rint(numbers)]


def test_an_exact_quine_of_the_package_is_printed_here_bit_for_bit(page, exact_blog):
    quine = exact_blog()
    ask = """([seed, code, bits, phase]) => { const net = Network.make(seed, { bits, phase }), theta = net.expand(Float64Array.from(code));
      return [[...theta], [...net.print(theta)]]; }"""
    code = quine.code().detach()
    stored, printed = page.evaluate(ask, [0, code.tolist(), quine.code_bits, quine.code_phase])
    for told in (stored, printed):
        assert np.array(told).tobytes() == quine.theta.numpy().tobytes()


@pytest.mark.parametrize("seed", [0, *seeds(2)])
def test_what_the_page_finds_is_a_quine_of_the_package(page, seed):
    exact = found(page, "#find-exact", seed, "The post’s network to the last bit")
    expect(page.locator("#facts-verdict")).to_contain_text("every bit of the 1,020 weights")
    text = page.locator("#snippet").text_content()
    ask = """([seed, code, bits, phase]) => [...Network.make(seed, { bits, phase }).expand(Float64Array.from(code))]"""
    code = json.loads(re.findall(r"code = (\[.*\])", text)[0])
    phase = int((re.findall(r"code_phase = (\d+)", text) or ["0"])[0])
    theta = page.evaluate(ask, [seed, code, exact.code_bits, phase])
    assert np.array(theta).tobytes() == exact.theta.numpy().tobytes()
    assert phase == exact.code_phase
    verification = nq.verify(exact)
    assert verification.bit_exact
    assert verification.is_quine
    smooth = nq.verify(found(page, "#find-smooth", seed, "The post’s network"))
    assert smooth.converged
    assert smooth.is_quine
    anchored = nq.verify(found(page, "#find-anchored", seed, "The post’s network, anchored"))
    assert anchored.is_quine
    assert anchored.spectral_radius < 1


# -- what a person does ----------------------------------------------------------------------------------------------


def test_damage_by_the_pointer_heals_where_it_attracts(page):
    found(page, "#find-anchored", 0, "The post’s network, anchored")
    expect(page.locator("#fate")).to_contain_text("It attracts")
    canvas = page.locator("#maps figure >> nth=2").locator("canvas[data-key=stored]")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.5 * box["height"], steps=20)
    page.mouse.up()
    expect(page.locator("#line-status")).to_contain_text(re.compile(r"Damaged: \d+ of 1,020 weights differ"))
    page.click("#run")
    expect(page.locator("#line-status")).to_contain_text("Healed after", timeout=LONG)


def test_the_zoo_is_walked_through_by_keyboard(page):
    found(page, "#find-smooth", 1, "The post’s network")
    page.click("#zoo-find")
    expect(page.locator("#zoo-status")).to_contain_text("distinct quines from 40 starts", timeout=LONG)
    points = page.locator("#zoo-plot [role=button]")
    assert points.count() > 2
    points.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#facts-title")).to_have_text("The post’s network, seed 1, number 2 of its zoo")
    assert nq.verify(built(page.locator("#snippet").text_content(), 1)).is_quine


def drop(page, name, data):
    transfer = page.evaluate_handle(
        "([name, data]) => { const t = new DataTransfer(); "
        "t.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name)); return t; }",
        [name, base64.b64encode(data).decode()],
    )
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})


def convolution():
    layers = nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.GELU(), nn.Flatten(), nn.Linear(64, 20)
    return nn.Sequential(*layers), torch.randn(1, 1, 8, 8)


def attention():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(32, 20)), torch.randn(1, 4, 8)


def recurrent():
    return nn.LSTM(6, 10), torch.randn(5, 1, 6)


@pytest.mark.parametrize("network", [convolution, attention, recurrent])
def test_an_exported_quine_is_run_here_to_the_last_bit_and_can_be_damaged(page, network, tmp_path):
    pytest.importorskip("onnx")
    torch.manual_seed(0)
    quine = nq.Quine(*network(), code_size=20, seed=0, skip=0.1)
    nq.solve(quine, exact=True)
    data = bytearray(exported(quine, tmp_path).read_bytes())
    drop(page, f"{network.__name__}.onnx", data)
    status = page.locator("#check-status")
    expect(status).to_contain_text(f"{network.__name__}.onnx prints its own weights, also here", timeout=LONG)
    expect(page.locator("#check-list li")).to_have_count(6)
    expect(page.locator("#check-word")).to_contain_text("only the file’s own word")
    page.click("#wound")
    expect(page.locator("#line-status")).to_contain_text("Damaged")
    page.click("#run")
    expect(page.locator("#line-status")).to_contain_text(
        re.compile("Healed after|it is another fixed point"), timeout=LONG
    )
    data[data.index(quine.theta[:8].numpy().tobytes())] ^= 1
    drop(page, "damaged.onnx", data)
    expect(status).to_contain_text("damaged.onnx is not a quine here", timeout=LONG)


def exported(quine, place):
    nq.save(quine, place / "q")
    return nq.export(place / "q", place / "self.onnx")


def test_a_forged_file_is_not_believed(page, exact_blog, tmp_path):
    forgeries = pytest.importorskip("keeping.onnx.forged")
    onnx = pytest.importorskip("onnx")
    model, status = onnx.load(exported(exact_blog(), tmp_path)), page.locator("#check-status")
    believed = []
    for number, forgery in enumerate(forgeries.FORGERIES):
        name = f"{number}-{forgery.__name__}.onnx"
        drop(page, name, forgeries.forged(model, forgery))
        expect(status).to_contain_text(re.compile(re.escape(name) + " (is|prints)"), timeout=LONG)
        believed += [forgery.__name__] if "prints its own weights" in status.inner_text() else []
    assert sorted(believed) == ["echo", "planted_offset"]  # what only the whole graph tells, and the page says so
    drop(page, "garbage.onnx", b"not a model")
    expect(status).to_contain_text("garbage.onnx is not what neuralquine exports: it is no ONNX model")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it_without_scrolling_sideways_from_a_server_too(scheme, browser):
    with served(PAGE.parent) as address:
        device = {
            "viewport": {"width": 390, "height": 844},
            "color_scheme": scheme,
            "is_mobile": True,
            "has_touch": True,
        }
        page = browser.new_context(**device).new_page()
        page.goto(address)
        expect(page.locator("#found-status")).to_contain_text("Found in", timeout=LONG)
        assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [390, 390]
