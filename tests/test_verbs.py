"""Python has the verbs of the command line, and says shortly what it holds."""

import re
import sys

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.solving.bar import shown
from neuralquine.solving.search import step_limit


def test_nothing_foreign_is_listed():
    public = [name for name in dir(nq) if not name.startswith("__")]
    assert sorted(public) == sorted(set(nq.__all__) - {"__version__"})


def test_theorems_are_asked_of_a_quine_or_of_its_folder(solved, tmp_path):
    pytest.importorskip("flint")
    assert nq.certify(solved, tmp_path / "q")["claim"] == nq.certify(tmp_path / "q")["claim"]
    assert nq.check_proof(tmp_path / "q")["claim"] == nq.check_proof(tmp_path / "q" / "certificate.json")["claim"]
    few = nq.digits(solved, 30)
    assert [float(d) for d in few] == pytest.approx(solved.theta.tolist(), abs=1e-12)
    assert nq.portable(solved).proved is False  # it has no grid
    for wrong in (lambda: nq.digits(solved, 0), lambda: nq.certify(tmp_path / "q", tmp_path / "r")):
        with pytest.raises(nq.BadOption):
            wrong()


def test_a_theorem_is_refused_where_a_plain_evaluation_denies_it():
    pytest.importorskip("flint")
    with pytest.raises(nq.NeuralQuineError, match="no quine"):
        nq.certify(nq.recipe("blog"))


def test_limits_are_where_one_looks_for_them():
    quine = nq.recipe("blog")
    found = nq.solve(quine, "rmsprop", max_steps=7, throw=False)
    assert (found.steps, found.status) == (7, nq.Status.MAX_STEPS)
    found = nq.solve(quine, "rmsprop", stop=nq.Stop(max_steps=9), time_limit=1e-9, throw=False)
    assert found.status is nq.Status.TIME_LIMIT
    with pytest.raises(nq.BadOption):
        nq.solve(quine, max_steps=-1)


def test_a_line_shows_a_search_on_a_terminal_alone(monkeypatch):
    for terminal, asked, seen in ((True, None, True), (True, False, False), (False, None, False), (False, True, True)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        with shown(asked) as follow:
            assert (follow is not None) == seen
    with shown(print) as follow:
        assert follow is print


def test_a_line_appears_when_a_search_lasts_and_goes_with_it(capsys, monkeypatch):
    monkeypatch.setattr("neuralquine.solving.bar._PATIENCE", 0.0)
    nq.solve(nq.recipe("blog"), "rmsprop", max_steps=300, throw=False, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    nq.solve(nq.recipe("blog"))
    assert capsys.readouterr().err == ""


def test_a_line_knows_how_far_a_search_goes(capsys, monkeypatch):
    """The loop of the post takes all of its steps, so the share and the time left are known; the ladder ends before."""
    monkeypatch.setattr("neuralquine.solving.bar._PATIENCE", 0.0)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    nq.solve(nq.recipe("blog"), "rmsprop", max_steps=300, throw=False, progress=True)
    shown_ = capsys.readouterr().err
    assert re.search(r"step \d+ of 300, relative residual \S+, best \S+", shown_)
    assert "left" in shown_
    nq.solve(nq.recipe("blog"), progress=True)
    assert " of " not in capsys.readouterr().err
    quine = nq.recipe("blog")
    assert step_limit(quine, None, nq.Stop()) is None
    assert step_limit(quine, nq.Gradient(), nq.Stop()) == 200_000
    assert step_limit(quine, nq.Broyden(), nq.Stop()) == 120  # in the 20 dimensions of the code
    assert step_limit(quine, nq.Broyden(), nq.Stop(max_steps=0)) == 0


def test_the_remedy_that_is_no_limit_is_named():
    """Where it can be followed: the recipe of the post has no such option, and an anchored network is anchored."""
    with pytest.raises(nq.NotSolved, match=r"with skip=0\.1 the network is anchored"):
        nq.solve(nq.recipe("rnn"), max_steps=1)
    for name, options, stop in (("blog", {}, 1), ("rnn", {"skip": 0.1}, 1), ("rnn", {}, None)):
        assert "skip" not in nq.solve(nq.recipe(name, **options), max_steps=stop, throw=False).detail


def test_what_is_shown_is_short(solved):
    for shown_ in (nq.spectrum(solved), nq.zoo(solved, starts=2), nq.generations(solved, 20)):
        assert len(repr(shown_)) < 200
        assert "tensor" not in repr(shown_)
    assert "spectral radius 2.93" in repr(nq.spectrum(solved))


@pytest.mark.parametrize("exact", [False, True])
def test_a_notebook_shows_stored_printed_and_difference(exact, exact_blog, solved):
    quine = exact_blog() if exact else solved
    html = quine._repr_html_()
    assert len(html) < 200_000
    assert html.count("<img") == 3 * 6
    assert ("exactly 0" in html) == exact
    assert "<script" not in html
    image = pytest.importorskip("PIL.Image")
    import base64
    import io

    for data in re.findall(r"base64,([^\"]+)", html):
        picture = image.open(io.BytesIO(base64.b64decode(data)))
        picture.load()
        assert max(picture.size) <= 64


def test_a_large_or_odd_network_is_shown_too():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_parameter("<b>", nn.Parameter(torch.zeros(())))
            self.a = nn.Linear(3, 500)

        def forward(self, x):
            return self.a(x) * getattr(self, "<b>")

    html = nq.Quine(Odd(), torch.ones(1, 3))._repr_html_()
    assert "&lt;b&gt;" in html
    assert len(html) < 200_000


def test_a_quine_that_is_asked_as_other_networks_are_says_how(solved):
    with pytest.raises(nq.BadOption, match=r"q\(\) prints its weights, q.trunk\(x\) answers other inputs"):
        solved(torch.ones(1, 8))
    with pytest.raises(nq.TrunkError, match="the type of a quine is fixed"):
        solved.half()
