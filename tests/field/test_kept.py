"""What was saved can be read, and is what was saved."""
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportAttributeAccessIssue=false

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

import neuralquine as nq
from field.nets import PROBE, Masked, MaskedFromOutside, Remembered, Rope, SharedBuffer, net
from neuralquine.errors import BadOption, QuineFileError
from neuralquine.files.journal import Journal
from neuralquine.solving.methods import make_method


def there_and_back(quine, folder, trunk=None):
    nq.save(quine, folder)
    found = nq.load(folder, trunk=trunk)
    assert torch.equal(found.theta, quine.theta)
    for factor in (1.0, 3.0):
        assert torch.equal(found.self_map(factor * quine.theta), quine.self_map(factor * quine.theta))
    return found


def wrapped():
    torch.manual_seed(0)
    return nn.Sequential(checkpoint_wrapper(nn.Linear(4, 16)), nn.Tanh(), nn.Linear(16, 16))


KINDS = {
    "mask": (Masked, torch.linspace(-1, 1, 40).view(1, 5, 8)),
    "shared buffer": (SharedBuffer, PROBE),
    "checkpoint wrapper": (wrapped, PROBE),
    "complex buffer": (lambda: Rope(persistent=True), torch.linspace(-1, 1, 40).view(5, 8)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_module_holds_comes_back(kind, tmp_path):
    make, probe = KINDS[kind]
    quine = nq.Quine(make(), probe, code_size=16, skip=0.2)
    nq.solve(quine)
    found = there_and_back(quine, tmp_path / "q", make())
    for (name, a), (_, b) in zip(found.trunk.named_buffers(), quine.trunk.named_buffers(), strict=True):
        assert torch.equal(a, b), name
    assert nq.verify(found).is_quine


def test_a_mask_among_the_probes_comes_back(tmp_path):
    mask = torch.triu(torch.full((5, 5), float("-inf")), 1)
    quine = nq.Quine(MaskedFromOutside(), {"x": torch.randn(1, 5, 8), "mask": mask}, code_size=16)
    found = there_and_back(quine, tmp_path / "q", MaskedFromOutside())
    assert torch.equal(found.inputs["mask"], mask.double())


def test_weights_that_are_no_numbers_are_refused_on_reading(tmp_path):
    quine = nq.Quine(net(), PROBE, code_size=16)
    quine.weights[0].data[0, 0] = torch.inf
    nq.save(quine, tmp_path / "q")
    with pytest.raises(QuineFileError, match="NaN or infinity"):
        nq.load(tmp_path / "q")


RARE = {
    "max_norm": lambda: nn.Sequential(nn.Embedding(6, 4, max_norm=3.0), nn.Flatten(), nn.Linear(12, 16)),
    "norm_type": lambda: nn.Sequential(
        nn.Embedding(6, 4, max_norm=1.0, norm_type=1.0), nn.Flatten(), nn.Linear(12, 16)
    ),
    "ceil_mode": lambda: nn.Sequential(
        nn.Embedding(6, 4), nn.MaxPool1d(3, ceil_mode=True), nn.Flatten(), nn.Linear(6, 16)
    ),
    "padding": lambda: nn.Sequential(
        nn.Embedding(6, 4), nn.AvgPool1d(3, padding=1, count_include_pad=False), nn.Flatten()
    ),
    "activation": lambda: nn.Sequential(nn.Embedding(6, 4), nn.LogSigmoid(), nn.Flatten()),
}


@pytest.mark.parametrize("kind", RARE)
def test_settings_that_are_rarely_set_are_kept_or_the_module_is_asked_for(kind, tmp_path):
    torch.manual_seed(2)
    quine = nq.Quine(RARE[kind](), torch.tensor([[1, 2, 4]]), code_size=16)
    nq.save(quine, tmp_path / "q")
    with pytest.raises(QuineFileError, match="pass trunk="):
        nq.load(tmp_path / "q")
    there_and_back(quine, tmp_path / "q", RARE[kind]())


def test_a_label_on_a_described_module_is_no_matter(tmp_path):
    module = net()
    module.author = "somebody"
    there_and_back(nq.Quine(module, PROBE, code_size=16), tmp_path / "q")


def test_extra_state_is_kept(tmp_path):
    quine = nq.Quine(Remembered(torch.arange(1.0, 17.0)), PROBE, code_size=16)
    there_and_back(quine, tmp_path / "q", Remembered())


def test_extra_state_that_no_file_can_keep_is_refused_and_nothing_is_written(tmp_path):
    class Settings(Remembered):
        def get_extra_state(self):
            return {"factors": self.factors}

        def set_extra_state(self, state):
            self.factors = state["factors"]

    quine = nq.Quine(Settings(torch.arange(1.0, 17.0)), PROBE, code_size=16)
    with pytest.raises(nq.NeuralQuineError, match="extra state of the trunk is a dict"):
        nq.save(quine, tmp_path / "q")
    assert not list(tmp_path.iterdir())


def test_load_takes_the_module_out_of_its_wrappers(tmp_path):
    quine = nq.Quine(nn.DataParallel(Masked()), torch.randn(1, 5, 8), code_size=16)
    for trunk in (Masked(), nn.DataParallel(Masked()), torch.compile(Masked())):
        there_and_back(quine, tmp_path / "q", trunk)
    for trunk in (Masked, 3):
        with pytest.raises(QuineFileError, match=r"must be an nn\.Module"):
            nq.load(tmp_path / "q", trunk=trunk)


LIBRARIES = [(np.int64, np.float32), (np.uint8, np.float64), (torch.tensor, torch.tensor)]


@pytest.mark.parametrize(("integer", "number"), LIBRARIES)
def test_numbers_of_other_libraries_are_numbers(integer, number, tmp_path):
    options = {"code_size": integer(16), "seed": integer(3), "eps": number(2**-16), "skip": number(0.25)}
    plain = nq.Quine(net(), PROBE, code_size=16, seed=3, eps=2**-16, skip=0.25)
    quine = nq.Quine(net(), PROBE, **options)
    assert nq.solve(quine, seed=integer(1), starts=integer(2), stop=nq.Stop(time_limit=np.float32(100))).converged
    nq.solve(plain, seed=1, starts=2)
    assert torch.equal(quine.theta, plain.theta)
    there_and_back(quine, tmp_path / "q")


@pytest.mark.parametrize("name", ["code_size", "seed", "code_bits"])
@pytest.mark.parametrize("value", [16.0, "16", True, [16], np.float64(16)])
def test_what_is_no_integer_is_one_line(name, value):
    with pytest.raises(BadOption, match=f"{name} must be an integer"):
        nq.Quine(net(), PROBE, **{"code_size": 16, name: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None])
def test_scales_are_finite_numbers(value):
    with pytest.raises(BadOption, match="scale"):
        nq.Quine(net(), PROBE, code_size=16, scales=([0.0] * 4, [1.0, 1.0, 1.0, value]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_journal_in_any_type_is_read_again(dtype, tmp_path):
    path, point = tmp_path / "j", torch.arange(3, dtype=dtype) / 7
    values = [torch.randn(2, 3).to(dtype), torch.tensor([torch.inf, -0.0, 2**-14], dtype=dtype)]
    with Journal(path, {"a": 1}, resume=False) as journal:
        for value in values:
            journal(b"f", point, lambda value=value: value)
    with Journal(path, {"a": 1}, resume=True) as journal:
        for value in values:
            found = journal(b"f", point, lambda: 1 / 0, tuple(value.shape))
            assert found.dtype == dtype
            assert torch.equal(found, value)
            assert torch.equal(found.signbit(), value.signbit())


@pytest.mark.parametrize("name", ["rmsprop", "adam", "sgd"])
@pytest.mark.parametrize("lr", [-1, float("nan"), "fast", True])
def test_a_learning_rate_is_a_number(name, lr):
    with pytest.raises(BadOption, match="lr must be"):
        make_method(name, {"lr": lr})
