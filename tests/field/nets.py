"""Modules such as people have: each is one of a kind that once broke something."""
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIncompatibleMethodOverride=false, reportAttributeAccessIssue=false

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

PROBE = torch.ones(1, 4)


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16))


class Around(nn.Module):
    """A network with something done before and after it."""

    def __init__(self, before=lambda self, x: x, after=lambda self, y: y, seed=0):
        super().__init__()
        self.inner, self.before, self.after = net(seed), before, after

    def forward(self, x):
        return self.after(self, self.inner(self.before(self, x)))


class Rope(nn.Module):
    """Turns pairs of numbers by angles in a complex buffer."""

    def __init__(self, seed=0, persistent=False):
        super().__init__()
        torch.manual_seed(seed)
        self.linear = nn.Linear(8, 8)
        self.register_buffer("turns", torch.polar(torch.ones(5, 4), torch.rand(5, 4) * 6), persistent=persistent)

    def forward(self, x):
        return torch.view_as_real(torch.view_as_complex(self.linear(x).view(5, 4, 2)) * self.turns)


class Spectrum(nn.Module):
    """A filter in frequency space, its transfer function a complex buffer."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.linear = nn.Linear(8, 16)
        self.register_buffer("transfer", torch.randn(9, dtype=torch.complex64))

    def forward(self, x):
        return torch.fft.irfft(torch.fft.rfft(self.linear(x)) * self.transfer, n=16)


class Checkpointed(nn.Module):
    def __init__(self, how, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second, self.how = nn.Linear(4, 16), nn.Linear(16, 16), how

    def hidden(self, x):
        return torch.tanh(self.second(torch.tanh(self.first(x))))

    def forward(self, x):
        if self.how is None:
            return self.hidden(x)
        return checkpoint(self.hidden, x, use_reentrant=self.how)


class Narrow(nn.Module):
    """Computes a part in float32, whatever its weights are."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second = nn.Linear(4, 16), nn.Linear(16, 16)

    def forward(self, x):
        h = torch.tanh(self.first(x).float()).to(x.dtype)
        return torch.nn.functional.layer_norm(self.second(h).float(), (16,)).to(x.dtype)


class Masked(nn.Module):
    """Attention under a mask of minus infinity."""

    def __init__(self, seed=0, size=5):
        super().__init__()
        torch.manual_seed(seed)
        self.linear = nn.Linear(8, 8)
        self.register_buffer("mask", torch.triu(torch.full((size, size), float("-inf")), 1))

    def forward(self, x):
        return torch.softmax(self.linear(x) @ x.mT + self.mask, -1) @ x


class MaskedFromOutside(nn.Module):
    """Attention under a mask that it is handed."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.linear = nn.Linear(8, 8)

    def forward(self, x, mask):
        return torch.softmax(self.linear(x) @ x.mT + mask, -1) @ x


class SharedBuffer(nn.Module):
    """One buffer in two modules, and two that overlap."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        mask, long = torch.ones(4, 4).bool(), torch.randn(20)
        self.a, self.b = nn.Linear(4, 16), nn.Linear(16, 16)
        for module in (self.a, self.b):
            module.register_buffer("mask", mask)
        self.register_buffer("front", long[:12])
        self.register_buffer("back", long[8:])

    def forward(self, x):
        return self.b(torch.tanh(self.a(x))) + self.front.sum() - self.back.sum()


class Remembered(nn.Module):
    """Has a state of its own in its files: one tensor that is neither parameter nor buffer."""

    def __init__(self, factors=None):
        super().__init__()
        self.inner, self.factors = net(), torch.ones(16) if factors is None else factors

    def forward(self, x):
        return self.inner(x) * self.factors.to(x)

    def get_extra_state(self):
        return self.factors

    def set_extra_state(self, state):
        self.factors = state


class Oneway(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        raise NotImplementedError("there is no way back")
