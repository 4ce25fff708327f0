"""The quine: a trunk that holds the weights, a probe that asks, a printer that answers.

``theta`` in R^P are the weights of the trunk, ``z`` the fixed probe. The network answers with

    F(theta) = E(c),    c = Q(N(R trunk(z; theta)))

where ``R`` picks ``d`` numbers out of the trunk's output, ``N`` is parameter-free instance normalization, ``Q``
rounds to a grid or does nothing, and ``E(c) = mean + gain * (A c)`` is a fixed linear expansion. A quine is a fixed
point ``F(theta) = theta``. As ``E`` has rank ``d``, every fixed point is ``theta = E(c)`` with ``c`` a fixed point of
the reduced map ``g(c) = Q(N(R trunk(z; E(c))))`` on R^d, and the other way round; the non-zero eigenvalues agree.
Solvers and derivatives leave ``Q`` out.

An *anchored* quine has a skip path from the probe, ``c = Q(N(a + beta N(R trunk(z; theta))))`` with ``a`` a fixed function
of the probe. For small ``beta`` the map contracts, so that plain regeneration finds its one quine; the smaller ``beta``,
the less what is printed depends on the weights. A *free* quine has none.

Above ``LARGE`` weights the expansion has Hadamard structure and the network is printed in place: evaluating
``g(c)`` writes ``E(c)`` into the trunk's own weights, chunk by chunk, and no second copy of them is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ..errors import TrunkError, check_bytes, first_line
from .networks.normalize import instance_norm
from .networks.running import (
    Inputs,
    Probe,
    Select,
    as_numpy,
    cast,
    differentiable_kernels,
    moved_to,
    pick,
    places_of,
    probe_inputs,
    unwrapped,
)
from .printers.anchor import anchor
from .printers.direct import DirectExpansion
from .printers.gaussian import GaussianExpansion
from .printers.hadamard import HadamardExpansion, Slot
from .printers.philox import dyadic_gaussian
from .printers.scales import initial_scales, uniform_scales

if TYPE_CHECKING:
    from ..solving.solution import Solution

_READOUT_STREAM = 2
_IN_PLACE = 1 << 28  # bytes of the code's derivative (d, P), above which a network has no room for it
_EXPANSIONS = {"gaussian": GaussianExpansion, "hadamard": HadamardExpansion, "direct": DirectExpansion}
LARGE = 100_000  # weights above which the expansion is structured and the trunk keeps its own type


class Quine(nn.Module):
    """A network that is asked to print its own weights; solved or not.

    The trunk is copied: the module handed in is left as it was.

    Args:
        trunk: any ``nn.Module`` with parameters. It is put in evaluation mode.
        probe: the fixed input: a tensor, a tuple of positional inputs, or a mapping of keyword inputs.
        code_size: d, the numbers that the weights are expanded from.
        seed: key of the fixed projection (Philox).
        dtype: type in which the network computes and stores. By default float64, because a quine is judged at
            round-off; a trunk that cannot run in float64, or has more than 100,000 weights, keeps its own type.
        code_bits: k, round the code to multiples of ``2^-k`` before it is expanded. Then ``F`` is piecewise constant
            and ``F(theta) = theta`` can hold to the last bit. None: no rounding.
        normalize: put instance normalization before the expansion. Without it the zero quine attracts.
        eps: added to the variance in that normalization.
        alpha: print every weight with mean 0 and gain ``alpha / code_size``, as the blog post does. By default
            each tensor has the mean and scale of its values in ``trunk``, rounded to short binary numbers.
        scales: the means and gains themselves, one of each for every tensor, in ``named_parameters()`` order.
        select: which part of the trunk's output is read: an index, a key, an attribute or a callable. By default
            the first tensor.
        skip: beta, anchor the quine; from 0, where it prints a constant, to about 1. None: a free quine.
        expansion: "gaussian" (dense, as the blog post's) or "hadamard" (structured, in place). By default dense up to
            100,000 weights.
        print_frozen: print parameters with ``requires_grad=False`` too. If not, they stay as they are, and count among
            the numbers outside.
        copy: leave the module handed in as it was. Without, it becomes the quine's own: large ones need no room for two.

    Raises:
        TrunkError: the trunk has no weights, fails on the probe, or gives no finite numbers.
        TooLarge: the dense projection would take more than 2 GiB.

    Example:
        >>> import torch, neuralquine as nq
        >>> trunk = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 16))
        >>> quine = nq.Quine(trunk, torch.randn(1, 4), code_size=16, seed=0)
        >>> quine.theta.shape == quine.printed().shape == (352,)
        True
    """

    _expansions: tuple[str, ...] = ("gaussian", "hadamard")
    constructed = False  # whether it prints itself with any code, so that there is nothing to solve

    def __init__(
        self,
        trunk: nn.Module,
        probe: Probe,
        code_size: int = 20,
        seed: int = 0,
        *,
        dtype: torch.dtype | None = None,
        code_bits: int | None = None,
        normalize: bool = True,
        eps: float = 1e-5,
        alpha: float | None = None,
        scales: tuple[Sequence[float], Sequence[float]] | None = None,
        select: Select = None,
        skip: float | None = None,
        expansion: str | None = None,
        print_frozen: bool = True,
        copy: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(trunk, nn.Module):
            raise TrunkError(f"the trunk must be an nn.Module, not {type(trunk).__name__}")
        trunk = unwrapped(trunk)
        if code_size < 1:
            raise TrunkError(f"code_size must be at least 1, not {code_size}")
        if not 0 <= seed < 2**64:
            raise TrunkError(f"seed must be from 0 to 2**64 - 1, not {seed}")
        if not (eps >= 0 and math.isfinite(eps)):
            raise TrunkError(f"eps must be a finite number of at least 0, not {eps}")
        if alpha is not None and not math.isfinite(alpha):
            raise TrunkError(f"alpha must be finite, not {alpha}")
        if skip is not None and not (0 <= skip <= 1e6 and normalize):
            raise TrunkError("skip must be a number of at least 0, and needs normalize=True")
        if expansion not in (None, *self._expansions):
            raise TrunkError(f"expansion must be one of {', '.join(self._expansions)}, not {expansion!r}")
        self.code_size, self.seed, self.normalize, self.eps = code_size, seed, normalize, eps
        self.skip, self.print_frozen = None if skip is None else float(skip), print_frozen
        if code_bits is not None and not 0 <= code_bits <= 60:
            raise TrunkError(f"code_bits must be from 0 to 60, not {code_bits}")
        self.code_bits = code_bits
        self.select = select
        self.recipe: dict[str, Any] | None = None  # name and options, set by the recipe that made it
        self.solution: Solution | None = None  # of the last solve, kept for the model card
        self._vectorized: bool | None = None
        features = self._adopt(trunk, probe_inputs(probe), dtype, copy=copy)
        weights = self.weights
        if scales is None:
            scales = initial_scales(weights, code_size) if alpha is None else uniform_scales(weights, alpha, code_size)
        self.means, self.gains = [float(m) for m in scales[0]], [float(g) for g in scales[1]]
        if not len(self.means) == len(self.gains) == len(weights):
            raise TrunkError(f"scales must hold one mean and one gain for each of the {len(weights)} tensors")
        self.expansion = expansion or ("hadamard" if self.parameter_count > LARGE else "gaussian")
        self.expand = self._make_expansion([p.numel() for p in weights])
        self._readout = self._make_readout(features.numel())
        self._anchor: Tensor | None = None
        if skip is not None:
            fixed = torch.from_numpy(anchor(as_numpy(self.inputs), code_size, seed))
            self._anchor = fixed.to(self.trunk_device, self.code_dtype)

    def _adopt(self, trunk: nn.Module, inputs: Inputs, dtype: torch.dtype | None, *, copy: bool) -> Tensor:
        """Take the trunk in the first type it runs in; return its features at its present weights."""
        parameters = [p for p in trunk.parameters() if self.print_frozen or p.requires_grad]
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in parameters):
            raise TrunkError("the trunk has lazy parameters: run it once on the probe before making a quine of it")
        count = sum(p.numel() for p in parameters)
        if count == 0:
            frozen = "" if self.print_frozen else " that are not frozen"
            raise TrunkError(f"the trunk has no weights{frozen}: there is nothing to print")
        own = parameters[0].dtype
        if not all(p.is_floating_point() for p in parameters):
            raise TrunkError("the trunk has weights that are not real floating-point numbers")
        usual = [torch.float64, own] if count <= LARGE else [own, torch.float64]
        candidates = [dtype] if dtype is not None else list(dict.fromkeys(usual))
        failure: Exception | None = None
        for candidate in candidates:
            try:
                self.trunk = (deepcopy(trunk) if copy else trunk).to(dtype=candidate).eval()
                for parameter in self.trunk.parameters():
                    parameter.data = parameter.data.contiguous()
                self._recurrent = [m for m in self.trunk.modules() if isinstance(m, nn.RNNBase)]
                self._places = places_of(self.trunk)
                self.dtype = candidate
                self.inputs = cast(inputs, candidate)
                with torch.no_grad():
                    features = self.features()
                break
            except TrunkError:
                raise
            except Exception as error:  # whatever a foreign module raises
                failure = error
        else:
            assert failure is not None
            raise TrunkError(f"the trunk fails on the probe: {first_line(failure)}") from failure
        if not bool(torch.isfinite(features).all()):
            raise TrunkError("the trunk gives NaN or infinity on the probe")
        return features

    def _make_expansion(self, sizes: list[int]) -> Any:
        """The fixed map from codes to weights: ``sizes`` numbers in each tensor."""
        return _EXPANSIONS[self.expansion](
            sizes,
            self.means,
            self.gains,
            code_size=self.code_size,
            seed=self.seed,
            dtype=self.dtype,
            device=self.trunk_device,
        )

    def _make_readout(self, features: int) -> Tensor | None:
        """A fixed ``(d, n)`` projection of the features, or None where they already are the code's size."""
        if features == self.code_size:
            return None
        check_bytes(
            f"the {self.code_size} x {features} readout",
            self.code_size * features * 8,
            "use select= to read fewer of the trunk's outputs",
        )
        entries = dyadic_gaussian(self.seed, _READOUT_STREAM, 0, self.code_size * features)
        readout = torch.from_numpy(entries).reshape(self.code_size, features) / math.sqrt(features)
        return readout.to(self.trunk_device, self.code_dtype)

    # -- weights ------------------------------------------------------------------------------------------------

    @property
    def trunk_device(self) -> torch.device:
        """Where the weights are."""
        return next(self.trunk.parameters()).device

    @property
    def code_dtype(self) -> torch.dtype:
        """Type of the code and of the sums that print, float32 where the weights are narrower."""
        return self.dtype if self.dtype in (torch.float64, torch.float32) else torch.float32

    @property
    def structured(self) -> bool:
        """Whether the weights are printed by the Hadamard expansion."""
        return isinstance(self.expand, HadamardExpansion)

    @property
    def in_place(self) -> bool:
        """Whether codes are evaluated by printing them into the trunk's own weights, as where d copies are too many."""
        width = torch.finfo(self.code_dtype).bits // 8
        return self.structured and self.parameter_count * self.code_size * width > _IN_PLACE

    def named_weights(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters that are printed, in ``named_parameters()`` order; shared ones once."""
        return [(n, p) for n, p in self.trunk.named_parameters() if self.print_frozen or p.requires_grad]

    @property
    def weights(self) -> list[nn.Parameter]:
        """The printed parameters, in the order of theta."""
        return [p for _, p in self.named_weights()]

    @property
    def parameter_count(self) -> int:
        """P, the number of weights that are printed; shared tensors count once."""
        return sum(p.numel() for p in self.weights)

    @property
    def theta(self) -> Tensor:
        """A copy of the stored weights, ``(P,)``, in ``named_parameters()`` order."""
        return torch.cat([p.detach().reshape(-1) for p in self.weights])

    @theta.setter
    def theta(self, value: Tensor) -> None:
        if value.shape != (self.parameter_count,):
            raise ValueError(f"theta must have shape ({self.parameter_count},), not {tuple(value.shape)}")
        with torch.no_grad():
            pieces = value.split([p.numel() for p in self.weights])
            for parameter, piece in zip(self.weights, pieces, strict=True):
                parameter.copy_(piece.view_as(parameter))

    def tensors(self, theta: Tensor) -> dict[str, Tensor]:
        """Cut a weight vector ``(P,)`` into the trunk's named tensors (views)."""
        named = self.named_weights()
        pieces = theta.split([p.numel() for _, p in named])
        return {name: piece.view(p.shape) for (name, p), piece in zip(named, pieces, strict=True)}

    def stored_pieces(self) -> list[tuple[Slot, Tensor]]:
        """The stored weights where they lie, as flat views: one for each tensor, or for this rank's part of it."""
        return [(Slot(i, 0, p.numel()), p.detach().view(-1)) for i, p in enumerate(self.weights)]

    def printed_pieces(self, code: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """``E(code)`` beside what is stored, piece by piece: (view of the stored weights, printed values)."""
        held = self.stored_pieces()
        if isinstance(self.expand, HadamardExpansion):
            pieces = self.expand.pieces(code, [slot for slot, _ in held])
        else:
            pieces = self.expand.pieces(code)
        for number, start, values in pieces:
            yield held[number][1][start : start + len(values)], values

    @torch.no_grad()
    def install(self, code: Tensor) -> None:
        """Write ``E(code)`` into the trunk's own weights, in place."""
        for stored, values in self.printed_pieces(code):
            stored.copy_(values)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Quine:
        """Move everything that belongs to the quine; its type was chosen when it was made."""
        if fn(torch.zeros(0, dtype=self.dtype)).dtype != self.dtype:
            raise TrunkError(f"the type of a quine is fixed: make it anew with dtype= instead of {self.dtype}")
        super()._apply(fn, recurse)
        device = self.trunk_device
        self.inputs = moved_to(self.inputs, device)
        self._readout = self._readout if self._readout is None else self._readout.to(device)
        self._anchor = self._anchor if self._anchor is None else self._anchor.to(device)
        self.expand = self.expand.to(device)
        return self

    # -- the maps -----------------------------------------------------------------------------------------------

    def features(self, theta: Tensor | None = None) -> Tensor:
        """What the trunk computes at weights ``theta`` ``(P,)``, by default the stored ones: a flat vector ``(n,)``."""
        if theta is None:
            return self._run(self.inputs, None)
        # Copies, because kernels add up in another order where a tensor does not start on a cache line, as the
        # stored ones do: the bits would not be those of the network that holds these weights.
        copies = {name: piece.clone() for name, piece in self.tensors(theta).items()}
        return self._run(self.inputs, {place: copy for name, copy in copies.items() for place in self._places[name]})

    def _run(self, inputs: Inputs, tensors: dict[str, Tensor] | None) -> Tensor:
        """What is read of the trunk's output, flat: with its own weights, or with ``tensors`` in their places."""
        args = () if isinstance(inputs, Mapping) else tuple(inputs)
        kwargs = dict(inputs) if isinstance(inputs, Mapping) else {}
        if tensors is None:
            with differentiable_kernels():
                output = self.trunk(*args, **kwargs)
        else:
            try:
                with differentiable_kernels():
                    output = functional_call(self.trunk, tensors, args, kwargs, tie_weights=False)
            finally:
                # functional_call leaves its temporary weights in the recurrent layers' private list.
                for module in self._recurrent:
                    module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
        picked = pick(output, self.select)
        if not picked.is_floating_point():
            raise TrunkError(f"the trunk's output is {picked.dtype}, not floating point: choose another with select=")
        return picked.reshape(-1).to(self.code_dtype)

    def code_derivative(self, theta: Tensor) -> Tensor | None:
        """``d code / d theta`` ``(d, P)`` of a quine that has a way of its own to it."""
        return None

    def real_code(self, theta: Tensor | None = None) -> Tensor:
        """``N(R trunk(z; theta))``, anchored or not: weights ``(P,)`` to code ``(d,)``, before it is rounded to its grid."""
        h = self.features(theta)
        if self._readout is not None:
            h = self._readout @ h
        c = instance_norm(h, self.eps) if self.normalize else h
        return c if self._anchor is None else instance_norm(self._anchor + (self.skip or 0.0) * c, self.eps)

    def random_codes(self, count: int, generator: torch.Generator) -> Tensor:
        """Codes ``(count, d)`` of the size of the trunk's own, drawn in float64 whatever the type."""
        codes = torch.randn(count, self.code_size, generator=generator, dtype=torch.float64)
        codes = instance_norm(codes, 0.0) if self.normalize and self.code_size > 1 else codes
        return codes.to(self.trunk_device, self.code_dtype)

    def quantize(self, c: Tensor) -> Tensor:
        """``round(c 2^k) / 2^k``, ties to even; ``c`` itself where the code has no grid."""
        if self.code_bits is None:
            return c
        scale = 2.0**self.code_bits
        return torch.round(c * scale) / scale

    def code(self, theta: Tensor | None = None) -> Tensor:
        """``c = Q(N(R trunk(z; theta)))`` of some weights, by default the stored ones: weights ``(P,)`` to the code ``(d,)`` that is expanded."""
        return self.quantize(self.real_code(theta))

    def real_codes(self, thetas: Tensor) -> Tensor:
        """:meth:`real_code` of every row ``(B, P)``: ``(B, d)``, vectorized where the trunk's operations allow it."""
        if len(thetas) > 1 and self.vectorized:
            return vmap(self.real_code)(thetas)
        return torch.stack([self.real_code(theta) for theta in thetas])

    @property
    def vectorized(self) -> bool:
        """Whether the trunk can be evaluated at several weight vectors at once (``torch.func.vmap``)."""
        if self.in_place:
            return False  # the weights of several at once are what a large network has no room for
        if self._vectorized is None:
            try:
                with torch.no_grad():
                    vmap(self.real_code)(self.theta.expand(2, -1))
                self._vectorized = True
            except Exception:  # no batching rule, data-dependent control flow, in-place writes, randomness
                self._vectorized = False
        return self._vectorized

    def self_map(self, theta: Tensor) -> Tensor:
        """``F(theta)``: the weights printed by the network that holds ``theta`` ``(P,)``."""
        return self.expand(self.code(theta))

    def real_map(self, theta: Tensor) -> Tensor:
        """``F`` without the rounding of the code: the smooth map that is differentiated and solved."""
        return self.expand(self.real_code(theta))

    @torch.no_grad()
    def printed(self) -> Tensor:
        """``F(theta)`` of the stored weights, ``(P,)``."""
        return torch.cat([values for _, values in self.printed_pieces(self.code())])

    def forward(self) -> Tensor:
        """Print: :meth:`self_map` at the stored weights, differentiable in them."""
        return self.self_map(torch.cat([p.reshape(-1) for p in self.weights]))

    def extra_repr(self) -> str:
        return f"parameters={self.parameter_count}, code_size={self.code_size}, seed={self.seed}, dtype={self.dtype}"

    # -- Hugging Face conventions -------------------------------------------------------------------------------

    def save_pretrained(self, save_directory: str | PathLike[str]) -> None:
        """:func:`neuralquine.save`, under the name that Hugging Face libraries expect."""
        from ..keeping.store import save

        save(self, Path(save_directory))

    @classmethod
    def from_pretrained(
        cls,
        path: str | PathLike[str],
        *,
        trunk: nn.Module | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> Quine:
        """:func:`neuralquine.load` from a folder, or ``owner/name`` from the Hugging Face Hub (extra ``hub``)."""
        from ..keeping.hub import download
        from ..keeping.store import load

        folder = Path(path)
        return load(folder if folder.is_dir() else download(str(path), revision=revision, token=token), trunk=trunk)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "A neural quine",
    ) -> str:
        """Save to a repository of the Hugging Face Hub, with its model card (extra ``hub``); returns the commit's address.

        ``nq.load("hf:owner/name")`` reads it back, bit for bit.
        """
        from ..keeping.store import push

        return push(self, repo_id, private=private, token=token, message=commit_message)
