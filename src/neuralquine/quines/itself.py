"""Modules that print their own weights themselves: their output has exactly P numbers, and is taken at its word.

    F(theta) = module(z; theta)

Nothing is read of the output and nothing is expanded: the module is the self-map. Where its values span an affine subspace
of few dimensions (``subspace.py``), searches and derivatives work in its coordinates; otherwise the quine is P
equations in P unknowns.

Source: the blog post's class, which ends in a fixed matrix of P columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..errors import QuineFileError, TooLarge, TrunkError
from .coding import Coding
from .derivatives import DENSE, Dense, Directional, from_products
from .gradients import derivatives_on, gradient, reverse_jacobian
from .networks.running import Probe, Select
from .printers.direct import Itself
from .quine import Quine, checked_scales
from .self_printer import SelfPrinter
from .subspace import Subspace, spanned
from .trunk import Trunk, modular

_LARGEST = 1 << 20  # weights: a folder's code has as many numbers, and no more
_SIZES = (
    1.0,
    0.7,
    1.4,
)  # of random weights, relative to the initial ones: farther apart, round-off of the largest values counts
_ACROSS = 1e-6  # share of a derivative that may lead out of the subspace: far above round-off
_SAME = 1e-6  # relative distance of a printed weight to a random one that was handed in, if it is handed back
_ALIGNED = 1e-9  # distance of a cosine to 1, if a tensor is printed again up to a factor
_FEW = 8  # weights of a tensor below which a cosine near 1 may be chance


class SelfQuine(Quine):
    """A module that prints all of its own weights, unmodified; solved or not. ``nq.Quine`` makes it of such a module.

    Args:
        trunk: any ``nn.Module`` whose output has exactly as many numbers as it has weights: one tensor, or a list, tuple or
            dictionary of tensors shaped like the parameters, in their order or by their names. It is copied.
        probe: the fixed input.
        seed: of the starts of a search.
        dtype: type in which the module computes and stores; by default float64 where the module runs and prints in it.
        scales: zeros, and the size of each tensor's random weights over ``sqrt(P)``; by default those of ``trunk``.
        select, print_frozen, copy: as for :class:`~neuralquine.Quine`.

    Raises:
        TrunkError: the output has more or fewer numbers.
        TooLarge: there are more than 1,048,576 weights.
    """

    kind, roundable = "itself", False

    def __init__(
        self,
        trunk: nn.Module,
        probe: Probe,
        seed: int = 0,
        *,
        dtype: torch.dtype | None = None,
        scales: tuple[Sequence[float], Sequence[float]] | None = None,
        select: Select = None,
        print_frozen: bool = True,
        copy: bool = True,
    ) -> None:
        def held(kind: torch.dtype | None) -> Trunk:
            return Trunk(modular(trunk), probe, dtype=kind, select=select, print_frozen=print_frozen, copy=copy)

        self._begin(held(dtype), seed, scales, held if dtype is None else None)

    def _begin(
        self,
        held: Trunk,
        seed: int,
        scales: tuple[Sequence[float], Sequence[float]] | None,
        again: Callable[[torch.dtype], Trunk] | None = None,
    ) -> None:
        """Take a trunk at its word.

        Args:
            held: the trunk.
            seed, scales: as the constructor takes them.
            again: holds the module in another type, where it may: one that prints narrower numbers than it holds cannot
                print them to round-off.
        """
        if again is not None and held.answered is not None and held.answered != held.dtype:
            held = again(held.answered)
        layout = held.taken_whole()
        count = sum(held.sizes)
        if count > _LARGEST:
            raise TooLarge(f"{count:,} weights printed by the module itself are more than {_LARGEST:,}: print a code")
        sizes = scales or _initial_sizes(held.weights, count)
        means, gains = checked_scales(held, sizes)
        printer = Itself(held.sizes, gains, code_size=count, dtype=held.dtype, device=held.device)
        coding = Coding(normalize=False, eps=1e-5, skip=None, readout=None, anchor=None)
        SelfPrinter.__init__(self, held, printer, coding, means, gains, seed=seed)
        self._words, self._spanned, self._looked = layout.words, None, False

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._spanned, self._looked = None, False
        return super()._apply(fn, recurse)

    def random_codes(self, count: int, generator: torch.Generator) -> Tensor:
        """Random weights of the size of the initial ones: ``(count, P)``."""
        spread = self.printer.gain * self.code_size**0.5
        return super().random_codes(count, generator) * spread

    @property
    def stack(self) -> None:
        """None: no derivatives are written out by hand."""
        return None

    @property
    def normalized(self) -> None:
        """None: nor as one matrix with batch normalization."""
        return

    # -- the subspace -------------------------------------------------------------------------------------------

    @property
    def subspace(self) -> Subspace | None:
        """The affine subspace of few dimensions that all printed weights lie in; None where there is none."""
        if not self._looked:
            self._spanned, self._looked = spanned(self.real_codes, self._draw, self.parameter_count), True
        return self._spanned

    def _draw(self, count: int, generator: torch.Generator) -> Tensor:
        sizes = torch.tensor(_SIZES).repeat(-(-count // len(_SIZES)))[:count]
        drawn = self.random_codes(count, generator)
        return (drawn * sizes.to(drawn)[:, None]).to(self.dtype)

    def directional(self, theta: Tensor | None = None) -> Directional:
        """The derivative: from the subspace's rows where all printed weights lie in it, dense up to 600 weights, or products."""
        theta = self.theta if theta is None else theta
        space = self.subspace
        if space is not None and self._leads_along(space, theta):
            rows = reverse_jacobian(
                lambda t: self.real_codes(t) @ space.basis.mT, theta[None], space.rank, replicate=self.vectorized
            )
            return Dense(rows[0].to(self.code_dtype), space)
        if self.parameter_count <= DENSE:
            return Dense(self.code_jacobian(theta[None])[0].to(self.code_dtype), self.printer)
        return from_products(self.real_code, theta)

    def _leads_along(self, space: Subspace, theta: Tensor) -> bool:
        """Whether the map and its derivative stay in the subspace at these weights, by one value and one reverse product.

        The subspace was found from other weights; a module may do something else at these alone.
        """
        with derivatives_on():
            leaf = theta.detach().clone().requires_grad_(True)
            value = self.real_code(leaf)
            if not bool(torch.isfinite(value).all()) or not space.holds(value.detach()[None]):
                return False
            drawn = torch.randn(2, len(theta), generator=torch.Generator().manual_seed(9), dtype=torch.float64)
            along = (drawn.to(value) @ space.basis.mT) @ space.basis
            across = drawn.to(value)[0] - along[0]
            out = gradient((value * across).sum(), leaf, retain=True)
            inside = gradient((value * along[1]).sum(), leaf, retain=False)
        size = torch.linalg.vector_norm(inside) / torch.linalg.vector_norm(along[1])
        tolerance = max(_ACROSS, torch.finfo(theta.dtype).eps ** 0.5) if theta.dtype != torch.float64 else _ACROSS
        return bool(torch.linalg.vector_norm(out) / torch.linalg.vector_norm(across) <= tolerance * size)

    # -- what is no printing ------------------------------------------------------------------------------------

    @torch.no_grad()
    def handed_back(self) -> int:
        """The number of weights that the module hands back as they stand, or up to a factor, whatever they are."""
        thetas = self.random_codes(3, torch.Generator().manual_seed(4)).to(self.dtype)
        printed = torch.stack([self.real_code(theta) for theta in thetas]).to(thetas)
        same = ((printed - thetas).abs() <= _SAME * thetas.abs()).all(0)
        for mine, theirs in zip(thetas.split(self._trunk.sizes, 1), printed.split(self._trunk.sizes, 1), strict=True):
            cosines = nn.functional.cosine_similarity(mine.double(), theirs.double(), dim=1)
            if mine.shape[1] >= _FEW and bool(((1 - cosines.abs()) < _ALIGNED).all()):
                return max(int(same.sum()), mine.shape[1])
        return int(same.sum())

    # -- what files and cards say -------------------------------------------------------------------------------

    @classmethod
    def rebuilt(cls, trunk: nn.Module, probe: Probe, settings: dict[str, Any], **options: Any) -> Self:
        """The quine of a file; see :meth:`neuralquine.Quine.rebuilt`."""
        scales = settings["means"], settings["gains"]
        quine = cls(trunk, probe, settings["seed"], scales=scales, copy=False, **options)
        plain = {"code_size": quine.code_size, "code_bits": None, "skip": None, "expansion": Itself.name}
        odd = next((name for name, value in plain.items() if settings[name] != value), None)
        if odd is not None:
            raise QuineFileError(f"it has a malformed {odd!r}")
        return quine

    def question(self) -> tuple[str, str]:
        """What is asked and what answers; see :meth:`neuralquine.Quine.question`."""
        return (
            "the module with the stored probe",
            f"{self._words} compared with its {self.parameter_count:,} weights",
        )

    def what_it_is(self) -> list[tuple[str, str]]:
        """Rows of the model card that only this kind has."""
        space = self.subspace
        rank = "as many as weights" if space is None else f"{space.rank}"
        return [("printed by", "the module itself"), ("dimensions that its outputs span", rank)]

    def what_is_printed(self) -> list[str]:
        """The paragraph of the model card that says what is printed, and from what."""
        return [
            "What is printed: every weight of the module, by its own output on the stored probe; nothing is added to it.",
            "A self-sensitivity near 0 would mean a printed constant.",
        ]


def _initial_sizes(tensors: Sequence[Tensor], count: int) -> tuple[list[float], list[float]]:
    """Means of 0, and for each tensor the root-mean-square initial weight over ``sqrt(P)``; that of all where it is 0."""
    squares = [float(t.detach().double().square().sum()) for t in tensors]
    overall = (sum(squares) / count) ** 0.5 or 1.0
    if not overall < float("inf"):
        raise TrunkError("the trunk holds NaN or infinite weights: initialize it first")
    sizes = [(s / max(t.numel(), 1)) ** 0.5 or overall for s, t in zip(squares, tensors, strict=True)]
    return [0.0] * len(sizes), [size / count**0.5 for size in sizes]
