"""Bits outside of the weights, counted by hand; whose code can be read; and what is said of it."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import neuralquine as nq
from neuralquine.checking.counting import answer_bits, count, counted, runs_foreign_code
from neuralquine.quines.kinds import BiasTapeQuine
from neuralquine.recipes import RECIPES
from neuralquine.recipes.registry import Recipe


def places(quine):
    return dict(count(quine).places)


def stack(*layers, size=6, **options):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(4, size), *layers)
    return nq.Quine(trunk, torch.randn(1, 4), code_size=size, **options)


def body():
    return nq.Body(nn.Sequential(nn.Linear(8, 16), nn.ReLU()), nn.Linear(16, 3))


# -- what is counted ------------------------------------------------------------------------------------------------


def test_buffers_stand_at_full_width_and_repeated_numbers_once():
    fresh = places(stack(nn.BatchNorm1d(6, affine=False)))
    assert fresh["1.running_mean"] == fresh["1.running_var"] == 64  # six zeros, six ones
    quine = stack(nn.BatchNorm1d(6, affine=False))
    quine.trunk[1].running_mean.copy_(torch.randn(6))
    assert places(quine)["1.running_mean"] == 6 * 64


def test_an_answer_in_a_buffer_is_never_said_to_have_no_room():
    """However it is spread: what is counted is never less than what a stored answer takes."""
    for size in (12, 24, 48):
        for seed in range(4):
            quine = stack(nn.BatchNorm1d(size, affine=False), size=size)
            numbers = torch.randn(size, generator=torch.Generator().manual_seed(seed))
            quine.trunk[1].running_mean.copy_(numbers)
            found = count(quine)
            assert sum(bits for _, bits in found.places) >= size * 52 == found.answer
            assert "there is room for it" in counted(found.places, found.answer, found.foreign)


def test_frozen_parameters_and_the_probe_stand_outside():
    trunk = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 6))
    trunk[0].weight.requires_grad_(False)
    found = places(nq.Quine(trunk, torch.randn(1, 4), code_size=6, print_frozen=False))
    assert found["0.weight"] == 20 * 64
    assert found["probe 0"] >= 4 * 64
    assert "0.bias" not in found


def test_scales_that_are_all_one_number_are_one_number():
    assert places(stack(alpha=0.25))["2 gains"] == 64
    assert places(stack(scales=([0.1, 0.2], [0.5, 0.25])))["2 means"] == 128


def test_a_probe_that_the_seed_gives_costs_its_shape_only():
    made, own = nq.recipe("blog", seed=3), nq.recipe("blog", seed=3)
    made.recipe = own.recipe = None
    assert places(made)["probe 0"] < 20
    own.inputs[0][0, 0] += 1e-9
    assert places(own)["probe 0"] >= 6 * 64
    asked = nq.recipe("transformer")
    asked.recipe = None
    assert places(asked)["probe 0"] < 20
    assert places(nq.TaskQuine(body(), (8, 8), 64))["probe 0"] < 25


def test_the_answer_has_as_many_bits_as_its_grid_or_its_type():
    assert answer_bits(stack(code_bits=20)) == 6 * 20
    assert answer_bits(stack()) == 6 * 52
    assert answer_bits(stack(dtype=torch.float32)) == 6 * 23
    assert answer_bits(nq.TaskQuine(body(), (8, 8), 64)) == 64
    assert answer_bits(BiasTapeQuine(body(), (8, 8), 64)) == 64 * 23
    queried = nq.recipe("queried-121")
    assert answer_bits(queried) == 121 * 52


SMALL = [name for name, made in RECIPES.items() if made.small]


@pytest.mark.parametrize("name", SMALL)
def test_a_recipe_that_makes_everything_again_leaves_its_name_seed_and_grid_outside(name):
    seed = SMALL.index(name) * 7919
    found = count(nq.recipe(name, seed=seed))
    assert not found.foreign
    assert dict(found.places) == {"recipe": 8, "seed": 64, "code_bits": 2}


def test_options_of_a_recipe_and_the_grid_of_its_code_are_counted():
    quine = nq.recipe("rnn", seed=5, skip=0.25, code_size=24, dtype=torch.float32)
    quine.code_bits = 29
    assert places(quine) == {"recipe": 8 + (8 + 8 + 64) + (8 + 12) + 2 * 8, "seed": 64, "code_bits": 12}


def test_an_exact_quine_of_the_blog_leaves_no_room_for_its_code(tmp_path):
    quine = nq.recipe("blog", seed=2)
    assert nq.solve(quine, exact=True).bit_exact
    nq.save(quine, tmp_path / "q")
    found = count(nq.load(tmp_path / "q"))
    said = counted(found.places, found.answer, found.foreign)
    assert said.endswith(f"bits, the answer has {20 * quine.code_bits}: it cannot be stored there")
    assert sum(bits for _, bits in found.places) < 110  # name, seed, grid and phase


def other_probe(quine):
    quine.inputs[0].view(torch.int64)[0, 0] ^= 1


def other_mean(quine):
    quine.means[0] = -0.0 if quine.means[0] == 0 else quine.means[0] * (1 + 2**-52)


def other_seed(quine):
    quine.recipe["seed"] += 1


def other_name(quine):
    quine.recipe["name"] = "blog-part1"


def other_option(quine):
    quine.recipe["alpha"] = 0.2500000001


def absurd(quine):
    quine.recipe = {"name": "transformer", "seed": 0, "layers": 1 << 20}


def not_of_this_package(quine):
    quine.recipe["name"] = "blog of somebody else"


def held_beside(quine):
    quine.trunk[1].register_buffer("held", torch.zeros(3))


@pytest.mark.parametrize(
    "change",
    [other_probe, other_mean, other_seed, other_name, other_option, absurd, not_of_this_package, held_beside],
)
def test_a_recipe_is_not_believed(change, monkeypatch):
    """One bit elsewhere than the recipe puts it, and everything is counted by itself."""
    monkeypatch.setitem(
        RECIPES, "blog of somebody else", Recipe(elsewhere, "x", about="", small=True, place=0, queried=False)
    )
    quine = nq.recipe("blog", seed=3)
    assert "recipe" in places(quine)
    change(quine)
    assert "recipe" not in places(quine)


def elsewhere(seed=0):
    """The blog's network, from a function that may hold anything."""
    return RECIPES["blog"](seed=seed)


def test_frozen_statistics_that_are_not_the_recipes_are_counted():
    quine = nq.recipe("fletcher-onehot", seed=1)
    assert "recipe" in places(quine)
    quine.trunk[0].bias[5] += 1e-9
    found = count(quine)
    assert sum(bits for _, bits in found.places) >= found.answer


# -- whose code -----------------------------------------------------------------------------------------------------


class Foreign(nn.Linear):
    pass


class Disguised(nn.Linear):
    """Says that it is torch's."""


Disguised.__module__, Disguised.__qualname__ = "torch.nn.modules.linear", "Linear"


def hooked():
    layer = nn.Linear(6, 6)
    layer.register_forward_hook(lambda module, args, out: out + 1)
    return layer


def replaced():
    layer = nn.Linear(6, 6)
    layer.forward = lambda x: 2 * x
    return layer


def activated():
    return nn.TransformerEncoderLayer(6, 2, 8, activation=lambda x: x.relu(), batch_first=True)


def parametrized():
    return nn.utils.parametrizations.weight_norm(nn.Linear(6, 6))


@pytest.mark.parametrize("made", [lambda: Foreign(6, 6), lambda: Disguised(6, 6), hooked, replaced, activated])
def test_foreign_code_is_told(made):
    quine = stack(made())
    assert runs_foreign_code(quine)
    assert "best effort" in nq.verify(quine, tries=1).room


def test_a_function_that_selects_is_foreign_code():
    assert runs_foreign_code(stack(select=lambda out: out))
    assert not runs_foreign_code(stack(select=0))


SHARED = nn.Linear(6, 6)


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Tanh(),),
        (nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 6)),
        (SHARED, nn.Tanh(), SHARED),
        (nn.Unflatten(1, (1, 6)), nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)),
    ],
)
def test_layers_of_torch_are_not_foreign(layers):
    assert not runs_foreign_code(stack(*layers))


# -- what is said ---------------------------------------------------------------------------------------------------


def test_the_verdict_carries_it(tmp_path):
    quine = nq.recipe("blog")
    nq.solve(quine)
    found = nq.save(quine, tmp_path / "blog")
    figures = json.loads(json.dumps(found.figures()))
    assert {"outside_bits", "answer_bits", "foreign"} <= set(figures)
    assert figures["outside_bits"] == sum(bits for _, bits in found.places) < figures["answer_bits"] == 1040
    assert figures["foreign"] is False
    said = f"{found.outside_bits} bits, the answer has 1040: it cannot be stored there"
    assert found.room == said
    assert said in (tmp_path / "blog" / "README.md").read_text()
    read = nq.verify(nq.load(tmp_path / "blog"))
    assert (read.outside_bits, read.answer_bits, read.foreign) == (found.outside_bits, 1040, False)


def test_more_bits_outside_are_listed_by_name():
    quine = stack(nn.BatchNorm1d(6, affine=False), code_bits=2)
    said = nq.verify(quine, tries=1).room
    assert "the answer has 12: there is room for it" in said
    assert "1.running_mean: 64" in said


def test_counting_changes_nothing():
    quine = stack(nn.Linear(6, 6))
    theta, state = quine.theta, torch.get_rng_state()
    assert count(quine) == count(quine)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(quine.theta, theta)


def test_a_tensor_costs_what_a_dictionary_of_it_would():
    rng = np.random.default_rng(0)
    for distinct in (1, 2, 3, 200):
        values = torch.from_numpy(rng.standard_normal(distinct))[torch.from_numpy(rng.integers(0, distinct, 4000))]
        quine = stack(nn.BatchNorm1d(6, affine=False))
        quine.trunk[1].register_buffer("held", values)
        different = len(values.unique())
        assert places(quine)["1.held"] == different * 64 + 4000 * math.ceil(math.log2(different))
