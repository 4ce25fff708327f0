"""``neuralquine post``: the page as a process writes it, and curves that go on where they were stopped."""

import json
import re
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import forked
import neuralquine as nq
from neuralquine.errors import BadOption, QuineFileError
from neuralquine.keeping.post.chart import Line, chart
from neuralquine.keeping.post.curves import Curve, PostLoop
from neuralquine.keeping.post.run import _check, plan
from neuralquine.solving.loop import Stop

CHAPTERS = (
    *("The network", "Part 1: the zero quine", "Newton, with normalization", "Why normalization avoids zero"),
    *("Part 2: the loop", "The loop as it was meant", "The same network, solved", "Exactly 0", "The proof"),
)


def test_the_page_has_every_chapter_and_asks_for_nothing(tmp_path):
    command = [sys.executable, "-m", "neuralquine", "post", "--quick", "--steps", "4", "--out", str(tmp_path / "p")]
    done = forked.run([*command, "--json"], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    page = (tmp_path / "p" / "index.html").read_text(encoding="utf-8")
    assert [chapter for chapter in CHAPTERS if f"<h2>{chapter}" in page] == list(CHAPTERS)
    words = re.sub("data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"""https?:|//|url\(|<script|<link|@import""", words)
    assert all(src.startswith("data:image/png;base64,") for src in re.findall(r'src(?:set)?="([^"]*)', page))
    assert len(re.findall("<picture>", page)) == 4 * 9
    assert found["loop"]["steps"] == 4
    assert found["quine"]["converged"]
    assert found["exact"]["bit_exact"]
    assert found["zero"]["squared_residual"] < 1e-8
    assert found["zero"]["relative"] > 0.5
    assert found["radius_at_zero"]["without"] < 0.1 < 10 < found["radius_at_zero"]["with"]
    assert json.loads((tmp_path / "p" / "figures.json").read_text()) == {k: v for k, v in found.items() if k != "page"}
    assert nq.verify(nq.load(tmp_path / "p" / "exact"), tries=1).bit_exact


@pytest.mark.parametrize("meant", [False, True])
def test_an_interrupted_loop_goes_on_as_if_it_had_never_stopped(tmp_path, meant):
    quine = nq.recipe("blog", seed=3)

    def stop(step, _):
        if step == 7:
            raise KeyboardInterrupt

    whole = Curve(tmp_path / "whole", PostLoop(quine, meant=meant), "x")
    whole.advance(20, lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        Curve(tmp_path / "cut", PostLoop(quine, meant=meant), "x").advance(20, stop)
    again = Curve(tmp_path / "cut", PostLoop(quine, meant=meant), "x")
    assert again.steps == 7
    again.advance(20, lambda *_: None)
    assert np.array_equal(again.squared, whole.squared)
    assert again.last.equal(whole.last)
    assert again.best.equal(whole.best)


@pytest.mark.parametrize(("meant", "gradient"), [(False, "semi"), (True, "true")])
def test_the_loop_is_the_one_that_solve_runs(tmp_path, meant, gradient):
    quine = nq.recipe("blog", seed=5)
    curve = Curve(tmp_path / "c", PostLoop(quine, meant=meant), "x")
    curve.advance(10, lambda *_: None)
    solution = nq.solve(quine, nq.Gradient(gradient=gradient), stop=Stop(max_steps=10), throw=False)
    assert solution.last_theta is not None
    torch.testing.assert_close(curve.last, solution.last_theta, rtol=1e-6, atol=1e-9)
    current = [p.current_squared_residual for p in solution.trace]
    np.testing.assert_allclose(curve.squared, current, rtol=1e-6)


def test_a_file_that_is_no_such_curve_is_refused(tmp_path):
    quine, path = nq.recipe("blog"), tmp_path / "c"
    Curve(path, PostLoop(quine), "x").advance(3, lambda *_: None)
    with pytest.raises(QuineFileError, match="holds no curve of y"):
        Curve(path, PostLoop(quine), "y")
    held = load_file(path)
    for wrong in ({"theta": torch.zeros(3)}, {"sizes": torch.zeros(9)}, {"memory.x": torch.zeros(5000)}):
        save_file(held | wrong, path, metadata={"neuralquine-curve": "x"})
        with pytest.raises(QuineFileError):
            Curve(path, PostLoop(quine), "x")
    path.write_bytes(b"no")
    with pytest.raises(QuineFileError):
        Curve(path, PostLoop(quine), "x")


def test_a_folder_of_another_origin_is_refused_before_any_work(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(BadOption, match=r"letter\.txt"):
        _check(tmp_path)
    with pytest.raises(BadOption, match="is a file: choose a folder"):
        _check(tmp_path / "letter.txt")


def test_the_whole_post_takes_its_200_000_steps():
    assert plan(0, None, quick=False).steps == 200_000
    assert plan(0, 7, quick=True).steps == plan(0, 7, quick=True).newton == 7


def test_no_extreme_of_a_long_curve_is_lost_in_its_drawing():
    y = np.ones(50_000)
    y[31_234], y[777] = 1e3, 1e-3
    drawn = chart([Line("a", "now", np.arange(50_000), y)], x_name="step", y_name="y")
    (wide, narrow) = re.findall(r'class="line now" d="([^"]*)', drawn)
    for path in (wide, narrow):
        heights = [float(v) for v in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]
        assert len(heights) < 4000
        assert min(heights) == 12.0
        assert max(heights) > 200


@pytest.mark.parametrize("seed", range(2))
def test_batch_normalization_needs_more_than_one_probe(seed):
    with pytest.raises(BadOption, match="batch normalization of one probe makes every number 0"):
        nq.recipe("blog", norm="batch")
    assert nq.solve(nq.recipe("blog", seed=seed, norm="batch", probes=8)).converged
    with pytest.raises(BadOption, match="norm must be"):
        nq.recipe("blog", norm="layer")
