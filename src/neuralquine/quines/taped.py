"""The task quine: a network that does its task with the weights that it prints.

Its code are ``d`` signs that stand in the weights themselves, on a *tape*. Asked with its probe, the network reads the
tape with its own features, and prints everything from what it read:

    a = mean |features(z; theta)|,    u = W a,    c = clamp(32 N(sum over repeats of u), -1, 1),    F(theta) = E(c)

``W`` is the tape, an ordinary linear layer, N divides by the root mean square. Every row of ``W`` holds one sign as many
times as the body has features, so a row's dot product with the features is a majority vote, and the clamp makes its
outcome a sign again: any of the ``2^d`` codes is a fixed point, and what damages less than the majority is undone. So
the task is learned freely, in the code; a quine it is by construction.

Every weight is read through a clamp (:meth:`~neuralquine.quines.printers.tape.TapeExpansion.saturate`).

Source: von Neumann (1966); Chang and Lipson (2018), section 4, for the task.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..errors import TrunkError, first_line
from .networks.bodies import Taped
from .networks.running import Inputs, Probe, differentiable_kernels
from .printers.scales import initial_scales
from .printers.tape import USES, TapeExpansion, sign_images
from .quine import Quine

_GAIN = 32.0  # a sign that is read with 1/32 of the usual majority counts in full


class TaskQuine(Quine):
    """A classifier, regressor or any other network that prints itself from a tape of signs; trained or not.

    Args:
        body: returns ``(features, outputs)`` for a batch, the features flat: ``(n, f)``. It is copied; its initial
            weights are redrawn, each tensor at the mean and scale of its own values.
        probe: the fixed batch that it is asked with, ``(m, ...)``; a shape ``(m, ...)`` asks with fixed random signs.
        code_size: d, the signs on the tape. One to two for each weight of the body leave the task little to wish for.
        seed: key of the fixed expansion and of the probe (Philox).
        repeats: rows of the tape for each sign: more rows survive more damage, and cost ``d f`` weights each.
        dtype: float32 or float64.
        scales: means and gains, as for :class:`~neuralquine.Quine`.
        copy: leave the body handed in as it was.

    Raises:
        TrunkError: the body does not return features and outputs, or all its features are 0 on the probe.
        TooLarge: the tables of the expansion would take more than 2 GiB.

    Example:
        >>> import torch, neuralquine as nq
        >>> stem = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.ReLU())
        >>> quine = nq.TaskQuine(nq.Body(stem, torch.nn.Linear(32, 3)), (8, 4), code_size=256)
        >>> torch.equal(quine.theta, quine.printed())
        True
    """

    _expansions = ("tape",)
    constructed = True
    kind = "signs"
    _bias = False  # whether the code stands in the tape's bias instead of its rows

    def __init__(
        self,
        body: nn.Module,
        probe: Probe | tuple[int, ...],
        code_size: int,
        seed: int = 0,
        *,
        repeats: int = 4,
        dtype: torch.dtype = torch.float32,
        scales: tuple[Sequence[float], Sequence[float]] | None = None,
        copy: bool = True,
    ) -> None:
        if dtype not in (torch.float32, torch.float64):
            raise TrunkError(f"a task quine computes in float32 or float64, not {dtype}")
        if not 1 <= repeats <= 1024 or code_size < 1:
            raise TrunkError(f"repeats must be from 1 to 1024 and code_size at least 1, not {repeats} and {code_size}")
        if not isinstance(probe, Tensor) and all(isinstance(n, int) for n in probe):
            probe = sign_images(seed, *probe)  # type: ignore[arg-type]
        self.repeats = repeats
        kept = isinstance(body, Taped)  # read back with its tape, and its weights are what it holds
        taped = body if isinstance(body, Taped) else self._taped(body, probe, code_size)
        super().__init__(
            taped,
            probe,  # type: ignore[arg-type]
            code_size,
            seed,
            dtype=dtype,
            normalize=False,
            scales=scales or self._scales(taped),
            expansion="tape",
            copy=copy,
        )
        if not kept:
            self.install(self.random_codes(1, torch.Generator().manual_seed(seed % 2**63))[0])
            with torch.no_grad():
                if not bool(self.reading().any()):
                    raise TrunkError("the body's features are all 0 on the probe: nothing can be read with them")

    def _taped(self, body: nn.Module, probe: Any, code_size: int) -> Taped:
        if not isinstance(body, nn.Module):
            raise TrunkError(f"the body must be an nn.Module, not {type(body).__name__}")
        try:
            with torch.no_grad(), differentiable_kernels():
                answer = body(probe) if isinstance(probe, Tensor) else body(*probe)
            features, outputs = answer
            count, width = features.shape
            if len(outputs) != count:
                raise ValueError(f"{count} rows of features and {len(outputs)} of outputs")
        except Exception as error:  # whatever a foreign module raises, or another shape than this
            raise TrunkError(
                f"the body must return features (n, f) and outputs (n, k) for the probe: {first_line(error)}"
            ) from error
        with torch.random.fork_rng(devices=[]):
            return Taped(body, width, code_size * self._rows_per_sign, bias=self._bias)

    @property
    def _rows_per_sign(self) -> int:
        return self.repeats

    def _scales(self, taped: Taped) -> tuple[list[float], list[float]]:
        means, gains = initial_scales(list(taped.body.parameters()), USES)
        tape = list(taped.tape.parameters())
        return means + [0.0] * len(tape), gains + [2.0 ** round(-math.log2(taped.tape.in_features) / 2)] * len(tape)

    def _make_expansion(self, sizes: list[int]) -> TapeExpansion:
        return TapeExpansion(
            sizes,
            self.means,
            self.gains,
            code_size=self.code_size,
            seed=self.seed,
            dtype=self.dtype,
            features=self.network.tape.in_features,
            repeats=self.repeats,
            bias=self._bias,
            device=self.trunk_device,
        )

    def _make_readout(self, features: int) -> None:
        if features != self.code_size * self._rows_per_sign:
            raise TrunkError(f"a tape of {features} rows does not hold {self.code_size} signs {self.repeats} times")

    @property
    def network(self) -> Taped:
        """The body and its tape."""
        assert isinstance(self.trunk, Taped)
        return self.trunk

    @property
    def probe(self) -> Tensor:
        """The batch that it is asked with, ``(m, ...)``."""
        assert isinstance(self.inputs, tuple)
        return self.inputs[0]

    # -- the map ------------------------------------------------------------------------------------------------

    def features(self, theta: Tensor | None = None) -> Tensor:
        """What each row of the tape says at weights ``theta`` ``(P,)``, by default the stored ones: ``(rows,)``."""
        return self._run(self.inputs, None if theta is None else self.tensors(theta))

    def _run(self, inputs: Inputs, tensors: dict[str, Tensor] | None) -> Tensor:
        if not hasattr(self, "expand"):  # the first look at the body, before anything can be printed
            return super()._run(inputs, tensors)
        return super()._run(inputs, self._read(tensors or dict(self.named_weights())))

    def _read(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights as the network reads them, each through the clamp of its tensor."""
        return {
            place: self.expand.saturate(i, tensors[name])
            for i, (name, _) in enumerate(self.named_weights())
            for place in self._places[name]
        }

    def features_of(self, tensors: dict[str, Tensor]) -> Tensor:
        """``a = mean |features(z)|`` of a network that holds these tensors: ``(f,)``."""
        body = {name.removeprefix("body."): t for name, t in self._read(tensors).items() if name.startswith("body.")}
        with differentiable_kernels():
            features, _ = functional_call(self.network.body, body, tuple(self.inputs), tie_weights=False)
        return features.abs().mean(0)

    def reading(self, theta: Tensor | None = None) -> Tensor:
        """``N(sum of u)``, what the votes say before they are made signs: weights ``(P,)`` to ``(d,)``.

        Signs of about the same size, 1; an entry below 1/32 is no majority.
        """
        u = self.expand.votes(self.features(theta))
        return u / torch.sqrt((u * u).mean(-1, keepdim=True) + torch.finfo(u.dtype).tiny)

    def real_code(self, theta: Tensor | None = None) -> Tensor:
        """``clamp(32 N(sum of u), -1, 1)``: weights ``(P,)`` to code ``(d,)``."""
        return (_GAIN * self.reading(theta)).clamp(-1.0, 1.0)

    def random_codes(self, count: int, generator: torch.Generator) -> Tensor:
        """Random signs ``(count, d)``."""
        signs = 1 - 2 * torch.randint(0, 2, (count, self.code_size), generator=generator)
        return signs.to(self.trunk_device, self.code_dtype)

    @property
    def margin(self) -> float:
        """How many times the smallest majority in the reading exceeds the one that makes a full sign; exact above 1."""
        with torch.no_grad():
            return float(_GAIN * (self.reading() * self.code()).min())

    # -- the task -----------------------------------------------------------------------------------------------

    def outputs(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """What the network answers to a batch: inputs ``(n, ...)`` to outputs ``(n, k)``.

        Args:
            x: the batch.
            code: ``(d,)``, answer with the weights that are printed from this code instead of the stored ones;
                differentiable in it. With ``straight_through(latent)`` this is the map to train.
        """
        names = [name for name, _ in self.named_weights()][: len(self.expand.body_sizes)]
        if code is None:
            weights = [p for _, p in self.named_weights()]
        else:
            pieces = self.expand.body(code).split(self.expand.body_sizes)
            weights = [piece.view(p.shape) for piece, p in zip(pieces, self.weights, strict=False)]
        read = {name: self.expand.saturate(i, weights[i]) for i, name in enumerate(names)}
        prefix = len("body.")
        body = {place[prefix:]: read[name] for name in names for place in self._places[name]}
        with differentiable_kernels():
            _, outputs = functional_call(self.network.body, body, (x,), tie_weights=False)
        return outputs

    def answer(self, *args: Any, **kwargs: Any) -> Any:
        """Do the task: the outputs for a batch of inputs."""
        return self.outputs(*args, **kwargs)

    def parametrize(self, latent: Tensor) -> Tensor:
        """A latent vector ``(d,)`` that is trained, as the code it stands for; differentiable."""
        return straight_through(latent)

    def new_latent(self, generator: torch.Generator) -> Tensor:
        """A latent vector ``(d,)`` to start training from."""
        return 0.3 * torch.randn(self.code_size, generator=generator).to(self.trunk_device, self.dtype)

    def bound(self, latents: list[Tensor]) -> None:
        """Keep latent vectors where a step can still turn their signs; in place, after each step of an optimizer."""
        with torch.no_grad():
            for latent in latents:
                latent.clamp_(-1.0, 1.0)


def straight_through(latent: Tensor) -> Tensor:
    """The signs of ``latent``, +1 at 0, with the derivative of the identity.

    Source: Bengio, Leonard and Courville (2013), "Estimating or propagating gradients through stochastic neurons".
    """
    signs = torch.where(latent >= 0, 1.0, -1.0).to(latent)
    return signs + (latent - latent.detach())
