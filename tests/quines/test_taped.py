"""A task quine prints every weight, bit for bit, whatever it has learned, and reads them with its own features."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

import forked
import neuralquine as nq
from attacks.test_files import forge
from neuralquine.quines.bias_tape import BiasTapeQuine
from neuralquine.quines.bits import differing
from neuralquine.quines.printers.tape import REACH, sign_images
from tasks.small import body, quine


def same(a, b):
    return not bool(differing(a, b).any())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU, nn.Identity])
def test_any_code_is_printed_bit_for_bit(activation, dtype):
    q = quine(activation=activation, dtype=dtype)
    for code in q.random_codes(5, torch.Generator().manual_seed(3)):
        q.install(code)
        assert same(q.printed(), q.theta)
        assert same(q.self_map(q.theta), q.theta)
        assert same(q.code(), code)
        assert q.margin > 16


def test_every_trainable_weight_is_printed():
    q = quine()
    assert q.parameter_count == sum(p.numel() for p in q.trunk.parameters()) == 8 * 48 + 48 + 3 * 48 + 3 + 3 * 256 * 48


def test_both_types_print_the_same_numbers():
    single, double = quine(), quine(dtype=torch.float64)
    assert torch.equal(single.theta.double(), double.theta)


def test_no_printed_weight_is_cut_off_when_it_is_read():
    q = quine()
    tensors = q.tensors(q.theta)
    read = q._read(tensors)
    assert all(torch.equal(tensors[name], read[name]) for name in tensors)
    for mean, gain, piece in zip(q.means, q.gains, list(tensors.values())[:-1], strict=False):
        assert float((piece - mean).abs().max()) <= REACH * gain


def test_what_is_printed_comes_from_the_tape_read_with_the_features():
    q = quine()
    other = q.random_codes(1, torch.Generator().manual_seed(8))[0]
    tensors = q.tensors(q.theta)
    swapped = torch.cat([q.expand.body(q.code()), q.expand.tape(other)])
    assert same(q.self_map(swapped), q.expand(other))  # the tape decides, whatever body reads it
    blind = torch.cat([torch.zeros_like(q.expand.body(other)), q.expand.tape(q.code())])
    assert not bool(q.code(blind).any())  # a body without features reads nothing
    assert tensors["tape.weight"].abs().unique().numel() == 1


def test_a_row_that_is_outvoted_is_read_as_the_majority_says():
    q = quine(repeats=1)
    theta = q.theta
    row = q.tensors(theta)["tape.weight"][7]
    row[:20] *= -1
    assert same(q.self_map(theta), q.theta)
    row.mul_(-1)  # now 28 of 48 say the other sign
    mutant = q.self_map(theta)
    assert not same(mutant, q.theta)
    assert same(q.self_map(mutant), mutant)  # inherited ever after


def test_damaged_weights_have_one_vote():
    q = quine()
    theta = q.theta
    for value in (torch.nan, torch.inf, -torch.inf, 3e38):
        struck = theta.clone()
        struck[::7] = value
        assert same(q.self_map(struck), theta), value


def test_the_body_must_return_features_and_outputs():
    with pytest.raises(nq.TrunkError, match="features"):
        nq.TaskQuine(nn.Linear(8, 3), (8, 8), 64)
    dead = nq.Body(nn.Sequential(nn.Linear(8, 16), nn.Threshold(1e9, 0.0)), nn.Linear(16, 3))
    with pytest.raises(nq.TrunkError, match="all 0"):
        nq.TaskQuine(dead, (8, 8), 64)
    with pytest.raises(nq.BadOption, match="float32 or float64"):
        quine(dtype=torch.bfloat16)
    with pytest.raises(nq.BadOption, match="repeats"):
        quine(repeats=0)


def test_it_is_trained_and_not_solved():
    q = quine()
    theta = q.theta
    for search in (nq.solve, nq.zoo):
        with pytest.raises(nq.NothingToSolve, match="train it"):
            search(q)
    assert same(q.theta, theta)


def test_the_body_handed_in_stays_as_it_was():
    b = body()
    before = [p.clone() for p in b.parameters()]
    nq.TaskQuine(b, (8, 8), 64)
    assert all(torch.equal(p, q) for p, q in zip(b.parameters(), before, strict=True))


def test_the_probe_is_the_same_on_every_machine():
    assert sign_images(7, 1, 8).tolist() == [[-1, 1, 1, -1, -1, 1, 1, -1]]
    q = quine(seed=5)
    assert set(q.probe.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(q.probe, sign_images(5, 8, 8))


# -- what verify says -------------------------------------------------------------------------------------------------


def test_verify_finds_a_quine_that_depends_on_its_weights_as_a_whole():
    v = nq.verify(quine())
    assert v.is_quine
    assert v.bit_exact
    assert not v.trivial
    assert v.self_sensitivity == 0.0
    assert v.generations_survived == v.generations_tried == 100
    assert v.response == pytest.approx(1.0)


def test_a_code_in_a_buffer_is_a_look_up():
    q = quine()
    q.trunk.body.register_buffer("notes", q.code().clone())
    assert any("look-up" in t for t in nq.verify(q).trivial)
    q = quine()
    bits = (q.code() > 0).numpy()
    q.trunk.body.register_buffer("notes", torch.from_numpy(np.packbits(bits)))
    assert any("look-up" in t for t in nq.verify(q).trivial)


def test_a_tape_is_printed_alike_by_every_machine(tmp_path):
    from neuralquine.proving.verbs import portability

    nq.save(quine(features=16, code_size=32), tmp_path / "q")
    assert portability(tmp_path / "q").proved


def test_one_flipped_bit_is_no_quine():
    q = quine()
    theta = q.theta
    theta.view(torch.int32)[11] ^= 1
    q.theta = theta
    v = nq.verify(q)
    assert not v.bit_exact
    assert v.differing_weights == 1


def test_the_real_tape_is_exact_and_named_a_copy():
    q = BiasTapeQuine(body(), (8, 8), 128)
    assert same(q.printed(), q.theta)
    v = nq.verify(q)
    assert v.bit_exact
    assert not v.is_quine
    assert any(t.startswith("copy") for t in v.trivial)
    assert v.spectral_radius == pytest.approx(1.0, rel=1e-3)


# -- kept -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [nq.TaskQuine, BiasTapeQuine])
def test_a_folder_gives_it_back_bit_for_bit(tmp_path, family):
    q = family(body(), (8, 8), 128, 3)
    nq.save(q, tmp_path / "q")
    back = nq.load(tmp_path / "q")
    assert type(back) is family
    assert same(back.theta, q.theta)
    assert same(back.printed(), q.theta)
    x = torch.randn(5, 8)
    assert torch.equal(back.outputs(x), q.outputs(x))
    card = (tmp_path / "q" / "README.md").read_text()
    assert "outside" in card
    assert "probe" in card


def test_another_process_with_other_threads_prints_the_same_bits(tmp_path):
    q = quine()
    nq.save(q, tmp_path / "q")
    code = (
        "import sys, torch, neuralquine as nq; torch.set_num_threads(int(sys.argv[2])); q = nq.load(sys.argv[1])\n"
        "from neuralquine.quines.bits import differing\nprint(int(differing(q.printed(), q.theta).sum()))"
    )
    for threads in ("1", "3"):
        run = [sys.executable, "-c", code, str(tmp_path / "q"), threads]
        assert forked.run(run, capture_output=True, text=True, check=True).stdout.strip() == "0"


@pytest.mark.parametrize(
    "change",
    [
        {"tape": None},
        {"tape": {"kind": "signs", "repeats": 0}},
        {"tape": {"kind": "signs", "repeats": 5}},
        {"tape": {"kind": "x", "repeats": 3}},
    ],
)
def test_a_forged_tape_is_refused(tmp_path, change):
    q = quine()
    nq.save(q, tmp_path / "q")
    forge(tmp_path / "q", lambda config: config.update(change))
    with pytest.raises(nq.QuineFileError):
        nq.load(tmp_path / "q")


@pytest.mark.parametrize("size", [0, -1, 17, 2**33, 2**39, 2**63, 1.5, True, None, "9"])
@pytest.mark.parametrize("name", ["features", "rows"])
def test_a_forged_size_of_the_tape_is_refused(tmp_path, name, size):
    nq.save(quine(features=16, code_size=32), tmp_path / "q")
    forge(tmp_path / "q", lambda config: config["trunk"]["arguments"].update({name: size}))
    with pytest.raises(nq.QuineFileError) as caught:
        nq.load(tmp_path / "q")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda trunk: trunk.pop("parts"),
        lambda trunk: trunk["parts"].update(body=None),
        lambda trunk: trunk["parts"].update(body=trunk["parts"]["body"]["parts"]["head"]),
        lambda trunk: trunk["parts"].update(other=trunk["parts"]["body"]),
        lambda trunk: trunk["parts"]["body"].update(arguments={"features": 16}),
        lambda trunk: trunk["arguments"].pop("bias"),
        lambda trunk: trunk["arguments"].update(bias=True),
        lambda trunk: trunk.update(type="neuralquine.Body"),
    ],
)
def test_a_forged_body_is_refused(tmp_path, change):
    nq.save(quine(features=16, code_size=32), tmp_path / "q")
    forge(tmp_path / "q", lambda config: change(config["trunk"]))
    with pytest.raises(nq.QuineFileError) as caught:
        nq.load(tmp_path / "q")
    assert "\n" not in str(caught.value)
