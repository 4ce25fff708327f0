"""A phase moves the grid of a code: by the same offset on every machine, in every place that rounds a code."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import neuralquine as nq
from neuralquine.quines.tables.phases import LARGEST_PHASE, offset, offsets
from neuralquine.solving.exact import _Tally, _tried
from neuralquine.solving.grids import FixedPoint
from neuralquine.solving.maps import ReducedMap


def test_phase_0_is_no_offset_and_the_others_are_known():
    assert not offsets(7, 0, 1, 20).any()
    assert (offsets(7, 0, 3, 6)[1:] == offsets(7, 1, 2, 6)).all()
    assert (8 * offset(0, 1, 6)).astype(int).tolist() == KNOWN
    assert offset(2**64 - 1, LARGEST_PHASE, 5).shape == (5,)


KNOWN = [4, 0, 6, 3, 6, 1]  # of seed 0, phase 1: a number, once drawn, keeps its meaning


@given(st.integers(0, 2**64 - 1), st.integers(1, LARGEST_PHASE - 4), st.integers(1, 9))
def test_a_stretch_of_phases_is_its_phases(seed, first, size):
    together = offsets(seed, first, 4, size)
    assert all((together[i] == offset(seed, first + i, size)).all() for i in range(4))
    assert ((8 * together) % 1 == 0).all()
    assert (together >= 0).all()
    assert (together < 1).all()


def net(code_bits: int | None = 6, code_phase=5, dtype=torch.float64):
    torch.manual_seed(1)
    trunk = torch.nn.Sequential(torch.nn.Linear(4, 12), torch.nn.Tanh(), torch.nn.Linear(12, 12))
    return nq.Quine(
        trunk, torch.ones(1, 4), code_size=12, seed=3, code_bits=code_bits, code_phase=code_phase, dtype=dtype
    )


def test_the_code_lies_on_the_moved_grid_and_is_the_nearest_there():
    quine = net()
    real, code = quine.real_code().detach(), quine.code().detach()
    steps = (code * 2**6).numpy() - offset(3, 5, 12)
    assert (steps == np.round(steps)).all()
    assert float((real - code).abs().max()) <= 0.5 * 2**-6
    assert not torch.equal(code, net(code_phase=0).code())
    assert torch.equal(quine.self_map(quine.theta), quine.expand(code))


def test_a_phase_without_a_grid_or_out_of_range_is_refused():
    with pytest.raises(nq.BadOption, match="code_phase moves a grid"):
        net(code_bits=None)
    for phase in (-1, 2**32):
        with pytest.raises(nq.BadOption, match="code_phase must be from 0"):
            net(code_phase=phase)


def anchored(phase, dtype=torch.float64):
    torch.manual_seed(1)
    trunk = torch.nn.Sequential(torch.nn.Linear(4, 12), torch.nn.Tanh(), torch.nn.Linear(12, 12))
    quine = nq.Quine(trunk, torch.ones(1, 4), code_size=12, skip=0.01, code_bits=6, code_phase=phase, dtype=dtype)
    for _ in range(20):
        quine.install(quine.code())
    return quine


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=str)
def moved(request, tmp_path_factory):
    """A bit-exact quine on a moved grid, and its folder."""
    quine = next(q for q in (anchored(phase, request.param) for phase in range(3, 40)) if nq.verify(q).bit_exact)
    folder = tmp_path_factory.mktemp("moved") / "quine"
    nq.save(quine, folder)
    return quine, folder


def test_a_phase_is_saved_counted_and_said(moved):
    quine, folder = moved
    again = nq.load(folder)
    assert again.code_phase == quine.code_phase > 0
    assert torch.equal(again.printed(), quine.theta)
    assert f"2^-6, phase {quine.code_phase}" in (folder / "README.md").read_text()
    without = anchored(0, quine.dtype)
    assert nq.verify(again).outside_bits == nq.verify(without).outside_bits + 2 * quine.code_phase.bit_length() + 2


def test_a_folder_without_a_phase_says_nothing_about_it(tmp_path):
    nq.save(anchored(0), tmp_path / "quine")
    assert "code_phase" not in json.loads((tmp_path / "quine" / "config.json").read_text())
    assert nq.load(tmp_path / "quine").code_phase == 0


def test_a_quine_whose_phase_is_altered_by_one_is_no_quine(moved):
    quine, folder = moved
    again = nq.load(folder)
    again.code_phase += 1
    verification = nq.verify(again)
    assert not verification.is_quine
    assert verification.differing_weights > 0
    nq.save(again, folder.with_name(f"altered-{quine.dtype_name}"))
    loaded = nq.load(folder.with_name(f"altered-{quine.dtype_name}"))
    assert not nq.verify(loaded).is_quine


def test_a_moved_grid_is_proved_and_checked(moved):
    pytest.importorskip("flint")
    quine, folder = moved
    from neuralquine.proving.certificate import certify, check
    from neuralquine.proving.portable import portability

    certificate = certify(folder, witness=None)
    assert certificate["code_phase"] == quine.code_phase
    assert check(folder / "certificate.json", witness=None) == certificate
    assert portability(folder, witness=None).proved
    for forged in (quine.code_phase + 1, 0, True):
        other = certificate | {"code_phase": forged}
        (folder / "forged.json").write_text(json.dumps(_signed(other)))
        with pytest.raises(nq.NeuralQuineError):
            check(folder / "forged.json", folder, witness=None)
    (folder / "forged.json").unlink()


def _signed(certificate):
    from neuralquine.proving import certificate as module
    from neuralquine.proving.form import digest

    certificate = dict(certificate) | {"claim": module._claim(certificate)}
    return certificate | {"digest": digest(certificate)}


def test_a_moved_grid_is_exported(moved, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    quine, folder = moved
    path = nq.export(folder, tmp_path / "self.onnx")
    printed, stored, says = onnxruntime.InferenceSession(path).run(["printed", "stored", "is_quine"], {})
    assert says
    assert printed.tobytes() == stored.tobytes() == quine.theta.numpy().tobytes()


def test_beyond_the_last_phase_nothing_is_tried_and_nothing_counted():
    quine = nq.recipe("blog", seed=3)
    quine.code_bits, quine.code_phase = 6, LARGEST_PHASE
    f = ReducedMap(quine)
    point, tally = FixedPoint.at(f, quine.real_code().detach()), _Tally()
    assert list(_tried(quine, f, point, math.inf, tally, torch.Generator(), lambda: False)) == []
    assert (point.trials, tally.trials) == (0, 0)
