"""A recipe, a task or a world from outside the package is one decorated function, and everybody knows it."""

import json
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import neuralquine as nq
from neuralquine.cli.commands import app
from neuralquine.evolution import registry as worlds
from neuralquine.evolution import world
from neuralquine.evolution.soup import Soup
from neuralquine.recipes import RECIPES
from neuralquine.recipes import registry as recipes
from neuralquine.recipes.problem import Problem, drawn, numbers
from neuralquine.solving.sweep import run_job
from neuralquine.tasks import TASKS
from neuralquine.tasks import registry as tasks
from neuralquine.tasks.data import DIGITS


def listed():
    done = CliRunner().invoke(app, ["recipes", "--json"])
    assert done.exit_code == 0, done.output
    return {row["name"] if "name" in row else row["recipe"]: row for row in json.loads(done.stdout)["recipes"]}


@pytest.fixture
def wide():
    @recipes.recipe("wide", small=True)
    def make(seed: int = 0, width: int = 30, skip: float = 0.1) -> Problem:
        """A perceptron from outside, with one wide layer (P = 450)."""
        with drawn(seed):
            trunk = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 10))
        return Problem(trunk, numbers(seed, 1, 4), {"code_size": 10, "skip": skip})

    yield make
    del RECIPES["wide"]


def test_a_recipe_from_outside_is_built_solved_swept_and_listed(wide, tmp_path):
    quine = nq.recipe("wide", seed=3, width=20)
    assert quine.recipe == {"name": "wide", "seed": 3, "width": 20}
    assert nq.solve(quine).converged
    row = run_job({"recipe": "wide", "seed": 1, "options": {"width": 12}})
    assert row["converged"], row["error"]
    assert listed()["wide"]
    done = CliRunner().invoke(app, ["solve", "wide", "-r", "width=16", "--out", str(tmp_path / "q"), "--json"])
    assert done.exit_code == 0, done.output
    assert nq.load(tmp_path / "q").recipe["name"] == "wide"
    with pytest.raises(nq.UnknownName, match="did you mean 'width'"):
        nq.recipe("wide", widht=3)
    with pytest.raises(nq.BadOption, match="width must be a int like 30"):
        nq.recipe("wide", width="much")


def test_a_recipe_without_a_docstring_is_listed_by_what_it_says_or_its_name():
    def make(seed: int = 0) -> Problem:
        return Problem(nn.Linear(2, 4), numbers(seed, 1, 2), {"code_size": 4})

    try:
        recipes.recipe("bare")(make)
        recipes.recipe("told", about="A layer.")(make)
        assert (RECIPES["bare"].about, RECIPES["told"].about) == ("bare", "A layer.")
        assert "bare" in json.dumps(listed()["bare"])
        assert "A layer." in json.dumps(listed()["told"])
    finally:
        del RECIPES["bare"], RECIPES["told"]


def test_the_lab_lists_a_small_recipe_from_outside_after_its_own(wide):
    from neuralquine.lab.search import catalog, networks

    names = [r.name for r in networks()]
    assert names[:6] == ["blog", "cnn", "rnn", "gru", "lstm", "transformer"]
    assert names[6:10] == ["blog-part1", "queried-121", "queried-441", "queried-2601"]
    assert names[10:] == ["elman", "fletcher-coords", "fletcher-onehot", "fletcher-rnn", "chang-lipson", "wide"]
    shown = {n["name"]: n for n in catalog(lambda _: None)["networks"]}
    assert shown["wide"] == {
        "name": "wide",
        "summary": "A perceptron from outside, with one wide layer (P = 450).",
        "queried": False,
        "anchors": True,
    }
    assert {n for n, s in shown.items() if s["queried"]} == set(names[7:15])


def test_the_order_of_the_command_is_that_of_the_files():
    assert list(RECIPES) == [
        *("blog", "blog-part1", "chang-lipson", "queried-121", "queried-441", "queried-2601"),
        *("fletcher-coords", "fletcher-onehot", "fletcher-rnn", "elman", "cnn", "rnn", "gru", "lstm", "transformer"),
        *("resnet18", "vit-b16", "gpt2", "gpt2-xl", "llama-8b"),
    ]


@pytest.mark.skipif(find_spec("sklearn") is None, reason="no scikit-learn")
def test_a_task_from_outside_is_built_listed_and_its_data_are_known():
    @tasks.task("digits-linear", DIGITS)
    def make(seed: int = 0, code_size: int = 128) -> tasks.TaskPlan:
        """A classifier from outside."""
        body = nq.Body(nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU()), nn.Linear(16, 10))
        return tasks.TaskPlan(body, (8, 1, 8, 8), {"code_size": code_size}, nq.tasks.Schedule(epochs=1))

    try:
        made = nq.tasks.recipe("digits-linear", seed=2)
        made.train()
        assert torch.equal(made.quine.theta, made.quine.printed())
        known = nq.tasks.recipes.test_data(made.quine.recipe)
        assert len(known.dataset) == len(made.data.test.dataset)
        assert listed()["digits-linear"]
    finally:
        del TASKS["digits-linear"]


def test_a_world_from_outside_lives_and_is_listed():
    @worlds.world("calm")
    class Calm(Soup):
        """A soup in which nothing happens (P = 14 each)."""

        def __init__(self, seed: int = 0, generations: int = 3, size: int = 4) -> None:
            super().__init__(seed, generations, size, attack=0.0, train=0)

    try:
        made = world("calm", seed=1, size=3)
        made.step()
        assert len(made.theta) == 3
        assert listed()["calm"]
        with pytest.raises(nq.BadOption, match="world calm refuses size=0"):
            world("calm", size=0)
    finally:
        del worlds.WORLDS["calm"]


def test_a_name_that_is_taken_is_refused(wide):
    for register in (
        recipes.recipe("wide"),
        recipes.recipe(""),
        tasks.task("digits-mlp", DIGITS),
        worlds.world("soup"),
    ):
        with pytest.raises(nq.BadOption, match="it is taken or empty"):
            register(wide)
