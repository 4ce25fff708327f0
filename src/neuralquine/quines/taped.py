"""The task quine: a network that does its task with the weights that it prints.

Its code is a vector of ``d`` signs in the weights themselves, on a *tape*. On its probe the network reads the
tape with its own features, and prints everything from what it read:

    a = mean |features(z; theta)|,    u = W a,    c = clamp(32 N(sum over repeats of u), -1, 1),    F(theta) = E(c)

``W`` is the tape, an ordinary linear layer, N divides by the root mean square. Every row of ``W`` holds one sign as many
times as the body has features, so a row's dot product with the features is a majority vote, and the clamp makes its
outcome a sign again: any of the ``2^d`` codes is a fixed point, and damage to less than the majority is undone. So
the task is learned freely, in the code, and the network is a quine by construction.

Every weight is read through a clamp (:meth:`~neuralquine.quines.printers.tape.TapeExpansion.saturate`).

Source: von Neumann (1966); Chang and Lipson (2018), section 4, for the task.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ..errors import BadOption, QuineFileError, TrunkError, first_line
from .altered import Watched
from .coding import Coding
from .derivatives import DENSE, Dense, Directional, Matrixless, Zero
from .gradients import derivatives_on, gradient
from .networks.bodies import Taped
from .networks.running import Probe, called_with, differentiable_kernels
from .numbers import whole
from .printers.scales import initial_scales
from .printers.tape import USES, SignTape, sign_images
from .quine import Quine, checked_scales
from .self_printer import SelfPrinter
from .trunk import Trunk

_GAIN = 32.0  # a sign that is read with 1/32 of the usual majority counts in full
_ROWS_BYTES = 1 << 28  # bytes of a derivative's rows that are written out


class TaskQuine(Quine):
    """A classifier, regressor or any other network that prints itself from a tape of signs; trained or not.

    Args:
        body: returns ``(features, outputs)`` for a batch, the features flat: ``(n, f)``. It is copied; its initial
            weights are redrawn, each tensor at the mean and scale of its own values.
        probe: the fixed input batch, ``(m, ...)``; a shape ``(m, ...)`` stands for fixed random signs.
        code_size: d, the signs on the tape. One to two signs per weight of the body are enough in practice.
        seed: key of the fixed expansion and of the probe (Philox).
        repeats: rows of the tape for each sign: more rows survive more damage, and cost ``d f`` weights each.
        dtype: float32 or float64.
        scales: means and gains, as for :class:`~neuralquine.Quine`.
        copy: work on a copy of the body. With False the quine takes the body itself.

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

    kind = "signs"
    constructed = True
    printer: SignTape
    _printer_type: ClassVar[type[SignTape]] = SignTape
    _bias: ClassVar[bool] = False  # whether the code stands in the tape's bias instead of its rows

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
        code_size, seed, repeats = whole("code_size", code_size), whole("seed", seed), whole("repeats", repeats)
        if dtype not in (torch.float32, torch.float64):
            raise BadOption(f"a task quine computes in float32 or float64, not {dtype}")
        if not 1 <= repeats <= 1024 or code_size < 1:
            raise BadOption(f"repeats must be from 1 to 1024 and code_size at least 1, not {repeats} and {code_size}")
        if not isinstance(probe, Tensor) and all(isinstance(n, int) for n in probe):
            probe = sign_images(seed, *probe)  # type: ignore[arg-type]
        rows = code_size * (1 if self._bias else repeats)
        kept = isinstance(body, Taped)  # read from a file: the tape is there, and the weights are the stored ones
        taped = body if isinstance(body, Taped) else _taped(body, probe, rows, bias=self._bias)
        held = Trunk(taped, probe, dtype=dtype, copy=copy)  # type: ignore[arg-type]
        if held.width != rows:
            raise TrunkError(f"a tape of {held.width} rows does not hold {code_size} signs {repeats} times")
        means, gains = checked_scales(held, scales or _scales(taped))
        printer = self._printer_type(
            held.sizes,
            means,
            gains,
            code_size=code_size,
            seed=seed,
            dtype=dtype,
            features=taped.tape.in_features,
            repeats=repeats,
            device=held.device,
        )
        coding = Coding(normalize=False, eps=1e-5, skip=None, readout=None, anchor=None)
        SelfPrinter.__init__(self, held, printer, coding, means, gains, seed=seed)
        self.repeats, self._watched = repeats, Watched()
        if not kept:
            self._begin()

    def given_weights(self) -> None:
        """See :meth:`neuralquine.Quine.given_weights`; here it is no step of an optimizer."""
        self._watched.expect(self)

    def _begin(self) -> None:
        """Install the first code, which is drawn from the seed."""
        self.install(self.random_codes(1, torch.Generator().manual_seed(self.seed % 2**63))[0])
        with torch.no_grad():
            if not bool(self.reading().any()):
                raise TrunkError("the body's features are all 0 on the probe: nothing can be read with them")

    @property
    def network(self) -> Taped:
        """The body and its tape."""
        assert isinstance(self.trunk, Taped)
        return self.trunk

    @property
    def probe(self) -> Tensor:
        """The fixed input batch, ``(m, ...)``."""
        assert isinstance(self.inputs, tuple)
        return self.inputs[0]

    # -- the map ------------------------------------------------------------------------------------------------

    def features(self, theta: Tensor | None = None) -> Tensor:
        """The output of each row of the tape at weights ``theta`` ``(P,)``, by default the stored ones: ``(rows,)``."""
        tensors = dict(self.named_weights()) if theta is None else self.tensors(theta)
        return self._trunk.run(self.inputs, self._read(tensors))

    def _read(self, tensors: dict[str, Any]) -> dict[str, Tensor]:
        """Weights by name as the network reads them, each through the clamp of its tensor."""
        return {name: self.printer.saturate(i, tensors[name]) for i, (name, _) in enumerate(self.named_weights())}

    def features_of(self, tensors: dict[str, Tensor]) -> Tensor:
        """``a = mean |features(z)|`` of a network that holds these tensors: ``(f,)``."""
        body = self._in_the_body(self._read(tensors))
        with self.turn, differentiable_kernels():
            features, _ = called_with(self.network.body, body, tuple(self.inputs))
        return features.abs().mean(0)

    def _in_the_body(self, read: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights by name, for every place of the body that uses them."""
        places = [(place, t) for name, t in read.items() for place in self._trunk.places[name]]
        return {place.removeprefix("body."): t for place, t in places if place.startswith("body.")}

    def reading(self, theta: Tensor | None = None) -> Tensor:
        """``N(sum of u)``, the votes before the clamp makes them signs: weights ``(P,)`` to ``(d,)``.

        The entries are about 1 or -1; one below 1/32 in size is no majority.
        """
        u = self.printer.votes(self.features(theta))
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
        """The smallest vote, in units of the vote that makes a full sign; above 1, every sign is read exactly."""
        with torch.no_grad():
            return float(_GAIN * (self.reading() * self.code()).min())

    # -- derivatives --------------------------------------------------------------------------------------------

    def directional(self, theta: Tensor | None = None) -> Directional:
        """Zero where every sign is read with a margin; otherwise the code's derivative by its non-zero rows."""
        theta = self.theta if theta is None else theta
        with torch.no_grad():
            rows = self._unsaturated(theta).nonzero().flatten()
        if len(rows) == 0:
            return Zero(theta)
        if len(rows) <= DENSE and len(rows) * theta.numel() * theta.element_size() <= _ROWS_BYTES:
            with derivatives_on():
                leaf = theta.detach().clone().requires_grad_(True)
                code = self.real_code(leaf)
                matrix = torch.stack([gradient(code[i], leaf, retain=True) for i in rows.tolist()])
            return Dense(matrix, self.printer, rows)

        def vjp(u: Tensor) -> Tensor:
            with derivatives_on():
                leaf = theta.detach().clone().requires_grad_(True)
                return gradient((self.real_map(leaf) * u.to(theta)).sum(), leaf, retain=False)

        return Matrixless(lambda v: torch.func.jvp(self.real_map, (theta,), (v.to(theta),))[1].detach(), vjp, theta)

    def _unsaturated(self, theta: Tensor) -> Tensor:
        """The code entries that change with the weights, ``(d,)`` of bool: those that are read inside the clamp."""
        return ~((_GAIN * self.reading(theta)).abs() > 1)  # so that NaN counts

    # -- what files and cards say -------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments beside the body and the probe, ready for JSON."""
        return super().settings() | {"tape": {"kind": self.kind, "repeats": self.repeats}}

    @classmethod
    def rebuilt(cls, trunk: nn.Module, probe: Probe, settings: dict[str, Any], **options: Any) -> Self:
        """The quine of a file; see :meth:`neuralquine.Quine.rebuilt`."""
        if not isinstance(trunk, Taped):
            raise QuineFileError("it has a tape, and its trunk has none")
        if not isinstance(probe, tuple) or len(probe) != 1:
            raise QuineFileError(f"it holds {len(probe)} probes, a task quine has one")
        scales, repeats = (settings["means"], settings["gains"]), settings["tape"]["repeats"]
        size, seed, dtype = settings["code_size"], settings["seed"], options["dtype"]
        return cls(trunk, probe[0], size, seed, repeats=repeats, dtype=dtype, scales=scales, copy=False)

    def question(self) -> tuple[str, str]:
        """What is asked and what answers; see :meth:`neuralquine.Quine.question`."""
        count = self.parameter_count
        return (
            "the network with its fixed probe",
            f"the {self.what_it_is()[0][1]} that its features read from its tape; expanded, they are compared with its "
            f"{count:,} weights",
        )

    def what_it_is(self) -> list[tuple[str, str]]:
        """Rows of the model card that only this kind has."""
        return [("tape", f"{self.code_size} signs"), _margin_row(self.margin)]

    def what_is_printed(self) -> list[str]:
        """The paragraph of the model card that says what is printed, and from what."""
        size = sum(t.numel() for t in self.inputs) if isinstance(self.inputs, tuple) else 0
        return [
            "What is printed: every trainable weight, the tape included, from the code that the network reads from its tape",
            "with its own features. Stored outside the weights:",
            "",
            f"- the probe, {size} random signs, which seed {self.seed} gives again;",
            f"- the seed of the fixed expansion, {self.seed}, and one mean and one gain for each of {len(self.means)} tensors;",
            "- buffers and settings of the body, counted above.",
            "",
            "Its self-sensitivity is 0 because small changes of the weights change no printed bit; the response is to large ones.",
        ]

    # -- the task -----------------------------------------------------------------------------------------------

    def answer(self, *args: Any, **kwargs: Any) -> Any:
        """The network's outputs for an input of its user."""
        return self.outputs(*args, **kwargs)

    def outputs(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """The network's outputs for a batch: inputs ``(n, ...)`` to outputs ``(n, k)``.

        Args:
            x: the batch.
            code: ``(d,)``; the network answers with the weights printed from it instead of the stored ones. The
                outputs are differentiable in it; with ``straight_through(latent)`` this is the map to train.
        """
        named = self.named_weights()[: len(self.printer.body_sizes)]
        if code is None:
            self._watched.look(self)
            weights: Sequence[Tensor] = [p for _, p in named]
        else:
            pieces = self.printer.body(code).split(self.printer.body_sizes)
            weights = [piece.view(p.shape) for piece, (_, p) in zip(pieces, named, strict=True)]
        read = {name: self.printer.saturate(i, weights[i]) for i, (name, _) in enumerate(named)}
        body = self._in_the_body(read)
        with self.turn, differentiable_kernels():
            _, outputs = called_with(self.network.body, body, (x,))
        return outputs

    def parametrize(self, latent: Tensor) -> Tensor:
        """A latent vector ``(d,)`` that is trained, as the code it stands for; differentiable."""
        return straight_through(latent)

    def new_latent(self, generator: torch.Generator) -> Tensor:
        """A latent vector ``(d,)`` to start training from."""
        return 0.3 * torch.randn(self.code_size, generator=generator, dtype=torch.float32).to(
            self.trunk_device, self.dtype
        )

    def bound(self, latents: list[Tensor]) -> None:
        """Clamp latent vectors so that a step can still turn their signs; in place, after each step of an optimizer."""
        with torch.no_grad():
            for latent in latents:
                latent.clamp_(-1.0, 1.0)


def straight_through(latent: Tensor) -> Tensor:
    """The signs of ``latent``, +1 at 0, with the derivative of the identity.

    Source: Bengio, Leonard and Courville (2013), "Estimating or propagating gradients through stochastic neurons".
    """
    signs = torch.where(latent >= 0, 1.0, -1.0).to(latent)
    return signs + (latent - latent.detach())


def _taped(body: nn.Module, probe: Any, rows: int, *, bias: bool) -> Taped:
    """A body with a fresh tape of ``rows`` rows, as wide as the body has features."""
    if not isinstance(body, nn.Module):
        raise TrunkError(f"the body must be an nn.Module, not {type(body).__name__}")
    try:
        with torch.no_grad(), differentiable_kernels():
            features, outputs = body(probe) if isinstance(probe, Tensor) else body(*probe)
        count, width = features.shape
        if len(outputs) != count:
            raise ValueError(f"{count} rows of features and {len(outputs)} of outputs")
    except Exception as error:  # a foreign module may raise anything, or return another shape
        raise TrunkError(
            f"the body must return features (n, f) and outputs (n, k) for the probe: {first_line(error)}"
        ) from error
    with torch.random.fork_rng(devices=[]):
        return Taped(body, width, rows, bias=bias)


def _scales(taped: Taped) -> tuple[list[float], list[float]]:
    """Means and gains of the body's own weights; the tape's gain gives a row's dot product the size of a feature."""
    means, gains = initial_scales(list(taped.body.parameters()), USES)
    tape = list(taped.tape.parameters())
    return means + [0.0] * len(tape), gains + [2.0 ** round(-math.log2(taped.tape.in_features) / 2)] * len(tape)


def _margin_row(margin: float) -> tuple[str, str]:
    return "smallest vote margin (above 1, every sign is read exactly)", f"{margin:.3g}"
