# type: ignore
"""Modules that print their own weights are taken at their word: the module itself, unmodified, is what is solved."""

import copy
import itertools
import pickle
import random
import warnings

import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.quines.networks.whole import layout_of

pytestmark = pytest.mark.filterwarnings("ignore:input's size at dim=1")  # the post's way to call InstanceNorm1d


class Post(nn.Module):
    """The post's class, part 2."""

    def __init__(self, alpha=0.25):
        super().__init__()
        self.alpha = alpha
        self.l1 = nn.Linear(8, 20)
        self.l2 = nn.Linear(20, 20)
        self.l3 = nn.Linear(20, 20)
        self.norm = nn.InstanceNorm1d(20, affine=False)
        self.P = sum(p.numel() for p in self.parameters())
        self.register_buffer("proj", torch.randn(20, self.P) / 20.0)
        self.activation = nn.Tanh()

    def forward(self, z):
        for layer in (self.l1, self.l2, self.l3):
            z = self.norm(self.activation(layer(z)).unsqueeze(0)).squeeze(0)
        return self.alpha * (z @ self.proj)


class Drawn(nn.Module):
    """A module that prints itself, of random sizes, with a normalization and an output of a given kind."""

    def __init__(self, seed, norm, output):
        super().__init__()
        draw = random.Random(seed)
        torch.manual_seed(seed)
        sizes = [draw.choice([4, 8])] + [draw.choice([8, 12, 16]) for _ in range(draw.choice([2, 3]))]
        kinds = {"instance": nn.InstanceNorm1d, "batch": nn.BatchNorm1d, "none": nn.Identity}
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(sizes)])
        own = {"affine": False, "track_running_stats": False} if norm == "batch" else {}
        self.norms = nn.ModuleList([kinds[norm](n, **own) for n in sizes[1:]])
        self.output, self.instance = output, norm == "instance"
        count = sum(p.numel() for p in self.parameters())
        self.register_buffer("table", torch.randn(sizes[-1], count) / sizes[-1])
        self.probe = torch.randn(6 if norm == "batch" else 1, sizes[0])

    def forward(self, z):
        for layer, norm in zip(self.layers, self.norms, strict=True):
            z = torch.tanh(layer(z))
            z = norm(z[None])[0] if self.instance else norm(z)
        named = dict(self.named_parameters())
        pieces = (z @ self.table)[0].split([p.numel() for p in named.values()])
        shaped = {name: piece.view_as(p) for (name, p), piece in zip(named.items(), pieces, strict=True)}
        return {"vector": torch.cat(pieces), "dict": shaped, "list": list(shaped.values())}[self.output]


class Returned(nn.Module):
    """Hands back its own parameters: all of them, up to a factor, or the first of them beside honest numbers."""

    def __init__(self, way):
        super().__init__()
        self.layer, self.way = nn.Linear(8, 20), way
        self.register_buffer("table", torch.randn(20, 180))

    def forward(self, z):
        own = torch.cat([p.reshape(-1) for p in self.parameters()])
        made = torch.tanh(self.layer(z))[0] @ self.table
        return {"all": own, "factor": own / own.norm(), "part": torch.cat([own[:8], made[8:]])}[self.way]


def post(seed=0):
    torch.manual_seed(seed)
    return Post(), torch.randn(1, 8)


def off(module, probe):
    """The relative residual of the module itself, asked by its own forward."""
    with torch.no_grad():
        answer = module(probe)
    parts = [answer] if isinstance(answer, torch.Tensor) else answer.values() if isinstance(answer, dict) else answer
    theta = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
    return float(torch.linalg.vector_norm(torch.cat([t.reshape(-1) for t in parts]) - theta) / theta.norm())


def test_a_remark_of_torch_is_silent_where_the_package_runs_the_module_and_there_alone():
    class Talking(Post):
        def forward(self, z):
            warnings.warn("of its own", stacklevel=1)
            return super().forward(z)

    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("default")
        before = list(warnings.filters)
        quine = nq.Quine(Talking(), torch.randn(1, 8))
        quine.printed()
        assert [str(w.message) for w in heard] == ["of its own"]  # once, as everywhere
        assert warnings.filters == before
        quine.trunk(torch.randn(1, 8).double())
        assert any("does not match num_features" in str(w.message) for w in heard)


def test_the_posts_class_as_it_stands_prints_its_weights():
    module, z = post()
    before = copy.deepcopy(module.state_dict())
    quine = nq.Quine(module, z)
    solution = nq.solve(quine)
    assert quine.kind == "itself"
    assert quine.subspace.rank == 19
    assert off(quine.trunk, z.double()) <= 1e-13
    assert solution.weight_rms > 0.01
    assert all(torch.equal(before[name], now) for name, now in module.state_dict().items())
    fresh = copy.deepcopy(module).double()
    fresh.load_state_dict(quine.trunk.state_dict())
    assert off(fresh, z.double()) <= 1e-13
    found = nq.verify(quine)
    assert found.is_quine
    assert found.answers == "its output, 1,020 numbers, is compared with its 1,020 weights"
    assert found.asked == "the module with the stored probe"
    assert solution.answers == found.answers


@pytest.mark.parametrize(("norm", "output"), [("instance", "dict"), ("batch", "vector"), ("instance", "list")])
def test_drawn_modules_print_themselves(norm, output):
    """At least four of five random ones are solved; whatever is not converged says so."""
    ends = []
    for seed in range(5):
        module = Drawn(seed, norm, output)
        quine = nq.Quine(module, module.probe)
        solution = nq.solve(quine, throw=False, stop=nq.Stop(max_evaluations=4000))
        assert quine.kind == "itself"
        assert quine.subspace is not None
        assert solution.converged == (off(quine.trunk, module.probe.double()) <= 1e-13)
        ends.append(solution.converged)
    assert sum(ends) >= 4


def test_a_code_is_read_only_where_it_is_asked_for():
    module, z = post()
    coded = nq.Quine(module, z, prints="code")
    assert coded.kind == "coded"
    assert "20 numbers, projected from its 1,020, normalized" in coded.question()[1]
    assert nq.Quine(module, z, prints="itself").kind == nq.Quine(module, z).kind == "itself"
    assert nq.recipe("blog").question()[1].startswith("the 20 numbers of its output, normalized; expanded")
    for option in ({"code_size": 16}, {"code_bits": 20}, {"alpha": 0.25}, {"skip": 0.1}, {"normalize": False}):
        with pytest.raises(nq.BadOption, match=next(iter(option))):
            nq.Quine(module, z, **option)
    with pytest.raises(nq.BadOption, match="itself"):
        nq.Quine(module, z, prints="both")
    with pytest.raises(nq.TrunkError, match="20 numbers"):
        nq.Quine(nn.Linear(8, 20), z, prints="itself")


def test_an_output_that_can_be_read_in_two_ways_is_refused():
    module, z = post()
    with pytest.raises(nq.TrunkError, match="3 times"):
        nq.Quine(module, torch.randn(3, 8))
    assert nq.Quine(module, torch.randn(3, 8), select=0).kind == "itself"

    class Beside(Post):
        def forward(self, z):
            return z, super().forward(z)

    with pytest.raises(nq.TrunkError, match="one of the trunk's 2 outputs"):
        nq.Quine(Beside(), z)
    assert nq.Quine(Beside(), z, select=1).kind == "itself"
    assert nq.Quine(Beside(), z, prints="code").kind == "coded"


def test_layouts():
    shapes = {"w": torch.Size((3, 2)), "b": torch.Size((3,))}
    w, b = torch.arange(6.0).view(3, 2), torch.arange(6.0, 9.0)
    joined = torch.arange(9.0)
    for output in ({"b": b, "w": w}, [w, b], (w[None], b[None]), joined, {"all": joined[None]}):
        layout = layout_of(output, shapes)
        assert layout.certain
        assert torch.equal(layout.join(output), joined)
    assert not layout_of([w.mT, b], shapes).certain
    assert layout_of([w], shapes) is None


@pytest.mark.parametrize("way", ["all", "factor", "part"])
def test_handing_back_is_no_printing(way):
    torch.manual_seed(0)
    quine = nq.Quine(Returned(way), torch.randn(1, 8))
    with pytest.raises(nq.NothingToSolve, match="hands back"):
        nq.solve(quine)
    assert any(trick.startswith("copy") for trick in nq.verify(quine, tries=1).trivial)


def test_the_zero_quine_and_a_constant_are_named():
    torch.manual_seed(0)
    stop = nq.Stop(max_evaluations=20)
    module = Drawn(0, "none", "vector")  # without a normalization zero attracts
    assert (
        nq.solve(nq.Quine(module, module.probe), starts=4, throw=False, stop=nq.Stop(max_evaluations=300)).status
        is nq.Status.ZERO_QUINE
    )

    class Constant(Returned):
        def forward(self, z):
            return self.table[0] + 0 * self.layer(z).sum()

    quine = nq.Quine(Constant("all"), torch.randn(1, 8))
    solution = nq.solve(quine, throw=False, stop=stop)
    assert solution.status is nq.Status.CONSTANT_QUINE
    assert {t.partition(":")[0] for t in nq.verify(quine, tries=1).trivial} >= {"constant", "look-up"}


def test_a_module_that_prints_in_float32_is_held_in_float32():
    class Narrow(Post):
        def forward(self, z):
            return super().forward(z).float()

    torch.manual_seed(0)
    quine = nq.Quine(Narrow(), torch.randn(1, 8))
    assert quine.dtype is torch.float32
    assert nq.solve(quine).relative_residual < 5e-6


def test_a_full_map_is_solved_in_all_weights_and_steps_have_no_eigenvalues():
    class Full(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.out = nn.Linear(4, 6), nn.Linear(6, 1)
            self.register_buffer("queries", torch.randn(37, 4))

        def forward(self, z):
            return self.out(torch.tanh(self.layer(self.queries + z)))

    torch.manual_seed(1)
    quine = nq.Quine(Full(), torch.randn(1, 4))
    assert quine.kind == "itself"
    assert quine.subspace is None
    solution = nq.solve(quine, "picard", starts=1, throw=False, stop=nq.Stop(max_steps=5))
    assert solution.method == "picard"
    assert not solution.converged

    class Steps(Post):
        def forward(self, z):
            return torch.round(super().forward(z) * 64) / 64

    assert nq.spectrum(nq.Quine(Steps(), torch.randn(1, 8))).spectral_radius == 0


def test_derivatives_leave_the_subspace_only_where_the_module_does():
    """One that does something else near its stored weights alone is not differentiated in the span of the others."""

    class Elsewhere(Post):
        def forward(self, z):
            far = (self.l1.weight - 0.5).square().sum()
            return super().forward(z) + torch.exp(-1e4 * far) * self.l3.weight.sum() * self.extra

    torch.manual_seed(0)
    module = Elsewhere()
    module.register_buffer("extra", torch.randn(module.P))
    quine = nq.Quine(module, torch.randn(1, 8))
    assert nq.spectrum(quine).complete
    with torch.no_grad():
        quine.trunk.l1.weight.fill_(0.5)
    assert not nq.spectrum(quine).complete


def test_it_is_kept_enumerated_and_copied(tmp_path):
    module = Drawn(1, "instance", "dict")
    quine = nq.Quine(module, module.probe)
    nq.solve(quine)
    for twin in (copy.deepcopy(quine), pickle.loads(pickle.dumps(quine))):
        assert type(twin) is type(quine)
        assert torch.equal(twin.printed(), quine.printed())
    nq.save(quine, tmp_path / "post")
    assert "the module itself" in (tmp_path / "post" / "README.md").read_text()
    with pytest.raises(nq.QuineFileError, match="trunk="):
        nq.load(tmp_path / "post")
    again = nq.load(tmp_path / "post", trunk=Drawn(1, "instance", "dict"))
    assert again.kind == "itself"
    assert torch.equal(again.printed(), quine.printed())
    found = nq.zoo(quine, starts=4)
    assert len(found.quines) >= 2
    assert max(q.relative_residual for q in found.quines) <= 1e-13
    assert quine.solution.prospect == ""  # no trials are promised of a search that is refused
    for refused in (
        lambda: nq.solve(quine, exact=True),
        lambda: nq.heal(quine),
        lambda: nq.export(quine, tmp_path / "a.onnx"),
    ):
        with pytest.raises(nq.NeuralQuineError):
            refused()
