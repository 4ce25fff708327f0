"""What ordinary PyTorch does to a quine's weights is said: another's state_dict, an optimizer on a task quine."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn

import neuralquine as nq
from tasks.small import quine as task_quine


@pytest.mark.parametrize("seeds", [(0, 1), (3, 8), (5, 2)])
def test_weights_of_another_quine_are_told_apart(seeds):
    mine, other = (nq.recipe("blog", seed=seed) for seed in seeds)
    nq.solve(mine)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pickle.loads(pickle.dumps(copy.deepcopy(mine))).load_state_dict(mine.state_dict())
    with pytest.warns(UserWarning, match=r"not what this quine prints .* neither the probe nor the printer"):
        other.load_state_dict(mine.state_dict())
    with pytest.warns(UserWarning, match="not what this quine prints"):  # also inside of something larger
        nn.ModuleList([other]).load_state_dict(nn.ModuleList([mine]).state_dict())


def test_an_optimizer_on_a_task_quine_is_told_once():
    quine = task_quine()
    x = torch.randn(4, *quine.probe.shape[1:]).to(quine.dtype)
    optimizer = torch.optim.SGD(quine.parameters(), lr=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quine.outputs(x).square().mean().backward()  # derivatives alone harm nothing
        quine.outputs(x)
    optimizer.step()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")
        quine.outputs(x)
    with pytest.warns(UserWarning, match="leaves no quine"):
        quine.outputs(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quine.outputs(x)
    quine.install(quine.code())
    assert torch.equal(quine.printed(), quine.theta)
