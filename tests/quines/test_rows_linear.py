"""The quicker linear layer says what torch's own says, wherever it is taken, and where it is not at hand torch's own is."""

import pytest
import torch
from torch.nn.functional import linear

from neuralquine.quines import rows_linear
from neuralquine.quines.rows_linear import FixedProduct, quick_linear


def drawn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("rows", [1, 99, 100, 1024])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_says_what_the_plain_one_says(rows, bias, dtype):
    x, weight = drawn(rows, 17, dtype=dtype), drawn(9, 17, seed=1, dtype=dtype)
    shift = drawn(9, seed=2, dtype=dtype) if bias else None
    exact = linear(x.double(), weight.double(), None if shift is None else shift.double())
    found = quick_linear(x, weight, shift)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


def test_any_order_of_memory_will_do():
    x, weight = drawn(17, 200).mT, drawn(17, 9, seed=1).mT
    torch.testing.assert_close(quick_linear(x, weight), linear(x, weight), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("what", ["missing", "wrong"])
def test_a_library_that_is_missing_or_wrong_is_not_taken(monkeypatch, what):
    """As in a build of torch without it, or on a processor on which it errs."""

    class Library:
        if what == "wrong":

            def _linear_pointwise(self, x, weight, *_):
                return linear(x, weight)  # without the bias

    rows_linear._at_hand.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(torch.ops, "mkldnn", Library(), raising=False)
        x, weight, bias = drawn(200, 5), drawn(3, 5, seed=1), drawn(3, seed=2)
        assert not rows_linear._at_hand()
        assert torch.equal(quick_linear(x, weight, bias), linear(x, weight, bias))
    rows_linear._at_hand.cache_clear()


def test_the_product_with_a_fixed_matrix_is_differentiated():
    weight = drawn(9, 17, seed=1)
    x = drawn(120, 17).requires_grad_(True)
    upstream = drawn(120, 9, seed=2)
    (found,) = torch.autograd.grad((FixedProduct.apply(x, weight, weight.mT.contiguous()) * upstream).sum(), x)
    torch.testing.assert_close(found, upstream @ weight, rtol=1e-5, atol=1e-5)
