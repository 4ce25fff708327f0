"""Evolution of task quines: mutations are inherited, all are exact, and only selection learns."""

from importlib.util import find_spec

import pytest
import torch

import neuralquine as nq
from neuralquine.cli.evolve import _text
from neuralquine.evolution.digits import Digits

pytestmark = pytest.mark.skipif(find_spec("sklearn") is None, reason="no scikit-learn")
SMALL = {"size": 16, "parents": 4, "hidden": 16, "code_size": 64}


@pytest.fixture(scope="module")
def world():
    return Digits(**SMALL)


def lived(generations, **options):
    made = Digits(**(SMALL | options))
    for _ in range(generations):
        made.step()
        made.age += 1
    return made


def test_wear_is_repaired_and_a_mutation_is_printed_for_ever(world):
    quine = world.quine
    theta = quine.expand(world.codes[:8])
    world.strikes, world.wear = 0.0, 0.02
    damaged, struck = world.damaged(theta, torch.Generator().manual_seed(0))
    assert int((damaged != theta).any(1).sum()) == 8
    code, exact = world.grown(damaged)
    assert torch.equal(code, world.codes[:8])
    assert bool(exact.all())
    world.strikes = 20.0
    damaged, struck = world.damaged(theta, torch.Generator().manual_seed(1))
    code, exact = world.grown(damaged)
    changed = (code != world.codes[:8]).sum()
    assert 0.3 < float(changed) / float(struck.sum()) < 0.7  # the others were read rightly
    assert bool(exact.all())
    child = quine.expand(code)
    for _ in range(3):  # bit for bit
        assert torch.equal(quine.expand(quine.real_codes(child)), child)
    world.strikes, world.wear = 4.0, 0.01


def test_an_individual_that_does_not_print_itself_is_found_out(world):
    broken = world.codes[:3].clone()
    broken[1, 5] = 0.5  # is no sign, and is printed as one
    assert world._exact(broken).tolist() == [True, False, True]


def test_fitness_is_what_the_quine_itself_answers(world):
    x, y = world.data["test"]
    fitness, accuracy = world._examine(world.codes[:2], "test")
    for code, f, a in zip(world.codes[:2], fitness, accuracy, strict=True):
        outputs = world.quine.outputs(x, code)
        torch.testing.assert_close(-torch.nn.functional.cross_entropy(outputs, y), f)
        assert float((outputs.argmax(1) == y).float().mean()) == pytest.approx(float(a))


def test_only_selection_raises_fitness_and_all_are_exact():
    chosen, random = lived(25), lived(25, selection=False)
    start = chosen.history["fitness"][0].max()
    assert chosen.fitness.max() > start + 0.2
    assert random.fitness.max() < start + 0.1
    for w in (chosen, random):
        assert bool(w.column("exact").all())
    best = [float(f.max()) for f in chosen.history["fitness"]]
    assert best == sorted(best)  # the fittest lives on


def test_children_differ_from_their_parents_by_their_recorded_mutations():
    before = Digits(**SMALL)
    codes = dict(zip(before.identity.tolist(), before.codes, strict=True))
    before.step()
    parents, mutations = before.history["parent"][-1], before.history["mutations"][-1]
    for code, parent, count in zip(before.codes, parents.tolist(), mutations.tolist(), strict=True):
        assert int((code != codes[parent]).sum()) == count
    assert int(mutations.sum()) > 0


def test_diversity_is_the_mean_difference_of_two():
    w = Digits(**SMALL)
    pairs = [(a != b).double().mean() for i, a in enumerate(w.codes) for b in w.codes[:i]]
    assert float(w.diversity()) == pytest.approx(float(torch.stack(pairs).mean()))


def test_the_fittest_is_kept_as_a_quine_that_classifies(tmp_path):
    w = lived(3)
    result = w.result(tmp_path)
    assert result["best_is_quine"]
    assert result["best_bit_exact"]
    kept = nq.load(tmp_path / "best")
    assert torch.equal(kept.theta, w.quine.expand(w.codes[int(w.fitness.argmax())]))
    state = w.state()
    again = Digits(**SMALL)
    again.restore(state)
    assert torch.equal(again.codes, w.codes)


def test_figures_are_shown_as_a_person_reads_them():
    assert _text([200, 200, 0]) == "200, 200, 0"
    assert _text({"fixed_point": 18, "rate": [0.51234, 2]}) == "fixed point 18, rate 0.5123, 2"
