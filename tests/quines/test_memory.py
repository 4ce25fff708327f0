"""A derivative that there is no memory for all at once is taken row by row."""

import pytest
import torch

from neuralquine.errors import TrunkError
from neuralquine.quines.gradients import reverse_jacobian

NO_ROOM = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 5 bytes"


@pytest.mark.parametrize("error", [RuntimeError(NO_ROOM), torch.OutOfMemoryError("CUDA out of memory")])
def test_rows_that_do_not_fit_side_by_side_follow_one_another(error):
    asked = []

    def rows(x):
        asked.append(len(x))
        if len(x) > 2:
            raise error
        return torch.stack([x.square().sum(1), x[:, 0] * x[:, 1], x[:, 1]], 1)

    x = torch.tensor([[2.0, 3.0], [1.0, -1.0]])
    found = reverse_jacobian(rows, x, 3, replicate=True)
    assert asked == [6, 2]
    assert torch.equal(found, torch.tensor([[[4, 6], [3, 2], [0, 1.0]], [[2, -2], [-1, 1], [0, 1.0]]]))


def test_another_failure_is_no_matter_of_memory():
    def rows(x):
        raise RuntimeError("no")

    with pytest.raises(TrunkError, match="cannot be differentiated: no"):
        reverse_jacobian(rows, torch.ones(1, 2), 2, replicate=True)
