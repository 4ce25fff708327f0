"""Figures: they exist, and what is on their axes is the quine's own data."""
# pyright: reportAttributeAccessIssue=false

import re

import numpy as np
import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.checking import plots

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def exact(exact_blog):
    return exact_blog()


def panels(figure):
    """Rows of (stored, printed, difference) axes, without the color bars."""
    axes = [axis for axis in figure.axes if axis.images]
    axes = [axis for axis in axes if axis.get_label() != "<colorbar>"]
    return [axes[i : i + 3] for i in range(0, len(axes), 3)]


def test_every_figure_is_written(tmp_path, solved):
    written = plots.plot(solved, tmp_path / "figures", words="converged")
    assert [p.name for p in written] == ["spectrum.png", "weights-1.png", "residual.png"]
    for path in written:
        assert path.read_bytes().startswith(PNG)
        assert path.stat().st_size > 5000
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == sorted(p.name for p in written)


def test_without_a_trace_there_is_no_residual_to_draw(tmp_path, small):
    assert [p.name for p in plots.plot(small, tmp_path)] == ["spectrum.png", "weights-1.png"]
    trace = [{"step": 1, "seconds": 0.1, "relative_residual": 0.5}]
    assert [p.name for p in plots.plot(small, tmp_path, trace=trace)][-1] == "residual.png"


def test_the_current_residual_is_drawn_behind_the_best_relative_and_squared(solved):
    trace = [vars(point) for point in solved.solution.trace]
    figure = plots.residual_figure(trace, 9e-15)
    for axis, key in zip(figure.axes, ("relative_residual", "squared_residual"), strict=True):
        for line, name in zip(axis.lines, (f"current_{key}", key), strict=False):
            assert list(line.get_xdata()) == [p["step"] for p in trace]
            assert list(line.get_ydata()) == [p[name] for p in trace]
        assert axis.get_yscale() == "log"
        assert axis.get_xlabel() == "step"
    assert list(figure.axes[0].lines[2].get_ydata()) == [9e-15, 9e-15]
    assert 1 <= float(figure.get_suptitle().split()[2]) / trace[-1]["relative_residual"] < 1.01  # rounded up


def test_of_an_older_trace_the_one_curve_is_drawn_once():
    trace = [{"step": i, "seconds": i / 10, "relative_residual": 1.0 / (i + 1)} for i in range(5)]
    (axis,) = plots.residual_figure(trace, 9e-15).axes
    assert len(axis.lines) == 2


def test_a_zero_quine_is_pale():
    quine = nq.recipe("blog-part1")
    quine.theta = 1e-6 * quine.theta
    limits = [row[0].images[0].get_clim()[1] for row in panels(plots.weight_figures(quine)[0])]
    assert min(limits) > 1e4 * float(quine.theta.abs().max())


def test_stored_printed_and_difference_stand_side_by_side_for_every_tensor(solved):
    (figure,) = plots.weight_figures(solved, "converged")
    stored, printed = solved.tensors(solved.theta), solved.tensors(solved.printed())
    rows = panels(figure)
    assert len(rows) == 6
    for (name, tensor), (left, middle, right) in zip(stored.items(), rows, strict=True):
        shape = tensor.shape if tensor.dim() == 2 else (1, len(tensor))
        assert np.array_equal(left.images[0].get_array(), tensor.reshape(shape).numpy())
        assert np.array_equal(middle.images[0].get_array(), printed[name].reshape(shape).numpy())
        difference = (printed[name] - tensor).reshape(shape).numpy()
        shown = right.images[0].get_array()
        assert np.array_equal(np.ma.getmaskarray(shown), difference == 0)
        assert np.array_equal(shown.compressed(), difference[difference != 0])
        assert left.get_title() == f"{name} {tuple(tensor.shape)}"
        assert left.images[0].get_clim() == middle.images[0].get_clim()  # one scale, or they could not be compared
        bound = float(right.get_title().removeprefix("difference ≤ ").partition(",")[0])
        assert bound / 2 < np.abs(difference).max() <= bound  # one digit, and never below what it bounds
        assert f"0 in {(difference == 0).sum()} of {tensor.numel()} (green)" in right.get_title()
    assert "converged" in figure.get_suptitle()
    assert f"{solved.solution.differing_weights} of 1020 weights differ in bits" in figure.get_suptitle()


def test_a_difference_of_exactly_zero_is_shown_as_such(exact):
    (figure,) = plots.weight_figures(exact)
    for _, _, right in panels(figure):
        assert right.get_title() == "difference: exactly 0 everywhere"
        image = right.images[0]
        assert np.ma.getmaskarray(image.get_array()).all()
        assert matplotlib.colors.to_hex(image.cmap.get_bad()) == plots._EXACT
    assert "0 of 1020 weights differ in bits" in figure.get_suptitle()


def test_a_zero_of_the_other_sign_is_not_shown_as_equal():
    class Zero(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

        def forward(self, z):
            return 0 * self.weight

    quine = nq.Quine(Zero(), torch.ones(1), code_size=2, prints="code", normalize=False, alpha=1.0)
    quine.theta = torch.tensor([-0.0, -0.0])
    (figure,) = plots.weight_figures(quine)
    assert panels(figure)[0][2].get_title() != "difference: exactly 0 everywhere"


def test_eigenvalues_are_drawn_with_the_unit_circle(solved):
    figure = plots.eigenvalue_figure(solved, "converged")
    (axis,) = figure.axes
    spectrum = nq.spectrum(solved)
    drawn = np.concatenate([np.asarray(c.get_offsets()) for c in axis.collections])
    values = spectrum.eigenvalues.numpy()
    assert sorted(map(tuple, drawn)) == sorted(zip(values.real, values.imag, strict=True))
    circle = axis.lines[0]
    np.testing.assert_allclose(np.hypot(circle.get_xdata(), circle.get_ydata()), 1, rtol=1e-6)
    title = figure.get_suptitle()
    assert f"spectral radius {spectrum.spectral_radius:.3g}" in title
    assert "converged" in title
    figure.draw_without_rendering()
    places = [figure._suptitle.get_window_extent(), axis.get_window_extent(), figure.legends[0].get_window_extent()]
    assert all(place.y0 >= 0 and place.y1 <= figure.bbox.height for place in places)  # nothing is cut off
    assert places[0].y0 > places[1].y1 > places[1].y0 > places[2].y1
    outside = int((np.abs(values) >= 1).sum())
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any(re.fullmatch(f"{outside} outside", label) for label in labels)
    assert axis.get_xlim()[1] > np.abs(values).max()


def test_many_tensors_take_several_pages_and_large_ones_show_their_first_cells():
    trunk = nn.Sequential(nn.Linear(600, 3), *[nn.Linear(3, 3) for _ in range(4)])
    quine = nq.Quine(trunk, torch.randn(600), code_size=3)
    pages = plots.weight_figures(quine)
    assert [len(panels(page)) for page in pages] == [6, 4]
    assert panels(pages[0])[0][0].images[0].get_array().shape == (3, 512)


def test_scalars_and_empty_tensors_can_be_drawn():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.empty = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.zeros(0, 3))
            self.weight = nn.Parameter(torch.randn(4, 2, 3))

        def forward(self, z):
            return self.scale * self.weight.sum((1, 2)) * z

    (figure,) = plots.weight_figures(nq.Quine(Odd(), torch.randn(4), code_size=4))
    assert [row[0].get_title() for row in panels(figure)] == ["scale ()", "weight (4, 2, 3)"]


@pytest.mark.parametrize("size", [1e160, 1.7e308])
def test_weights_without_measure_can_be_drawn_and_no_number_is_not_shown_as_equal(size, tmp_path):
    quine = nq.recipe("queried-121")
    with torch.no_grad():
        quine.theta = torch.full_like(quine.theta, size)
    for figure in plots.weight_figures(quine):
        figure.savefig(tmp_path / "weights.png")
        for axis in figure.axes:
            for image in axis.images:
                assert not np.ma.getmaskarray(image.get_array()).any()  # the color of what is equal
