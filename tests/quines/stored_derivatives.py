"""Everything that is derived from the gradients by stored tensors, to be compared between two ways of taking them."""

import pytest
import torch

from neuralquine.quines.code_by_code import code_by_code
from neuralquine.quines.gradients import each_gradient, stored_gradient_lengths


def derivatives(quine, scalars):
    """The gradients of some scalars by every tensor, their lengths, and the code's derivative by itself."""
    pieces = {}
    each_gradient(quine, scalars, lambda s, number, grad: pieces.update({(s, number): grad.clone()}))
    return pieces, stored_gradient_lengths(quine, scalars), code_by_code(quine, quine.printer)


def assert_alike(mine, theirs):
    assert mine[0].keys() == theirs[0].keys()
    for key, grad in theirs[0].items():
        torch.testing.assert_close(mine[0][key], grad, rtol=1e-10, atol=1e-12)
    for one, other in zip(mine[1], theirs[1], strict=True):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-13)
    torch.testing.assert_close(mine[2], theirs[2], rtol=1e-9, atol=1e-11)


def assert_left_alone(quine):
    for w in quine.weights:
        assert w.grad is None
        assert not w._backward_hooks
