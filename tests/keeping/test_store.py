"""Folders: the same bits back, in this process and another; the same bytes twice; nothing foreign overwritten."""

import hashlib
import json
import sys

import pytest
import torch
from safetensors import safe_open
from torch import nn

import forked
import neuralquine as nq
from neuralquine.errors import QuineFileError
from neuralquine.keeping.report import false_claims, saved_trace

FILES = ["README.md", "config.json", "model.safetensors", "solution.json"]


class Own(nn.Module):
    """A class of the user's, with tied weights, a buffer and an LSTM: no file can describe it."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 6)
        self.core = nn.LSTM(6, 6)
        self.head = nn.Linear(6, 7, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("shift", torch.linspace(-1, 1, 7))

    def forward(self, tokens):
        return self.head(self.core(self.embed(tokens))[0][-1]) + self.shift


def make_own():
    return Own()


def mlp():
    return nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.BatchNorm1d(12), nn.Linear(12, 6))


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


QUINES = {
    "blog": lambda: nq.recipe("blog", seed=2),
    "single": lambda: nq.recipe("blog", seed=2, dtype=torch.float32),
    "mlp": lambda: nq.Quine(mlp(), draw(1, 4), code_size=6, seed=2**64 - 1, code_bits=11),
    "convolution": lambda: nq.Quine(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), draw(1, 1, 4, 4), code_size=6),
    "lstm": lambda: nq.Quine(nn.LSTM(3, 5, num_layers=2), draw(4, 1, 3), code_size=6, select=0),
    "encoder": lambda: nq.Quine(nn.TransformerEncoderLayer(8, 2, 16), draw(3, 1, 8), code_size=6),
    "bilinear, two inputs": lambda: nq.Quine(nn.Bilinear(3, 4, 5), (draw(3), draw(4)), code_size=6, alpha=0.3),
    "named inputs": lambda: nq.Quine(nn.Linear(4, 6), {"input": draw(4)}, code_size=6, normalize=False),
    "tokens": lambda: nq.Quine(nn.Embedding(9, 6), torch.tensor([4]), code_size=6),
    "anchored": lambda: nq.Quine(mlp(), draw(1, 4), code_size=6, skip=0.1),
    "structured": lambda: nq.Quine(mlp(), draw(1, 4), code_size=6, expansion="hadamard"),
    "bfloat16": lambda: nq.Quine(mlp(), draw(1, 4), code_size=6, dtype=torch.bfloat16, expansion="hadamard"),
    "frozen": lambda: nq.Quine(
        nn.Sequential(nn.Linear(4, 6).requires_grad_(False), nn.Linear(6, 6)), draw(4), code_size=6, print_frozen=False
    ),
}
# A narrow type cannot be verified yet: see test_verify.py.


def bytes_of(x):
    return x.reshape(-1).view(torch.uint8)


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and bytes_of(a).equal(bytes_of(b))


@pytest.mark.parametrize("name", QUINES)
def test_a_quine_comes_back_bit_for_bit(tmp_path, name):
    torch.manual_seed(0)
    quine = QUINES[name]()
    verification = nq.save(quine, tmp_path / "q")
    back = nq.load(tmp_path / "q")
    assert same_bits(back.theta, quine.theta)
    assert same_bits(back.printed(), quine.printed())
    for option in (
        *("code_size", "code_bits", "seed", "normalize", "eps", "select", "skip", "dtype", "print_frozen"),
        *("means", "gains", "expansion"),
    ):
        assert getattr(back, option) == getattr(quine, option)
    made = {k: str(v).removeprefix("torch.") for k, v in (quine.recipe or {}).items()}
    assert {k: str(v) for k, v in (back.recipe or {}).items()} == made
    names = [n for n, _ in quine.named_weights()]
    assert [n for n, _ in back.named_weights()] == names
    assert all(same_bits(a, b) for a, b in zip(back.trunk.buffers(), quine.trunk.buffers(), strict=True))
    assert nq.verify(back) == verification
    assert sorted(p.name for p in (tmp_path / "q").iterdir()) == FILES


def test_weights_that_are_awkward_numbers_come_back_too(tmp_path):
    quine = nq.recipe("blog", seed=0)
    theta = quine.theta
    theta[:5] = torch.tensor([-0.0, 5e-324, -5e-324, 1e150, 2.0**-1022], dtype=torch.float64)
    quine.theta = theta
    nq.save(quine, tmp_path / "q")
    assert same_bits(nq.load(tmp_path / "q").theta, theta)


def test_another_process_reads_and_prints_the_same_bits(tmp_path, solved):
    nq.save(solved, tmp_path / "q")
    code = (
        "import sys, hashlib, torch; torch.set_num_threads(1); import neuralquine as nq\n"
        "q = nq.load(sys.argv[1])\n"
        "for t in (q.theta, q.printed()): print(hashlib.sha256(t.numpy().tobytes()).hexdigest())"
    )
    run = forked.run(
        [sys.executable, "-c", code, str(tmp_path / "q")], capture_output=True, text=True, timeout=600, check=True
    )
    expected = [hashlib.sha256(t.numpy().tobytes()).hexdigest() for t in (solved.theta, solved.printed())]
    assert run.stdout.split() == expected


def test_the_same_quine_gives_the_same_bytes(tmp_path, solved):
    for name in ("a", "b"):
        nq.save(solved, tmp_path / name)
    nq.save(nq.load(tmp_path / "a"), tmp_path / "again")
    for file in FILES:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_a_module_of_the_users_needs_the_module_again(tmp_path):
    torch.manual_seed(0)
    quine = nq.Quine(Own(), torch.tensor([1, 5, 2]), code_size=6)
    nq.save(quine, tmp_path / "q")
    with pytest.raises(QuineFileError, match=r"holds a Own, which no file can describe: pass trunk= to load \(--trunk"):
        nq.load(tmp_path / "q")
    torch.manual_seed(1)
    own = Own()
    before = own.embed.weight.detach().clone()
    back = nq.load(tmp_path / "q", trunk=own)
    assert same_bits(back.theta, quine.theta)
    assert same_bits(back.printed(), quine.printed())
    assert same_bits(back.self_map(back.theta), back.printed())
    assert back.trunk.head.weight is back.trunk.embed.weight
    assert torch.equal(own.embed.weight, before)  # a copy is used
    with pytest.raises(QuineFileError, match="lists other weights than its trunk has"):
        nq.load(tmp_path / "q", trunk=mlp())


def test_a_hook_that_no_file_holds_is_noticed_when_saving(tmp_path):
    trunk = nn.Sequential(nn.Linear(4, 6))
    trunk[0].register_forward_hook(lambda module, args, output: 2 * output + 1)
    quine = nq.Quine(trunk, draw(4), code_size=6, normalize=False)
    nq.save(quine, tmp_path / "q")
    assert json.loads((tmp_path / "q" / "config.json").read_text())["trunk"] is None
    with pytest.raises(QuineFileError, match="pass trunk="):
        nq.load(tmp_path / "q")
    assert same_bits(nq.load(tmp_path / "q", trunk=trunk).printed(), quine.printed())


def test_an_older_quine_is_replaced_and_a_certificate_goes_with_it(tmp_path, solved):
    nq.save(nq.recipe("blog", seed=3), tmp_path / "q")
    (tmp_path / "q" / "certificate.json").write_text("{}")
    (tmp_path / "q" / "figures").mkdir()
    nq.save(solved, tmp_path / "q")
    assert torch.equal(nq.load(tmp_path / "q").theta, solved.theta)
    assert sorted(p.name for p in (tmp_path / "q").iterdir()) == FILES
    assert [p.name for p in tmp_path.iterdir()] == ["q"]


def test_a_folder_with_other_files_is_left_alone(tmp_path, small):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(
        QuineFileError, match=r"holds files that are not a quine's \(thesis.tex\): choose another folder"
    ):
        nq.save(small, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(QuineFileError, match=r"thesis.tex is a file: choose a folder"):
        nq.save(small, tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_an_empty_folder_is_taken(tmp_path, small):
    (tmp_path / "q").mkdir()
    nq.save(small, tmp_path / "q")
    assert torch.equal(nq.load(tmp_path / "q").theta, small.theta)


def test_a_function_for_select_is_handed_in_again(tmp_path, small):
    def half(output):
        return output[..., 2:] ** 2

    trunk = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8))
    quine = nq.Quine(trunk, draw(4), code_size=6, select=half)
    nq.solve(quine)
    nq.save(quine, tmp_path / "q")
    assert "hand in the same again" in (tmp_path / "q" / "README.md").read_text()
    assert "select=..." in (tmp_path / "q" / "README.md").read_text()
    with pytest.raises(QuineFileError, match="was made with a function as select=: pass the same"):
        nq.load(tmp_path / "q")
    again = nq.load(tmp_path / "q", select=half)
    assert torch.equal(again.theta, quine.theta)
    assert torch.equal(again.printed(), quine.printed())
    nq.save(small, tmp_path / "other")
    assert "hand in" not in (tmp_path / "other" / "README.md").read_text()
    with pytest.raises(QuineFileError, match="says itself what is read of its trunk's output: leave select= out"):
        nq.load(tmp_path / "other", select=half)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, small):
    (tmp_path / "file").write_text("")
    with pytest.raises(QuineFileError, match="cannot write") as caught:
        nq.save(small, tmp_path / "file" / "q")
    assert "\n" not in str(caught.value)


# -- what is in the files ---------------------------------------------------------------------------------------------


def test_the_files_are_safetensors_and_strict_json(tmp_path, solved):
    nq.save(solved, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    weights = tmp_path / "model.safetensors"
    assert config["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    with safe_open(weights, framework="pt") as file:
        inner = json.loads(file.metadata()["neuralquine"])
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    assert inner == {k: v for k, v in config.items() if k != "weights_sha256"}
    assert [name for name, _ in config["tensors"]] == [f"{i}.{kind}" for i in (0, 3, 6) for kind in ("weight", "bias")]
    theta = torch.cat([stored[f"trunk.{name}"].flatten() for name, _ in config["tensors"]])
    assert same_bits(theta, solved.theta)
    assert same_bits(stored["probe.0"], solved.inputs[0])
    report = json.loads((tmp_path / "solution.json").read_text(), parse_constant=pytest.fail)
    assert report["solve"]["map_evaluations"] == solved.solution.map_evaluations
    assert report["solve"]["environment"]["torch"] == torch.__version__
    assert report["verification"]["relative_residual"] == nq.verify(solved).relative_residual


def test_the_trace_is_kept_for_drawing(tmp_path, solved):
    nq.save(solved, tmp_path)
    trace = saved_trace(tmp_path)
    assert [p["relative_residual"] for p in trace] == [p.relative_residual for p in solved.solution.trace]
    (tmp_path / "solution.json").write_text('{"solve": {"trace": [3, {"step": 1}, {"step": "x"}]}}')
    assert saved_trace(tmp_path) == []
    (tmp_path / "solution.json").unlink()
    assert saved_trace(tmp_path) == []


def test_claims_that_are_not_so_are_named(tmp_path, solved):
    nq.save(solved, tmp_path)
    verification = nq.verify(solved)
    assert false_claims(tmp_path, verification) == []
    report = json.loads((tmp_path / "solution.json").read_text())
    report["verification"] |= {"bit_exact": True, "proved": True, "relative_residual": 0.0}
    (tmp_path / "solution.json").write_text(json.dumps(report))
    named = ["bit_exact is claimed, and is not so", "proved is claimed, and is not so"]
    assert false_claims(tmp_path, verification) == named
    smooth = nq.recipe("blog", seed=0)
    lies = false_claims(tmp_path, nq.verify(smooth, tries=1))
    assert "is_quine is claimed, and is not so" in lies
    assert any(lie.startswith("relative residual 0.0e+00 is claimed, ") for lie in lies)


def test_the_model_card_states_the_honest_numbers(tmp_path, solved):
    found = nq.save(solved, tmp_path / "smooth")
    card = (tmp_path / "smooth" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: neuralquine\n")
    assert "This network prints its own weights." in card
    for row in (
        "| converged | yes |",
        "| bit-exact | no |",
        "| portable | not examined |",
        "| proved | not examined |",
        "| weights P | 1020 |",
        f"| relative residual | {found.relative_residual:.3e} |",
        f"| weights whose bits differ | {found.differing_weights} (at most {found.max_ulp} ulp) |",
        f"| RMS weight | {found.weight_rms:.4g} |",
        f"| self-sensitivity | {found.self_sensitivity:.4g} |",
        f"| spectral radius | {found.spectral_radius:.4g} |",
        f"| generations survived | {found.generations_survived} of 100 |",
        f"in {solved.solution.map_evaluations} map evaluations",
    ):
        assert row in card


def test_the_model_card_of_a_failure_says_so(tmp_path):
    nq.save(nq.recipe("blog", seed=0), tmp_path / "unsolved")
    card = (tmp_path / "unsolved" / "README.md").read_text()
    assert "**This is not a quine:** it prints its weights only to a relative residual of" in card
    assert "prints its own weights." not in card
    zero = nq.recipe("blog-part1")
    nq.solve(zero, throw=False)
    nq.save(zero, tmp_path / "zero")
    card = (tmp_path / "zero" / "README.md").read_text()
    assert "**This is a trivial quine:** zero: every weight" in card
    assert "| converged | yes |" not in card


def test_a_file_of_a_folder_is_answered_with_the_folder(tmp_path):
    nq.save(nq.recipe("blog"), tmp_path / "q")
    for name in ("model.safetensors", "config.json"):
        with pytest.raises(QuineFileError, match=r"name the folder, .*q$"):
            nq.load(tmp_path / "q" / name)
    with pytest.raises(QuineFileError, match=r"with a quine in it$"):
        nq.load(tmp_path / "q" / "other.json")


def test_a_name_of_a_file_is_no_name_of_a_folder(tmp_path):
    with pytest.raises(QuineFileError, match=r"kept in a folder: name one, such as mine/"):
        nq.save(nq.recipe("blog"), tmp_path / "mine.safetensors")
    assert list(tmp_path.iterdir()) == []
