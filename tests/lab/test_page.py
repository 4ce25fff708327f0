"""The page in a real browser: everything a person does with it, and that nothing leaves this machine."""

import base64
import json
import re
import zipfile
from importlib.util import find_spec

import numpy as np
import pytest

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("uvicorn")

import neuralquine as nq  # noqa: E402
from browser import LONG, chromium, served  # noqa: E402
from lab.opened import close_lab, open_lab  # noqa: E402
from neuralquine.proving.printers import PRINTERS  # noqa: E402

expect = sync_api.expect


@pytest.fixture(scope="module")
def lab():
    opened = open_lab()
    yield opened
    out, err = close_lab(opened)
    assert opened.process.returncode == 0
    assert "the lab is closed" in out
    assert err == ""


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def desktop(lab, browser):
    """The browser's own windows: one page of them stays open, and with it the process that the others share."""
    context = _context(browser)
    context.new_page().goto(lab.base + "/static/icon.svg")
    yield context
    context.close()


def _context(browser, **device):
    context = browser.new_context(**device)
    context.set_default_timeout(LONG)
    return context


@pytest.fixture
def visit(lab, browser, desktop):
    """Open the page as some device; at the end, nothing was asked of anyone else and nothing went wrong in it."""
    contexts, pages, asked, wrong = [], [], [], []

    def listen(request):
        asked.append(request.url)

    def opened(path=None, **device):
        context = _context(browser, **device) if device else desktop
        context.on("request", listen)
        contexts.append(context)
        page = context.new_page()
        pages.append(page)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "console",
            lambda message: (
                message.type in ("error", "warning")
                and "willReadFrequently" not in message.text
                and wrong.append(f"{message.text} ({message.location['url']})")
            ),
        )
        page.goto(path or lab.address)
        page.wrong = wrong
        return page

    yield opened
    for page in pages:
        page.close()
    for context in contexts:
        context.remove_listener("request", listen)
        if context is not desktop:
            context.close()
    assert asked or not contexts
    assert {url for url in asked if not url.startswith((lab.base + "/", f"blob:{lab.base}/"))} == set()
    assert wrong == []


def ready(page):
    expect(page.locator("#solve")).to_be_enabled(timeout=LONG)
    return page


def solve(page, network, *options, method="", seed=0):
    ready(page)
    page.select_option("#network", network)
    page.select_option("#method", method)
    page.fill("#seed", str(seed))
    for option in ("exact", "anchored"):
        if page.locator(f"#{option}").is_enabled():
            page.set_checked(f"#{option}", option in options)
    page.click("#solve")


def solved(page, network, *options, seed=0):
    solve(page, network, *options, seed=seed)
    expect(page.locator("#solve")).to_be_enabled(timeout=LONG)
    title = ", ".join([network, f"seed {seed}", *options])
    expect(page.locator("#facts-title")).to_have_text(title, timeout=LONG)
    quine = page.locator("#facts").get_attribute("data-quine")
    expect(page.locator(f"#wounds[data-quine={quine}]")).to_be_visible(timeout=LONG)
    expect(page.locator("#line-status")).to_contain_text("Undamaged")
    return page


def searched(pattern, text):
    match = re.search(pattern, text)
    assert match is not None, text
    return match


def pixels(page, figure, key):
    """Colors of a heat map."""
    canvas = page.locator(f"#maps figure >> nth={figure}").locator(f"canvas[data-key={key}]")
    return canvas.evaluate("c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].join()")


def test_a_quine_is_found_and_looked_at(visit):
    page = visit()
    solved(page, "blog")
    expect(page.locator("#live-status")).to_contain_text("converged")
    expect(page.locator("#facts-verdict")).to_contain_text("prints its own weights")
    words = page.locator("#words li")
    assert [searched("^[a-z-]+", text)[0] for text in words.all_inner_texts()] == [
        "converged",
        "bit-exact",
        "portable",
        "proved",
    ]
    assert words.locator(".answer").all_inner_texts() == ["yes", "no", "not examined", "not examined"]
    for name in ("relative residual", "RMS weight", "self-sensitivity", "spectral radius"):
        expect(page.locator("#figures")).to_contain_text(name)
    quine = nq.recipe("blog", seed=0)
    figures = page.locator("#maps figure")
    assert figures.count() == len(quine.named_weights())
    sizes = figures.locator("canvas").evaluate_all("list => list.map(c => [c.height, c.width])")
    assert sizes[:6] == [[20, 8]] * 3 + [[1, 20]] * 3
    assert pixels(page, 0, "stored") == pixels(page, 0, "printed") != pixels(page, 0, "difference")
    expect(page.locator("#spectrum-text")).to_contain_text("20 eigenvalues", timeout=LONG)
    assert page.locator("#spectrum-plot circle.inside, #spectrum-plot circle.outside").count() == 20
    drawn = page.locator("#live-chart").evaluate(
        "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    )
    assert drawn > 10

    # A weight is read under the pointer and by the keyboard, and a bound is rounded up.
    expect(page.locator("#fate")).to_contain_text("It repels")
    figure = page.locator("#maps figure >> nth=2")
    line = figure.locator(".value")
    figure.locator("canvas >> nth=1").hover(position={"x": 1, "y": 1})
    expect(line).to_contain_text("row 1, column 1: stored ")
    figure.locator("canvas >> nth=0").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(line).to_contain_text("row 2, column 2: stored ")
    bounds = page.evaluate(
        "import('/static/js/heat.js').then(({ atMost }) => [1.35e-16, 1e-16, 9.01e-5, 3, 0.2].map(atMost))"
    )
    assert bounds == ["2e-16", "1e-16", "1e-4", "3e0", "2e-1"]


def test_a_damaged_quine_that_attracts_heals_and_is_kept(visit, tmp_path):
    page = visit()
    solved(page, "rnn", "anchored")
    before = pixels(page, 0, "stored")
    page.select_option("#wound-kind", "zero")
    page.locator("#share").fill("20")
    expect(page.locator("#wound")).to_have_text("Damage 20 %")
    page.click("#wound")
    expect(page.locator("#line-status")).to_contain_text("Damaged: ")
    assert pixels(page, 0, "stored") != before
    page.click("#run")
    expect(page.locator("#line-status")).to_contain_text("Healed", timeout=LONG)
    expect(page.locator("#line-status")).to_contain_text("back at the original up to round-off")
    expect(page.locator("#run")).to_have_text("Run 40")
    assert pixels(page, 0, "stored") == before
    with page.expect_download() as download:
        page.click("#get-folder")
    download.value.save_as(tmp_path / "quine.zip")
    zipfile.ZipFile(tmp_path / "quine.zip").extractall(tmp_path)
    loaded = nq.load(next(path for path in tmp_path.iterdir() if path.is_dir()))
    assert nq.verify(loaded).is_quine
    assert download.value.suggested_filename == "rnn-seed-0-anchored.zip"
    page.set_input_files("#zip-file", tmp_path / "quine.zip")  # and back again
    expect(page.locator("#open-status")).to_have_text("quine.zip is on the bench.", timeout=LONG)
    expect(page.locator("#facts-title")).to_have_text("rnn, seed 0, anchored, opened")
    expect(page.locator("#facts-verdict")).to_contain_text("prints its own weights")
    drop(page, "broken.zip", b"no zip")
    expect(page.locator("#trouble")).to_contain_text("no zip file of a quine", timeout=LONG)
    page.wrong.clear()  # the browser notes the refusal itself


def test_one_click_leads_to_a_network_that_heals(visit):
    page = ready(visit())
    page.click("#start-heal")
    expect(page.locator("#start-status")).to_contain_text("Healed after", timeout=LONG)
    expect(page.locator("#fate")).to_contain_text("It attracts (spectral radius 0.1")
    assert page.locator("#network").input_value() == "rnn"  # the form shows what was asked
    assert page.locator("#anchored").is_checked()


def test_paint_strikes_where_the_pointer_was_and_a_repelled_quine_does_not_heal(visit):
    page = visit()
    solved(page, "blog", seed=3)
    stored = page.locator("#maps figure >> nth=2").locator("canvas[data-key=stored]")
    before = pixels(page, 2, "stored")
    page.click("#paint")
    page.select_option("#wound-kind", "negate")
    stored.scroll_into_view_if_needed()
    box = stored.bounding_box()
    cell = box["width"] / 20, box["height"] / 20
    page.mouse.move(box["x"] + 2.5 * cell[0], box["y"] + 4.5 * cell[1])
    page.mouse.down()
    page.mouse.move(box["x"] + 9.5 * cell[0], box["y"] + 4.5 * cell[1], steps=30)
    page.mouse.up()
    expect(page.locator("#line-status")).to_contain_text("Damaged: 8 of 1,020 weights differ")
    old, new = (text.split(",") for text in (before, pixels(page, 2, "stored")))
    struck = {i // 4 for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b}
    assert struck == {4 * 20 + column for column in range(2, 10)}
    page.click("#run")
    expect(page.locator("#line-status")).to_contain_text("Not healed after 40 generations", timeout=LONG)
    page.click("#reset")
    expect(page.locator("#line-status")).to_contain_text("Undamaged")
    assert pixels(page, 2, "stored") == before


def test_the_zoo_is_a_map_to_walk_through_by_keyboard(visit):
    page = visit()
    solved(page, "blog", seed=1)
    page.fill("#zoo-starts", "8")
    page.click("#zoo-find")
    points = page.locator("#zoo-plot [role=button]")
    expect(points.first).to_be_visible(timeout=LONG)
    assert points.count() > 2
    expect(page.locator("#zoo-status")).to_contain_text(f"{points.count()} distinct quines from 8 starts")
    radius = searched(r"spectral radius ([\d.]+)", points.nth(1).get_attribute("aria-label"))[1]
    points.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#facts-title")).to_have_text("blog, number 2 of its zoo", timeout=LONG)
    expect(page.locator("#figures")).to_contain_text(radius)
    assert points.count() > 2
    page.reload()
    expect(page.locator("#zoo-status")).to_contain_text("distinct quines from 8 starts", timeout=LONG)


def test_a_search_goes_on_through_a_reload_and_can_be_cancelled(visit):
    page = visit()
    solve(page, "blog", method="rmsprop", seed=5)
    status = page.locator("#live-status")
    expect(status).to_contain_text("step ", timeout=LONG)
    page.reload()
    ready_again = page.locator("#live-title")
    expect(ready_again).to_have_text("blog, seed 5, rmsprop", timeout=LONG)
    expect(status).to_contain_text("step ", timeout=LONG)
    first = int(searched(r"step ([\d,]+)", status.inner_text())[1].replace(",", ""))
    expect(status).not_to_contain_text(f"step {first:,},", timeout=LONG)
    assert int(searched(r"step ([\d,]+)", status.inner_text())[1].replace(",", "")) > first
    page.click("#cancel")
    expect(status).to_contain_text("interrupted: the best iterate so far is kept", timeout=LONG)
    expect(page.locator("#facts-verdict")).to_contain_text("No quine", timeout=LONG)
    expect(page.locator("#solve")).to_be_enabled()


@pytest.mark.skipif(find_spec("sklearn") is None, reason="no scikit-learn")
def test_a_quine_at_work_reads_digits_that_are_drawn_is_damaged_and_heals(visit):
    page = visit()
    ready(page)
    page.select_option("#network", "digits-mlp")
    expect(page.locator("#solve")).to_have_text("Train")
    page.click("#solve")
    expect(page.locator("#live-status")).to_contain_text(re.compile(r"epoch ([5-9]|[1-9][0-9])"), timeout=LONG)
    page.click("#cancel")  # stopped early it is a quine all the same
    expect(page.locator("#live-status")).to_contain_text("stopped early", timeout=LONG)
    expect(page.locator("#facts-verdict")).to_contain_text("prints its own weights", timeout=LONG)
    assert page.locator("#words .answer").all_inner_texts()[:2] == ["yes", "yes"]
    samples = page.locator("#samples button")
    expect(samples).to_have_count(10, timeout=LONG)
    samples.nth(0).click()
    status = page.locator("#answers-status")
    expect(status).to_contain_text("Undamaged it reads a 0", timeout=LONG)
    right = re.compile(r"gets ([\d.]+) % right undamaged and ([\d.]+) % as it is now")
    expect(status).to_contain_text(right, timeout=LONG)
    whole, now = map(float, searched(right, status.inner_text()).groups())
    assert whole == now > 60

    # An upright stroke by the pointer, which clears the sample, then one more cell by the keyboard.
    pad = page.locator("#pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 4, steps=20)
    page.mouse.up()
    expect(status).to_contain_text("Undamaged it reads a 1", timeout=LONG)
    pad.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")
    expect(page.locator("#pad-status")).to_have_text("row 3, column 4, ink 16 of 16")

    page.locator("#share").fill("50")
    page.click("#wound")
    expect(page.locator("#line-status")).to_contain_text("Damaged", timeout=LONG)
    expect(status).not_to_contain_text(f"and {now} %", timeout=LONG)
    assert float(searched(right, status.inner_text())[2]) < whole - 10
    page.click("#next")
    expect(page.locator("#line-status")).to_have_text(
        "Healed after 1 generation: every bit is the original's.", timeout=LONG
    )
    expect(status).to_contain_text(f"and {now} % as it is now", timeout=LONG)


@pytest.mark.skipif(find_spec("sklearn") is None, reason="no scikit-learn")
def test_a_network_without_work_is_asked_to_read_nothing_while_another_still_reads(visit):
    page = visit()
    ready(page)
    page.select_option("#network", "digits-mlp")
    page.click("#solve")
    expect(page.locator("#live-status")).to_contain_text(re.compile(r"epoch ([1-9]|[1-9][0-9])"), timeout=LONG)
    page.click("#cancel")
    expect(page.locator("#answers-status")).to_contain_text("it gets", timeout=LONG)
    held, asked = [], set()
    page.route("**/read", lambda route: route.continue_() if held else held.append(route))
    with page.expect_request("**/read"):
        page.click("#pad-clear")
    page.on("request", lambda request: request.url.endswith("/read") and asked.add(request.url))
    solved(page, "blog", seed=7)  # while the answer for the cleared pad is on its way
    with page.expect_response("**/score"):  # that of the network that reads, or the page would ask no more
        held[0].continue_()
    page.wait_for_timeout(300)
    assert asked <= {held[0].request.url}


def test_a_phone_shows_all_of_it_without_scrolling_sideways_light_and_dark(visit):
    page = visit(viewport={"width": 375, "height": 812}, color_scheme="light", has_touch=True, is_mobile=True)
    solved(page, "blog")
    expect(page.locator("#spectrum")).to_be_visible(timeout=LONG)
    page.click("#paint")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [375, 375]
        ink, paper = page.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
        brightness = [sum(map(int, re.findall(r"\d+", color)[:3])) for color in (ink, paper)]
        assert (brightness[0] > brightness[1]) == (scheme == "dark")
        assert abs(brightness[0] - brightness[1]) > 400


def test_everything_has_a_name_and_the_keyboard_reaches_it(visit):
    page = visit()
    solved(page, "blog")
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input, select, canvas, svg[role], section')].filter(e => e.checkVisibility() "
        "&& !(e.ariaLabel || e.labels?.length || e.textContent.trim() || e.getAttribute('aria-labelledby'))).map(e => e.outerHTML)"
    )
    assert nameless == []
    page.locator("body").press("Tab")
    wanted = {"network", "seed", "method", "exact", "solve", "wound-kind", "share", "wound", "next", "run", "zoo-find"}
    for _ in range(90):
        wanted.discard(page.evaluate("document.activeElement.id"))
        if not wanted:
            break
        page.keyboard.press("Tab")
    assert wanted == set()
    assert page.locator("[role=status], [role=alert]").count() >= 5


def drop(page, name, data):
    """Let go of a file over the page, as from a file manager."""
    transfer = page.evaluate_handle(  # as text: a list of numbers takes seconds to hand over
        "([name, text]) => { const t = new DataTransfer(), data = Uint8Array.from(atob(text), c => c.charCodeAt(0)); "
        "t.items.add(new File([data], name)); return t; }",
        [name, base64.b64encode(data).decode()],
    )
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})


def test_a_file_that_is_no_quine_is_named_so_in_one_line(visit):
    onnx = pytest.importorskip("onnx")
    page = ready(visit())
    status = page.locator("#check-status")
    drop(page, "garbage.onnx", b"not a model")
    expect(status).to_contain_text("garbage.onnx is not what neuralquine exports: it is no ONNX model", timeout=LONG)
    value = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    one = onnx.numpy_helper.from_array(np.ones(1, np.float32), "one")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["one"], ["y"])], "foreign", [], [value], [one])
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=opset)
    drop(page, "foreign.onnx", model.SerializeToString())
    expect(status).to_contain_text("foreign.onnx is not what neuralquine exports: it must take no input", timeout=LONG)


def test_an_exported_quine_is_read_and_run_in_the_page_and_a_forged_one_is_not_believed(visit, tmp_path):
    onnx = pytest.importorskip("onnx")
    forgeries = pytest.importorskip("keeping.onnx.forged")
    page = visit()
    solved(page, "blog", "exact")
    with page.expect_download(timeout=LONG) as download:
        page.click("#get-onnx")
    download.value.save_as(tmp_path / "self.onnx")
    data = bytearray((tmp_path / "self.onnx").read_bytes())
    drop(page, "self.onnx", data)
    status, found = page.locator("#check-status"), page.locator("#check-list li")
    expect(status).to_contain_text(
        "self.onnx prints its own weights, also here: 1,020 weights, 0 printed with other bits", timeout=LONG
    )
    expect(found).to_have_count(6)
    expect(found.last).to_have_text("Run once more with other weights, it printed 1,020 of 1,020 otherwise.")
    expect(page.locator("#check-word")).to_contain_text(
        "Compared by the lab: the graph is exactly what neuralquine exports"
    )
    model = onnx.load(tmp_path / "self.onnx")
    for number, forgery in enumerate(forgeries.FORGERIES):
        name = f"{number}-{forgery.__name__}.onnx"
        drop(page, name, forgeries.forged(model, forgery))
        expect(status).to_contain_text(f"{name} {SEEN.get(forgery.__name__, FOREIGN)}", timeout=LONG)
    expect(found).to_have_count(0)
    data[data.index(forgeries.theta_of(model)[:8].tobytes())] ^= 1
    (tmp_path / "damaged.onnx").write_bytes(data)
    page.set_input_files("#onnx-file", tmp_path / "damaged.onnx")
    expect(status).to_contain_text(
        "damaged.onnx is not a quine: 1,020 weights, 1 printed with other bits", timeout=LONG
    )

    # Where the lab did not compare the graph the page says so.
    refused = json.dumps({"error": "onnx is not installed"})
    page.route("**/api/check", lambda route: route.fulfill(status=400, body=refused, content_type="application/json"))
    drop(page, "self.onnx", (tmp_path / "self.onnx").read_bytes())
    expect(status).to_contain_text("self.onnx prints its own weights, also here", timeout=LONG)
    word = page.locator("#check-word")
    expect(word).to_contain_text("only the file’s own word")
    expect(word).to_contain_text("The lab did not: onnx is not installed.")
    assert all("400" in message for message in page.wrong)  # the browser tells of every refusal
    page.wrong.clear()


FOREIGN = "is not what neuralquine exports: "
SEEN = {
    "code_as_a_constant": "is not a quine: it prints the same 1,020 weights whatever it holds.",
    # What only the whole graph tells, which the lab writes again.
    "planted_offset": "is not believed: ",
    "echo": "is not believed: ",
}


def test_the_page_makes_the_tables_of_the_expansions(visit):
    page, generator = visit(), np.random.default_rng(0)
    ask = """async ([name, seed, rows, size]) => {
      const { TABLES } = await import("/static/js/tables.js");
      const entry = TABLES[name](seed, size);
      return Array.from({ length: rows * size }, (_, k) => entry(Math.floor(k / size), k % size));
    }"""
    for name in ("gaussian", "hadamard"):
        for size in (1, 7, 8, 20, 33):
            seed, rows = int(generator.integers(2**53)), 50
            found = page.evaluate(ask, [name, seed, rows, size])
            assert found == (4 * PRINTERS[name].matrix(seed, rows, size)).ravel().tolist(), (name, seed, size)


def test_without_the_token_the_page_says_what_to_do(visit, lab):
    page = visit(lab.base + "/")
    expect(page.locator("#trouble")).to_contain_text("no valid token: open the address that `neuralquine lab` printed")
    page.wrong.clear()  # the browser notes the refusal itself


HOSTILE = """<!doctype html><title>hostile</title><body><script>
const lab = "BASE", told = [];
const attempt = (name, what) => what.then(v => told.push([name, String(v)]), () => told.push([name, "refused"]));
const body = JSON.stringify({network: "blog", seed: 66});
const image = new Image();
(async () => {
  await attempt("read", fetch(lab + "/api/hello").then(r => r.text()));
  await attempt("read with the token", fetch(lab + "/api/hello", {headers: {"x-lab-token": "TOKEN"}}).then(r => r.text()));
  await attempt("read the page", fetch(lab + "/").then(r => r.text()));
  await attempt("write", fetch(lab + "/api/solve", {method: "POST", body}).then(r => r.text()));
  await attempt("write blindly", fetch(lab + "/api/solve", {method: "POST", mode: "no-cors", body}).then(r => r.status));
  await attempt("script", new Promise((yes, no) => document.body.append(Object.assign(document.createElement("script"), {
    src: lab + "/static/js/main.js", onload: () => yes("ran"), onerror: no}))));
  await attempt("style", new Promise((yes, no) => document.head.append(Object.assign(document.createElement("link"), {
    rel: "stylesheet", href: lab + "/static/style.css", onload: () => yes("ran"), onerror: no}))));
  document.title = JSON.stringify(told);
})();
</script><iframe src="BASE/?token=TOKEN"></iframe></body>"""


def test_a_page_on_another_port_neither_reads_nor_writes(lab, browser, tmp_path):
    (tmp_path / "index.html").write_text(HOSTILE.replace("BASE", lab.base).replace("TOKEN", lab.token))
    context = browser.new_context()
    context.set_default_timeout(LONG)
    with served(tmp_path) as elsewhere:
        page = context.new_page()
        page.goto(lab.address)  # the victim has the lab open in the same browser
        ready(page)
        hostile = context.new_page()
        hostile.goto(elsewhere)
        expect(hostile).to_have_title(re.compile("write blindly.*style"), timeout=LONG)
        told = dict(json.loads(hostile.title()))
        # The answer of a blind write is opaque, status 0; that it did nothing is seen below.
        assert told.pop("write blindly") in ("refused", "0")
        assert set(told.values()) == {"refused"}
        assert all("Find a quine" not in frame.content() for frame in hostile.frames[1:])
        jobs = page.evaluate(
            "fetch('/api/hello', {headers: {'x-lab-token': sessionStorage['neuralquine-lab-token']}}).then(r => r.json())"
        )["jobs"]
        assert not any("seed 66" in job["title"] for job in jobs)
        context.close()
