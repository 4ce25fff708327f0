"""The real-valued tape: the other way for a network to carry its own description, exact and unable to heal.

The code is ``d`` real numbers in the bias of the last layer, whose weights are 0, so that the layer answers the code as it
stands, and the fixed expansion prints everything from it, the bias included. Any numbers are a fixed point, one printed
copy is exact, and no damage to the tape can be told from the original: it is a mutation that every generation prints.

Source: Kleene's recursion theorem (1938), in a network.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .printers.tape import RealTape
from .taped import TaskQuine, _margin_row


class BiasTapeQuine(TaskQuine):
    """A task quine with its code c in a bias: ``F(theta) = E(W a + b)``, printed with ``W = 0`` and ``b = c``.

    ``verify`` reports it as a copy, because it prints any numbers that its bias holds.

    Args:
        body, probe, code_size, seed, dtype, scales, copy: as for :class:`~neuralquine.TaskQuine`.
        repeats: has no effect, because the code is not repeated.
    """

    kind = "bias"
    _printer_type = RealTape
    _bias = True

    def reading(self, theta: Tensor | None = None) -> Tensor:
        """``W a + b``: weights ``(P,)`` to ``(d,)``."""
        return self.features(theta)

    def real_code(self, theta: Tensor | None = None) -> Tensor:
        """``W a + b``, as it stands: weights ``(P,)`` to code ``(d,)``."""
        return self.reading(theta)

    def parametrize(self, latent: Tensor) -> Tensor:
        """The latent vector is the code."""
        return latent

    def bound(self, latents: list[Tensor]) -> None:
        """Do nothing: real numbers need no limits."""

    def random_codes(self, count: int, generator: torch.Generator) -> Tensor:
        """Gaussian codes ``(count, d)``."""
        codes = torch.randn(count, self.code_size, generator=generator, dtype=torch.float64)
        return codes.to(self.trunk_device, self.code_dtype)

    @property
    def margin(self) -> float:
        """None, because every number is read as it stands and there are no votes."""
        return 0.0

    def _unsaturated(self, theta: Tensor) -> Tensor:
        """All code entries, because there is no clamp."""
        return torch.ones(self.code_size, dtype=torch.bool, device=theta.device)

    def what_it_is(self) -> list[tuple[str, str]]:
        """Rows of the model card that only this kind has."""
        return [("tape", f"{self.code_size} real numbers"), _margin_row(self.margin)]
