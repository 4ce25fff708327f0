"""The folder of a quine: bit for bit, the same bytes twice, and nobody else's files."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from torch import nn

import neuralquine as nq
from neuralquine.store import false_claims, saved_trace


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


class Own(nn.Module):
    """A class that no file can describe."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 16)
        self.register_buffer("shift", torch.full((16,), 0.5))

    def forward(self, x):
        return torch.tanh(self.a(x)) * 2 + self.shift


def tied():
    net = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16))
    net[2].weight = net[0].weight
    return net


TRUNKS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16)), draw(1, 4), {}),
    "float32": (lambda: nn.Linear(4, 16), draw(1, 4), {"dtype": torch.float32}),
    "grid": (lambda: nn.Sequential(nn.Linear(4, 16), nn.Tanh()), draw(1, 4), {"code_bits": 11, "eps": 1e-3}),
    "plain": (lambda: nn.Linear(4, 16), draw(1, 4), {"normalize": False, "alpha": 0.3, "seed": 2**64 - 1}),
    "lstm": (lambda: nn.LSTM(4, 6, batch_first=True), draw(2, 3, 4), {"select": 1}),
    "cnn": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(64, 16)), draw(1, 1, 6, 6), {}),
    "transformer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), draw(1, 3, 8), {}),
    "batchnorm": (lambda: nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16)), draw(3, 4), {}),
    "tokens": (lambda: nn.Sequential(nn.Embedding(9, 4), nn.Flatten()), torch.tensor([[1, 8, 0]]), {}),
    "two inputs": (lambda: nn.Bilinear(4, 3, 16), (draw(1, 4), draw(1, 3)), {}),
    "named inputs": (lambda: nn.Linear(4, 16), {"input": draw(1, 4)}, {}),
    "scalar": (lambda: nn.Sequential(nn.Linear(1, 1, bias=False)), draw(1, 1), {"code_size": 1, "normalize": False}),
}


def quine_of(name):
    make, probe, options = TRUNKS[name]
    torch.manual_seed(0)
    return nq.Quine(make(), probe, **{"code_size": 16, **options})


def same_bits(a, b):
    return a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()


def assert_same(quine, other):
    assert same_bits(quine.theta, other.theta)
    assert same_bits(quine.printed(), other.printed())
    noise = quine.theta + draw(quine.parameter_count).to(quine.dtype)
    assert same_bits(quine.self_map(noise), other.self_map(noise))
    for key in ("code_size", "code_bits", "seed", "normalize", "eps", "means", "gains", "select", "dtype", "recipe"):
        assert getattr(quine, key) == getattr(other, key), key
    assert [n for n, _ in quine.trunk.named_parameters()] == [n for n, _ in other.trunk.named_parameters()]


@pytest.mark.parametrize("name", TRUNKS)
def test_round_trip_bit_for_bit(name, tmp_path):
    quine = quine_of(name)
    nq.save(quine, tmp_path / "q")
    other = nq.load(tmp_path / "q")
    assert_same(quine, other)
    assert type(other.trunk) is type(quine.trunk)


def test_the_bits_are_the_same_in_a_new_process(solved, tmp_path):
    nq.save(solved, tmp_path / "q")
    code = (
        "import sys, torch; torch.set_num_threads(1); import neuralquine as nq\n"
        "q = nq.load(sys.argv[1]); sys.stdout.buffer.write(q.theta.numpy().tobytes() + q.printed().numpy().tobytes())"
    )
    out = subprocess.run([sys.executable, "-c", code, str(tmp_path / "q")], capture_output=True, check=True).stdout
    assert out == solved.theta.numpy().tobytes() + solved.printed().numpy().tobytes()


def test_special_values_survive(tmp_path):
    quine = quine_of("mlp")
    theta = quine.theta
    theta[:4] = torch.tensor([-0.0, 5e-324, -1e308, 2.0**-1022], dtype=torch.float64)
    quine.theta = theta
    nq.save(quine, tmp_path / "q")
    assert same_bits(nq.load(tmp_path / "q").theta, theta)


def test_saved_twice_gives_the_same_bytes(tmp_path):
    for name in ("mlp", "batchnorm"):
        quine = quine_of(name)
        nq.save(quine, tmp_path / "a")
        nq.save(nq.load(tmp_path / "a"), tmp_path / "b")
        for file in ("model.safetensors", "config.json", "solution.json", "README.md"):
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_tied_weights_are_stored_once(tmp_path):
    torch.manual_seed(0)
    quine = nq.Quine(tied(), draw(1, 16), code_size=16)
    nq.save(quine, tmp_path / "q")
    with safe_open(tmp_path / "q" / "model.safetensors", framework="pt") as file:
        assert sorted(file.keys()) == ["probe.0", "trunk.0.bias", "trunk.0.weight", "trunk.2.bias"]
    with pytest.raises(nq.QuineFileError, match="pass trunk="):  # a description does not say what is shared
        nq.load(tmp_path / "q")
    other = nq.load(tmp_path / "q", trunk=tied())
    assert_same(quine, other)
    assert other.trunk[2].weight is other.trunk[0].weight


# -- modules that no file can describe ----------------------------------------------------------------------------------


def test_a_module_of_ones_own_is_handed_in_again(tmp_path):
    quine = nq.Quine(Own(), draw(1, 4), code_size=16)
    quine.trunk.shift += 0.25
    nq.save(quine, tmp_path / "q")
    with pytest.raises(nq.QuineFileError, match="holds a Own, which no file can describe: pass trunk= to load"):
        nq.load(tmp_path / "q")
    mine = Own()
    other = nq.load(tmp_path / "q", trunk=mine)
    assert_same(quine, other)
    assert float(other.trunk.shift[0]) == 0.75
    assert float(mine.shift[0]) == 0.5  # the module handed in is left as it was


def test_a_trunk_that_does_not_fit_is_refused(tmp_path):
    nq.save(nq.Quine(Own(), draw(1, 4), code_size=16), tmp_path / "q")
    with pytest.raises(nq.QuineFileError, match="other weights than its trunk has"):
        nq.load(tmp_path / "q", trunk=nn.Linear(4, 16))


def test_a_hook_is_not_forgotten_silently(tmp_path):
    quine = quine_of("mlp")
    quine.trunk[0].register_forward_hook(lambda module, args, out: out * 2)
    nq.save(quine, tmp_path / "q")
    with pytest.raises(nq.QuineFileError, match="pass trunk="):
        nq.load(tmp_path / "q")


def test_a_function_as_select_is_refused(tmp_path):
    quine = nq.Quine(nn.Linear(4, 16), draw(1, 4), code_size=16, select=lambda out: out)
    with pytest.raises(nq.QuineFileError, match="select= is a function, which no file can hold"):
        nq.save(quine, tmp_path / "q")
    assert not (tmp_path / "q").exists()


# -- places -------------------------------------------------------------------------------------------------------------


def test_an_older_quine_is_replaced_whole(solved, small, tmp_path):
    nq.save(small, tmp_path / "q")
    (tmp_path / "q" / "figures").mkdir()
    nq.save(solved, str(tmp_path / "q"))
    assert_same(solved, nq.load(tmp_path / "q"))
    assert sorted(f.name for f in tmp_path.rglob("*")) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "q",
        "solution.json",
    ]


def test_an_unwritable_failure_leaves_the_old_one(solved, small, tmp_path, monkeypatch):
    nq.save(solved, tmp_path / "q")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("neuralquine.store.save_file", full)
    with pytest.raises(nq.QuineFileError, match=r"cannot write .*: No space left on device"):
        nq.save(small, tmp_path / "q")
    assert [f.name for f in tmp_path.iterdir()] == ["q"]
    assert_same(solved, nq.load(tmp_path / "q"))


def test_a_foreign_folder_or_file_is_refused(small, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(nq.QuineFileError, match=r"not a quine's \(thesis.tex\): choose another folder"):
        nq.save(small, tmp_path)
    with pytest.raises(nq.QuineFileError, match="is a file: choose a folder"):
        nq.save(small, tmp_path / "thesis.tex")
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "empty").mkdir()
    nq.save(small, tmp_path / "empty")
    assert_same(small, nq.load(tmp_path / "empty"))


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def flip(folder):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)


DAMAGE = {
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
    "no configuration": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "cut short": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-8]),
        "altered or cut short",
    ),
    "one bit": (flip, "altered or cut short"),
    "seed": (lambda f: edit(f, seed=1), r"is not the configuration .* it was altered"),
    "format": (lambda f: edit(f, format=99), "has format '99', this version reads"),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), "is not readable JSON"),
    "no object": (lambda f: (f / "config.json").write_text("[]"), "does not hold a JSON object"),
    "NaN": (lambda f: (f / "config.json").write_text('{"eps": NaN}'), "it holds NaN"),
    "twice": (lambda f: (f / "config.json").write_text('{"a": 1, "a": 2}'), "it names a key twice"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_folder_is_refused_in_one_line(name, small, tmp_path):
    change, message = DAMAGE[name]
    nq.save(small, tmp_path / "q")
    change(tmp_path / "q")
    with pytest.raises(nq.QuineFileError, match=message) as caught:
        nq.load(tmp_path / "q")
    assert "\n" not in str(caught.value)


def test_a_place_without_a_quine(tmp_path):
    with pytest.raises(nq.QuineFileError, match="nowhere is not a folder with a quine in it"):
        nq.load(tmp_path / "nowhere")


# -- what is said beside the weights ------------------------------------------------------------------------------------


def test_the_model_card_states_the_honest_numbers(solved, tmp_path):
    verification = nq.save(solved, tmp_path / "q")
    card = (tmp_path / "q" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: neuralquine\n")
    fresh = nq.verify(nq.load(tmp_path / "q"))
    assert fresh == verification
    for row in (
        "# A neural quine: blog",
        "This network prints its own weights.",
        "| converged | yes |",
        "| bit-exact | no |",
        "| portable | not examined |",
        "| proved | not examined |",
        f"| relative residual | {fresh.relative_residual:.3e} |",
        f"| weights whose bits differ | {fresh.differing_weights} (at most {fresh.max_ulp} ulp) |",
        f"| RMS weight | {fresh.weight_rms:.4g} |",
        f"| self-sensitivity | {fresh.self_sensitivity:.4g} |",
        f"| spectral radius | {fresh.spectral_radius:.4g} |",
        f"Found by {solved.solution.method} (seed 0) in {solved.solution.map_evaluations} map evaluations",
    ):
        assert row in card, row


def test_the_model_card_of_what_is_no_quine_says_so(tmp_path):
    nq.save(nq.recipe("blog"), tmp_path / "unsolved")
    assert "**This is not a quine:** it prints its weights only to" in (tmp_path / "unsolved" / "README.md").read_text()
    zero = nq.recipe("blog-part1")
    zero.theta = torch.zeros(1020)
    nq.save(zero, tmp_path / "zero")
    assert "**This is not a quine worth the name:** zero: " in (tmp_path / "zero" / "README.md").read_text()


def test_the_report_keeps_the_search(solved, tmp_path):
    nq.save(solved, tmp_path / "q")
    report = json.loads((tmp_path / "q" / "solution.json").read_text())
    assert report["solve"]["status"] == "converged"
    assert report["solve"]["environment"]["torch"] == torch.__version__
    trace = saved_trace(tmp_path / "q")
    assert [p["relative_residual"] for p in trace] == [p.relative_residual for p in solved.solution.trace]
    assert false_claims(tmp_path / "q", nq.verify(solved)) == []
    report["verification"]["relative_residual"] = 0.0
    report["verification"]["proved"] = True
    (tmp_path / "q" / "solution.json").write_text(json.dumps(report))
    assert false_claims(tmp_path / "q", nq.verify(solved)) == ["proved is claimed, and is not so"]
    unsolved = nq.verify(nq.recipe("blog"), tries=1)
    assert any("relative residual 0.0e+00 is claimed" in lie for lie in false_claims(tmp_path / "q", unsolved))


# -- Hugging Face conventions -------------------------------------------------------------------------------------------


def test_save_and_from_pretrained(solved, tmp_path):
    solved.save_pretrained(str(tmp_path / "q"))
    assert_same(solved, nq.Quine.from_pretrained(str(tmp_path / "q")))
    assert json.loads((tmp_path / "q" / "config.json").read_text())["library_name"] == "neuralquine"


def test_from_the_hub_only_listed_kinds_of_files_are_fetched(solved, tmp_path, monkeypatch):
    nq.save(solved, tmp_path / "snapshot")
    asked = {}

    def download(repo, **options):
        asked.update(options, repo=repo)
        return str(tmp_path / "snapshot")

    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "snapshot_download", download)
    assert_same(solved, nq.Quine.from_pretrained("someone/blog-quine", revision="abc"))
    assert asked == {
        "repo": "someone/blog-quine",
        "revision": "abc",
        "allow_patterns": ["*.safetensors", "*.json", "*.md"],
    }
