"""Proofs: given where they hold, refused where they do not, and not fooled by an altered certificate."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import forked
import neuralquine as nq
from neuralquine.files.folder import sha256
from neuralquine.files.strict_json import canonical
from neuralquine.proving.certificate import NotProved, certify, check
from neuralquine.proving.enclosed import coded, stored
from neuralquine.proving.form import digest
from neuralquine.proving.network import Network
from neuralquine.proving.portable import portability
from neuralquine.proving.proofs import krawczyk, refine, stored_code
from neuralquine.proving.rules import NoRule


@pytest.fixture(scope="module")
def smooth(tmp_path_factory):
    """A converged quine without a grid."""
    quine = nq.recipe("blog", seed=0)
    nq.solve(quine)
    folder = tmp_path_factory.mktemp("smooth") / "q"
    nq.save(quine, folder)
    return folder


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """A bit-exact quine on a grid."""
    quine = nq.recipe("blog", seed=1)
    nq.solve(quine, exact=True)
    folder = tmp_path_factory.mktemp("exact") / "q"
    nq.save(quine, folder)
    return folder


def forge(source, target, change):
    """Alter the weights and make hash and configuration consistent again, as a careful liar would."""
    target.mkdir()
    held = load_file(source / "model.safetensors")
    config = json.loads((source / "config.json").read_text())
    del config["weights_sha256"]
    change(held, config)
    save_file(held, target / "model.safetensors", metadata={"neuralquine": canonical(config)})
    config["weights_sha256"] = sha256(target / "model.safetensors")
    (target / "config.json").write_text(json.dumps(config))
    return target


@pytest.mark.parametrize("seeds", [range(3), pytest.param(range(3, 20), marks=pytest.mark.slow)])
def test_quines_of_several_seeds_are_proved(seeds, tmp_path):
    for seed in seeds:
        quine = nq.recipe("blog", seed=seed)
        nq.solve(quine)
        nq.save(quine, tmp_path / str(seed))
        certificate = certify(tmp_path / str(seed))
        assert certificate["theta_radius"] < 1e-11
        assert check(tmp_path / str(seed) / "certificate.json") == certificate


def test_the_proved_quine_is_where_newton_in_another_arithmetic_finds_it(smooth):
    certificate = certify(smooth)
    quine = nq.load(smooth)
    code = quine.code(quine.theta).numpy()
    assert np.abs(code - np.array(certificate["code_midpoint"])).max() < 1e-13


def test_the_exact_network_is_proved_to_print_its_weights(exact):
    certificate = certify(exact)
    assert certificate["kind"] == "bit-exact"
    assert 0 < certificate["margin"] < 0.5
    assert check(exact / "certificate.json") == certificate


def test_a_point_that_is_not_a_quine_is_refused(tmp_path):
    quine = nq.recipe("blog", seed=0)
    nq.save(quine, tmp_path / "q")
    with pytest.raises(NotProved):
        certify(tmp_path / "q")
    assert not (tmp_path / "q" / "certificate.json").exists()


def test_a_point_near_a_quine_but_not_at_it_is_refused(smooth, tmp_path):
    def push(held, _):
        held["trunk.0.weight"][0, 0] += 1e-3

    with pytest.raises(NotProved):
        certify(forge(smooth, tmp_path / "q", push))


def test_the_zero_quine_is_not_proved_to_be_one(tmp_path):
    quine = nq.recipe("blog-part1", seed=0)
    quine.theta = torch.zeros(1020, dtype=torch.float64)
    nq.save(quine, tmp_path / "q")
    with pytest.raises(NotProved, match="zero"):
        certify(tmp_path / "q")


def test_one_flipped_bit_in_the_weights_is_refused(exact, smooth, tmp_path):
    certify(exact)
    data = bytearray((exact / "model.safetensors").read_bytes())
    data[-100] ^= 1
    altered = tmp_path / "altered"
    altered.mkdir()
    (altered / "config.json").write_bytes((exact / "config.json").read_bytes())
    (altered / "model.safetensors").write_bytes(data)
    for act in (lambda: certify(altered), lambda: check(exact / "certificate.json", altered)):
        with pytest.raises(nq.QuineFileError, match="altered"):
            act()

    def flip(held, _):
        held["trunk.3.bias"].view(np.int64)[0] ^= 1

    forged = forge(exact, tmp_path / "forged", flip)
    with pytest.raises(NotProved, match="not the print"):
        certify(forged)
    with pytest.raises(NotProved, match="other weights"):
        check(exact / "certificate.json", forged)
    with pytest.raises(NotProved, match="other weights"):
        check(exact / "certificate.json", smooth)


def numbers_in(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers_in(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from numbers_in(item, (*path, index))
    elif isinstance(value, int | float):
        yield path


@pytest.mark.parametrize("kind", ["smooth", "exact"])
def test_any_altered_number_is_refused(kind, request, tmp_path):
    folder = request.getfixturevalue(kind)
    certificate = certify(folder)
    paths = list(numbers_in(certificate))
    assert len(paths) > 20
    for path in paths:
        altered = json.loads(json.dumps(certificate))
        holder = altered
        for key in path[:-1]:
            holder = holder[key]
        old = holder[path[-1]]
        holder[path[-1]] = old + 1 if isinstance(old, int) else float(np.nextafter(old, np.inf))
        (tmp_path / "c.json").write_text(json.dumps(altered))
        with pytest.raises((NotProved, nq.QuineFileError)):
            check(tmp_path / "c.json", folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("theta_radius", 1e-20),
        ("code_radius", 1e-30),
        ("code_radius", 0.5),
        ("code_radius", -1e-9),
        ("theta_radius", 1.0),
    ],
)
def test_a_false_claim_with_a_fresh_digest_is_refused_by_the_mathematics(smooth, tmp_path, key, value):
    certificate = certify(smooth) | {key: value}
    certificate["claim"] = certify(smooth)["claim"].replace(repr(certify(smooth)[key]), repr(value))
    certificate["digest"] = digest(certificate)
    (tmp_path / "c.json").write_text(json.dumps(certificate))
    with pytest.raises(NotProved, match=r"mapped into itself|farther|too far|empty"):
        check(tmp_path / "c.json", smooth)


def test_a_shifted_midpoint_with_a_fresh_digest_is_refused_by_the_mathematics(smooth, tmp_path):
    certificate = certify(smooth)
    certificate["code_midpoint"][3] += 1e-9
    certificate["digest"] = digest(certificate)
    (tmp_path / "c.json").write_text(json.dumps(certificate))
    with pytest.raises(NotProved, match="mapped into itself"):
        check(tmp_path / "c.json", smooth)


def test_another_code_or_margin_with_a_fresh_digest_is_refused(exact, tmp_path):
    honest = certify(exact)
    for key, value in (("margin", 0.49), ("code", [honest["code"][0] + 1, *honest["code"][1:]])):
        certificate = honest | {key: value}
        certificate["claim"] = honest["claim"].replace(repr(honest["margin"]), repr(certificate["margin"]))
        certificate["digest"] = digest(certificate)
        (tmp_path / "c.json").write_text(json.dumps(certificate))
        with pytest.raises(NotProved):
            check(tmp_path / "c.json", exact)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "{" * 10_000, '{"format": NaN}', '{"format": 1, "kind": "fixed point"}']
)
def test_rubbish_is_one_clear_error(text, tmp_path, smooth):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(nq.NeuralQuineError) as caught:
        check(tmp_path / "c.json", smooth)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "more", [{"is_quine": True}, {"portable": True}, {"theorem": "x"}, {"format": True}, {"parameters": 1020.0}]
)
@pytest.mark.parametrize("kind", ["smooth", "exact"])
def test_a_certificate_says_nothing_that_is_not_checked(kind, more, request, tmp_path):
    folder = request.getfixturevalue(kind)
    certificate = certify(folder) | more
    certificate["digest"] = digest(certificate)
    (tmp_path / "c.json").write_text(json.dumps(certificate))
    with pytest.raises(NotProved, match=r"more than is checked|another network"):
        check(tmp_path / "c.json", folder)


def test_a_certificate_of_deep_nesting_is_one_clear_error(smooth, tmp_path):
    text = json.dumps(certify(smooth))
    for depth in range(900, 1000):
        (tmp_path / "c.json").write_text(text[:-1] + ', "more": ' + "[" * depth + "]" * depth + "}")
        with pytest.raises(nq.NeuralQuineError):
            check(tmp_path / "c.json", smooth)


def _arguments(index, **changed):
    def change(_, config):
        config["trunk"]["children"][index][1]["arguments"] |= changed

    return change


FORGED = {
    "no bias": _arguments(0, bias=False),
    "other features": _arguments(0, in_features=7),
    "kept": lambda _, config: config.update(kept=["0.weight"]),
    "another shape": lambda _, config: config["tensors"][0][1].reverse(),
    "another order": lambda _, config: config["tensors"].reverse(),
    "one mean": lambda _, config: config.update(means=[0.0]),
    "a gain more": lambda _, config: config["gains"].append(1.0),
    "no tensors": lambda _, config: config.update(tensors=[], means=[], gains=[]),
    "a tensor more": lambda held, _: held.update({"trunk.more": np.ones(3)}),
    "float32": lambda held, _: held.update({"trunk.0.weight": held["trunk.0.weight"].astype(np.float32)}),
    "a probe in float32": lambda held, _: held.update({"probe.0": held["probe.0"].astype(np.float32)}),
    "integers": lambda held, _: held.update({"trunk.0.weight": held["trunk.0.weight"].astype(np.int64)}),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_description_of_other_tensors_proves_nothing(name, smooth, tmp_path):
    forged = forge(smooth, tmp_path / "q", FORGED[name])
    with pytest.raises(nq.QuineFileError) as caught:
        certify(forged)
    assert "\n" not in str(caught.value)


def test_krawczyk_denies_a_box_without_a_fixed_point(smooth):
    network = Network(smooth)
    midpoint = refine(network, stored_code(network))
    assert krawczyk(network, midpoint, 1e-10).proved
    beside = [midpoint[0] + 1e-8, *midpoint[1:]]
    assert not krawczyk(network, beside, 1e-10).proved


@pytest.mark.parametrize("how", ["sys.modules['torch'] = None; check(sys.argv[1])", "check(sys.argv[1], witness=None)"])
def test_the_checker_needs_neither_torch_nor_a_solver(how, exact):
    """Where torch is not installed, or nobody is asked to evaluate."""
    certify(exact)
    code = (
        f"import sys; from neuralquine.proving.certificate import check; {how}\n"
        "bad = [m for m in sys.modules if (m == 'torch' and sys.modules[m]) or m.startswith(('neuralquine.solving.solve', 'neuralquine.solving.methods', 'neuralquine.solving.exact'))]\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code, str(exact / "certificate.json")], check=True)


def test_portable_is_proved_for_a_grid_with_room(exact):
    verdict = portability(exact)
    assert verdict.proved
    assert 0 < verdict.float_margin < verdict.exact_margin


def test_portable_is_denied_without_a_grid(smooth):
    verdict = portability(smooth)
    assert not verdict.proved
    assert "not rounded" in verdict.reason


def test_portable_is_denied_where_round_off_could_reach_the_boundary(exact, tmp_path):
    # The same network on a grid so fine that the trunk's own rounding moves the code by more than a step.
    quine = nq.load(exact)
    quine.code_bits = 52
    quine.theta = quine.printed()
    nq.save(quine, tmp_path / "fine")
    assert not portability(tmp_path / "fine").proved


def test_portable_is_denied_in_float32_where_the_sums_do_not_fit(tmp_path):
    quine = nq.recipe("blog", seed=1, dtype=torch.float32)
    quine.code_bits = 20
    quine.theta = quine.printed()
    nq.save(quine, tmp_path / "q")
    assert not portability(tmp_path / "q").proved


def test_verify_says_proved_only_with_a_certificate_that_holds(smooth, tmp_path):
    def run(folder):
        out = forked.run(
            [sys.executable, "-m", "neuralquine", "verify", str(folder), "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        return out.returncode, json.loads(out.stdout)

    quine = nq.load(smooth)
    nq.save(quine, tmp_path / "q")
    status, found = run(tmp_path / "q")
    assert (status, found["proved"], found["portable"]) == (0, None, None)
    certificate = certify(tmp_path / "q")
    assert run(tmp_path / "q")[1]["proved"] is True
    (tmp_path / "q" / "certificate.json").write_text(json.dumps(certificate | {"theta_radius": 1e-20}))
    status, found = run(tmp_path / "q")
    assert (status, found["proved"]) == (1, False)


@pytest.mark.parametrize("expansion", ["gaussian", "hadamard"])
@pytest.mark.parametrize("skip", [None, 0.05])
def test_every_kind_of_network_is_proved_and_portable(expansion, skip, tmp_path):
    torch.manual_seed(3)
    trunk = torch.nn.Sequential(torch.nn.Linear(6, 20), torch.nn.Tanh(), torch.nn.LayerNorm(20), torch.nn.Linear(20, 8))
    quine = nq.Quine(trunk, torch.randn(1, 6), code_size=8, seed=3, skip=skip, expansion=expansion, dtype=torch.float64)
    nq.solve(quine, exact=True)
    nq.save(quine, tmp_path / "q")
    network = Network(tmp_path / "q")
    computed = [float(v.mid()) for v in coded(network, stored(network)).value]
    assert np.abs(np.array(computed) - quine.real_code(quine.theta).detach().numpy()).max() < 1e-13
    certificate = certify(tmp_path / "q")
    assert certificate["kind"] == "bit-exact"
    assert check(tmp_path / "q" / "certificate.json") == certificate
    assert portability(tmp_path / "q").proved

    def other(held, config):
        if skip is None:
            config["skip"] = 0.05
        else:
            held["probe.0"] = -held["probe.0"]  # the anchor is a function of the probe

    forged = forge(tmp_path / "q", tmp_path / "other", other)
    with pytest.raises(NotProved):
        certify(forged)


def test_a_network_without_grid_and_with_an_anchor_is_proved(tmp_path):
    torch.manual_seed(3)
    trunk = torch.nn.Sequential(torch.nn.Linear(6, 20), torch.nn.Tanh(), torch.nn.Linear(20, 8))
    quine = nq.Quine(trunk, torch.randn(1, 6), code_size=8, seed=4, skip=0.1, dtype=torch.float64)
    nq.solve(quine)
    nq.save(quine, tmp_path / "q")
    assert certify(tmp_path / "q")["kind"] == "fixed point"


def test_a_network_too_large_for_a_proof_is_refused_before_its_matrix_is_made(exact, monkeypatch):
    monkeypatch.setattr("neuralquine.proving.printers.LARGEST", 1000)
    with pytest.raises(NoRule, match="1020 weights of a code of 20 are too many"):
        Network(exact)


def test_a_network_too_large_for_its_derivative_is_refused_before_memory_is_taken(smooth, monkeypatch):
    monkeypatch.setattr("neuralquine.proving.slopes.contraction._LARGEST", 1000)
    with pytest.raises(NoRule, match="1020 weights of a code of 20 are too many for a proof without a grid"):
        certify(smooth)


def test_a_recurrent_network_of_many_steps_is_proved_in_a_small_box(tmp_path):
    torch.manual_seed(0)
    probe = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 12, 8)))
    quine = nq.Quine(torch.nn.RNN(8, 40, batch_first=True), probe, code_size=12, seed=0, select=0)
    nq.solve(quine)
    nq.save(quine, tmp_path / "q")
    certificate = certify(tmp_path / "q")
    assert certificate["kind"] == "fixed point"
    assert check(tmp_path / "q" / "certificate.json") == certificate


def test_an_output_that_is_selected_has_no_rule_unless_it_is_the_first_of_a_sequence(tmp_path):
    torch.manual_seed(0)
    quine = nq.Quine(torch.nn.RNN(4, 16), torch.ones(3, 1, 4), code_size=8, seed=0, select=1)
    nq.save(quine, tmp_path / "q")
    with pytest.raises(NoRule, match="select="):
        Network(tmp_path / "q")
