"""The post's class, as it stands there, with the numbers of the recipe ``blog``: probe, projection and initial weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...quines.printers.gaussian import GaussianExpansion
from ...quines.quine import Quine


class PostNetwork(nn.Module):
    """The post's ``Quine``: three layers, tanh, instance normalization without parameters, a fixed random projection.

    The post writes ``InstanceNorm1d(20)``, of which torch says that there is one channel and not 20; the numbers are the same.

    Args:
        projection: ``(20, P)``.
        alpha: what the printed numbers are multiplied with.
    """

    projection: Tensor

    def __init__(self, projection: Tensor, alpha: float = 0.25) -> None:
        super().__init__()
        self.alpha = alpha
        self.l1 = nn.Linear(8, 20)
        self.l2 = nn.Linear(20, 20)
        self.l3 = nn.Linear(20, 20)
        self.norm1 = nn.InstanceNorm1d(1, affine=False)
        self.norm2 = nn.InstanceNorm1d(1, affine=False)
        self.norm3 = nn.InstanceNorm1d(1, affine=False)
        self.register_buffer("projection", projection)
        self.activation = nn.Tanh()

    def forward(self, z: Tensor) -> Tensor:
        x = self.activation(self.l1(z))
        x = self.norm1(x.unsqueeze(0)).squeeze(0)
        x = self.activation(self.l2(x))
        x = self.norm2(x.unsqueeze(0)).squeeze(0)
        x = self.activation(self.l3(x))
        x = self.norm3(x.unsqueeze(0)).squeeze(0)
        return self.alpha * (x @ self.projection)


def network_of(quine: Quine) -> PostNetwork:
    """The post's network with the projection of the recipe's quine, in its type; its weights are not set."""
    assert isinstance(quine.printer, GaussianExpansion)
    made = PostNetwork(quine.printer.matrix.mT / quine.code_size).to(quine.dtype)
    return made.requires_grad_(False)  # the post's gradients for these are computed and never used


def set_parameters(network: nn.Module, theta: Tensor) -> None:
    """Copy a vector into the weights, outside of autograd, as the post's ``set_params`` does."""
    with torch.no_grad():
        nn.utils.vector_to_parameters(theta, network.parameters())
