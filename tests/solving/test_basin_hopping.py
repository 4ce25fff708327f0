"""From minimum to minimum of the residual, where one descent ends at none that is a fixed point."""

import pytest
import torch

import neuralquine as nq
from neuralquine.errors import BadOption
from neuralquine.solving.loop import Stop, iterate
from neuralquine.solving.maps import SelfMap
from neuralquine.solving.methods import BasinHopping, make_method
from neuralquine.solving.queried_map import QueryMap
from neuralquine.solving.regenerated import damped_starts
from neuralquine.solving.solution import Status
from neuralquine.solving.trace import Trace


def searched(seed, size, method, **limits):
    f = QueryMap(nq.recipe("fletcher-onehot", seed=seed, size=size, normalize=True))
    start = next(damped_starts(f, torch.Generator().manual_seed(seed)))
    return f, iterate(f, method, start[None].clone(), Stop(**limits), Trace(f, None))


@pytest.mark.parametrize(("seed", "size"), [(4, 16), (2, 24), (3, 24)])
def test_a_descent_ends_at_a_minimum_and_hopping_goes_on_to_a_fixed_point(seed, size):
    method = BasinHopping(seed=1)
    _, alone = searched(seed, size, method._descent)
    assert alone.status != [Status.CONVERGED]
    assert float(alone.residuals[0]) > 1e-5
    f, hopped = searched(seed, size, method)
    assert hopped.status == [Status.CONVERGED]
    f.queried.theta = hopped.best[0]
    assert nq.verify(f.queried).relative_residual < 1e-14


def test_the_same_seed_hops_alike_and_another_one_elsewhere():
    first, again, other = (searched(2, 16, BasinHopping(seed=seed), max_steps=40)[1] for seed in (1, 1, 2))
    assert torch.equal(first.last, again.last)
    assert not torch.equal(first.last, other.last)
    assert float(first.residuals[0]) > 1e-6  # what is compared are minima, no fixed point to which both were led


def test_a_low_minimum_is_left_for_another_low_one_and_the_best_is_kept():
    _, high = searched(2, 16, BasinHopping(seed=1, flat=0.0), max_steps=300)
    _, flat = searched(2, 16, BasinHopping(seed=1, flat=1e-2), max_steps=300)
    assert float(flat.residuals[0]) <= float(flat.tail[-1, 0]) + 1e-12
    assert not torch.equal(high.last, flat.last)


def test_where_nothing_is_finite_it_ends():
    f = SelfMap(lambda x: x * torch.nan, 3)
    search = iterate(f, BasinHopping(), torch.ones(1, 3, dtype=torch.float64), Stop(), Trace(f, None))
    assert search.status == [Status.NONFINITE]


@pytest.mark.parametrize(
    "kicks", [{"least": 0.0}, {"least": -1.0}, {"most": 0.0}, {"most": float("nan")}, {"most": float("inf")}]
)
def test_kicks_without_a_length_are_refused(kicks):
    with pytest.raises(BadOption, match="basin-hopping: kicks from"):
        make_method("basin-hopping", kicks)
