"""The quine: a trunk that holds the weights, a fixed probe as its input, and a printer from its code to all weights.

``theta`` in R^P are the weights of the trunk, ``z`` the fixed probe. The network answers with

    F(theta) = E(c),    c = Q(N(R trunk(z; theta)))

where ``R`` picks ``d`` numbers out of the trunk's output, ``N`` is parameter-free instance normalization, ``Q``
rounds to a grid, moved by a phase or not, or does nothing, and ``E(c) = mean + gain * (A c)`` is a fixed linear expansion. A quine is a fixed
point ``F(theta) = theta``. As ``E`` has rank ``d``, every fixed point is ``theta = E(c)`` with ``c`` a fixed point of
the reduced map ``g(c) = Q(N(R trunk(z; E(c))))`` on R^d, and the other way round; the non-zero eigenvalues agree.
Solvers and derivatives leave ``Q`` out.

An *anchored* quine has a skip path from the probe, ``c = Q(N(a + beta N(R trunk(z; theta))))`` with ``a`` a fixed function
of the probe. For small ``beta`` the map contracts, so that plain regeneration finds its one quine; the smaller ``beta``,
the less what is printed depends on the weights. A *free* quine has no skip path.

Above ``LARGE`` weights the expansion has Hadamard structure and the network is printed in place: evaluating
``g(c)`` writes ``E(c)`` into the trunk's own weights, chunk by chunk, and no second copy of them is made.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import BadOption, TrunkError
from .coding import coding_of
from .html import as_html
from .networks.running import Inputs, Probe, Select
from .networks.wider import wider_type
from .numbers import real, whole
from .options import check_grid, check_options
from .printers import printer_named
from .printers.scales import initial_scales, uniform_scales
from .self_printer import SelfPrinter
from .tables.phases import grid_name
from .trunk import LARGE, Trunk, modular

KINDS: dict[str, type[Quine]] = {}
"""Every kind of quine by the name that files know it by; a class with a ``kind`` of its own enters itself."""


class Quine(SelfPrinter):
    """A network that is asked to print its own weights; solved or not.

    The quine works on a copy of the trunk.

    Args:
        trunk: any ``nn.Module`` with parameters. It is put in evaluation mode.
        probe: the fixed input: a tensor, a tuple of positional inputs, or a mapping of keyword inputs.
        code_size: d, how many numbers the weights are expanded from.
        seed: key of the fixed projection (Philox).
        dtype: type in which the network computes and stores. By default float64, because a quine is judged at
            round-off; a trunk that cannot run in float64, or has more than 100,000 weights, keeps its own type.
        code_bits: k, round the code to multiples of ``2^-k`` before it is expanded. Then ``F`` is piecewise constant
            and ``F(theta) = theta`` can hold to the last bit. None for no rounding.
        code_phase: moves that grid by offsets drawn from the seed and this number; 0 leaves it at zero.
        activation_bits: k, round what linear layers and normalizations give to multiples of ``2^-k``, in a trunk without
            recurrent layers: then proofs that every machine prints the same bits do not grow weaker with depth.
        trunk_dtype: ``torch.float64`` runs the trunk, and computes the code before its rounding, in float64 while the weights are
            stored and printed in ``dtype``: then the round-off of a large network is small enough to be bounded.
        normalize: put instance normalization before the expansion. Without it the zero quine attracts.
        eps: added to the variance in that normalization.
        alpha: print every weight with mean 0 and gain ``alpha / code_size``, as the blog post does. By default
            each tensor has the mean and scale of its values in ``trunk``, rounded to short binary numbers.
        scales: the means and gains themselves, one of each for every tensor, in ``named_parameters()`` order.
        select: which part of the trunk's output is read: an index, a key, an attribute or a callable. By default
            the first floating-point tensor of more than one number.
        skip: beta, anchors the quine; from 0, where it prints a constant, to about 1. None for a free quine.
        expansion: "gaussian" (dense, as the blog post's) or "hadamard" (structured, in place). By default dense up to
            100,000 weights.
        print_frozen: print parameters with ``requires_grad=False`` too. By default they stay as they are and count
            among the numbers outside.
        copy: work on a copy of the module. With False the quine takes the module itself, which saves memory.
        prints: "itself": the module's output is its weights, and nothing is read of it or expanded. "code": a code is read
            of the output. By default "itself" where the output has exactly as many numbers as there are weights, in one
            tensor or in tensors shaped like the parameters, and "code" otherwise. A module that prints itself takes no
            option of a code.

    Raises:
        TrunkError: the trunk has no weights, fails on the probe, gives no finite numbers or others when asked twice, or
            prints its weights in a way that can be read in two ways.
        BadOption: a module that prints itself is given an option of a code.
        TooLarge: the dense projection would take more than 2 GiB.

    Example:
        >>> import torch, neuralquine as nq
        >>> trunk = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 16))
        >>> quine = nq.Quine(trunk, torch.randn(1, 4), code_size=16, seed=0)
        >>> quine.theta.shape == quine.printed().shape == (352,)
        True
    """

    kind: ClassVar[str] = "coded"  # its name in files

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            KINDS[cls.kind] = cls

    def __init__(
        self,
        trunk: nn.Module,
        probe: Probe,
        code_size: int = 20,
        seed: int = 0,
        *,
        dtype: torch.dtype | None = None,
        code_bits: int | None = None,
        code_phase: int = 0,
        activation_bits: int | None = None,
        trunk_dtype: torch.dtype | str | None = None,
        normalize: bool = True,
        eps: float = 1e-5,
        alpha: float | None = None,
        scales: tuple[Sequence[float], Sequence[float]] | None = None,
        select: Select = None,
        skip: float | None = None,
        expansion: str | None = None,
        print_frozen: bool = True,
        copy: bool = True,
        prints: str | None = None,
    ) -> None:
        module = modular(trunk)
        code_size, seed, eps = whole("code_size", code_size), whole("seed", seed), real("eps", eps)
        grids = {"code_bits": code_bits, "activation_bits": activation_bits}
        code_bits, activation_bits = (None if v is None else whole(n, v) for n, v in grids.items())
        alpha, skip = (None if v is None else real(n, v) for n, v in (("alpha", alpha), ("skip", skip)))
        check_options(code_size, seed, bool(normalize), eps, alpha, skip, expansion)
        check_grid(code_bits, code_phase, activation_bits)

        def held_in(kind: torch.dtype | None) -> Trunk:
            shared: dict[str, Any] = {"select": select, "print_frozen": print_frozen, "copy": copy}
            shared |= {"activation_bits": activation_bits, "trunk_dtype": wider_type(trunk_dtype)}
            return Trunk(module, probe, dtype=kind, **shared)

        held = held_in(dtype)
        if _prints_itself(held, prints):
            options = {"code_size": code_size, "code_bits": code_bits, "normalize": bool(normalize), "alpha": alpha}
            options |= {"skip": skip, "expansion": expansion, "code_phase": code_phase, "eps": eps, "scales": scales}
            _refuse_given(options | {"activation_bits": activation_bits, "trunk_dtype": trunk_dtype}, sum(held.sizes))
            self._become_itself(held, seed, held_in if dtype is None else None)
            return
        count = sum(held.sizes)
        scales = scales or (None if alpha is None else uniform_scales(held.weights, alpha, code_size))
        means, gains = checked_scales(held, scales or initial_scales(held.weights, code_size))
        make = printer_named(expansion or ("hadamard" if count > LARGE else "gaussian"))
        printer = make(held.sizes, means, gains, code_size=code_size, seed=seed, dtype=held.dtype, device=held.device)
        coding = coding_of(held, code_size, seed, normalize=bool(normalize), eps=eps, skip=skip)
        super().__init__(held, printer, coding, means, gains, seed=seed, code_bits=code_bits, code_phase=code_phase)

    def _become_itself(self, held: Trunk, seed: int, again: Any) -> None:
        """Go on as the kind that takes a module at its word: a constructor cannot know it before the module has run."""
        kind: Any = KINDS.get("itself")
        if kind is None or type(self) is not Quine:
            raise TrunkError(
                'this module prints its own weights: make nq.Quine of it, or ask for a code with prints="code"'
            )
        self.__class__ = kind
        kind._begin(self, held, seed, None, again)

    def code(self, theta: Tensor | None = None) -> Tensor:
        """The code, rounded to its grid in the type in which the trunk runs, where that is wider than its own."""
        if self.trunk_dtype is None:
            return super().code(theta)
        return self.quantize(self._coding(self.features(theta))).to(self.code_dtype)

    # -- what files and cards say -------------------------------------------------------------------------------

    def question(self) -> tuple[str, str]:
        """What ``verify`` asks, and what answers, in words that follow "asked: " and "answers: "."""
        read, width, count = f"the {self.code_size:,} numbers of its output", self._trunk.width, self.parameter_count
        if width != self.code_size:
            read = f"{self.code_size:,} numbers, projected from its {width:,}"
        normal = ", normalized" if self.normalize else ""
        return (
            "the module with the stored probe",
            f"{read}{normal}; expanded ({self.expansion}), they are compared with its {count:,} weights",
        )

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments beside the trunk and the probe, ready for JSON."""
        return {
            "code_size": self.code_size,
            "code_bits": self.code_bits,
            **({"code_phase": self.code_phase} if self.code_phase else {}),
            **({} if self.activation_bits is None else {"activation_bits": self.activation_bits}),
            **({} if self.trunk_dtype is None else {"trunk_dtype": str(self.trunk_dtype).removeprefix("torch.")}),
            "seed": self.seed,
            "normalize": self.normalize,
            "eps": self.eps,
            "skip": self.skip,
            "expansion": self.expansion,
            "means": self.means,
            "gains": self.gains,
        }

    @classmethod
    def rebuilt(cls, trunk: nn.Module, probe: Probe, settings: dict[str, Any], **options: Any) -> Quine:
        """The quine of a file.

        Args:
            trunk: holds the stored weights; it is taken, not copied.
            probe: the stored inputs, as :meth:`stored_inputs` gave them.
            settings: the dictionary that :meth:`settings` gave, untrusted.
            options: ``dtype``, ``select`` and ``print_frozen``.

        Raises:
            NeuralQuineError: the settings do not fit each other.
        """
        names = ("code_size", "code_bits", "seed", "normalize", "eps", "skip", "expansion")
        given = {name: settings[name] for name in names}
        given["code_phase"] = settings.get("code_phase", 0)  # the first folders have none
        given |= {name: settings.get(name) for name in ("activation_bits", "trunk_dtype")}  # nor these
        scales = settings["means"], settings["gains"]
        return cls(trunk, probe, scales=scales, copy=False, prints="code", **given, **options)

    def stored_inputs(self) -> Inputs:
        """The tensors of the probe that a file must keep: none where a seed makes them again."""
        return self.inputs

    def what_it_is(self) -> list[tuple[str, str]]:
        """Rows of the model card that only this kind has: labels and values."""
        rows = [("code size d", f"{self.code_size}"), ("code grid", grid_name(self.code_bits, self.code_phase))]
        if self.activation_bits is not None:
            rows.append(("activations", f"multiples of 2^-{self.activation_bits}"))
        return rows if self.trunk_dtype is None else [*rows, ("trunk runs in", "float64")]

    def what_is_printed(self) -> list[str]:
        """The paragraph of the model card that says what is printed, and from what; Markdown lines."""
        return [
            "What is printed: every weight of the trunk, from the code the trunk computes on its fixed probe, through a",
            f"fixed expansion regenerated from seed {self.seed}.",
            "A self-sensitivity near 0 would mean a printed constant.",
        ]

    def _repr_html_(self) -> str:
        """What a notebook shows: stored | printed | difference of the first tensors."""
        return as_html(self)

    # -- Hugging Face conventions -------------------------------------------------------------------------------

    def save_pretrained(self, save_directory: str | PathLike[str]) -> None:
        """:func:`neuralquine.save`, under the name that Hugging Face libraries expect."""
        _keeping().save(self, Path(save_directory))

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
        return _keeping().load_pretrained(path, trunk=trunk, revision=revision, token=token)

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
        return _keeping().push(self, repo_id, private=private, token=token, message=commit_message)


KINDS[Quine.kind] = Quine


def _keeping() -> Any:
    """The module that writes folders, above this one: the Hub's conventions want methods of the model's class."""
    return importlib.import_module("neuralquine.keeping.store")


def _prints_itself(held: Trunk, prints: str | None) -> bool:
    """Whether a trunk is taken at its word, or a code is read of its output.

    Raises:
        TrunkError: it cannot be, or nobody said how an output is read that can be in two ways.
        BadOption: there is no such choice.
    """
    if prints not in (None, "itself", "code"):
        raise BadOption(f'prints must be "itself" or "code", not {prints!r}')
    if prints is not None:
        return prints == "itself"
    doubt = held.doubt
    if held.layout is not None and not held.layout.certain:
        doubt = f"the trunk's outputs have as many numbers as it has weights, {sum(held.sizes):,}, in other shapes"
    if doubt is not None:
        raise TrunkError(
            f'{doubt}: say which are meant with select= (such as select=0) or prints="itself", '
            'or ask for a code that is read of them with prints="code"'
        )
    return held.layout is not None


_USUAL = {"code_size": 20, "normalize": True, "code_phase": 0, "eps": 1e-5}  # what nobody has to give


def _refuse_given(options: dict[str, Any], count: int) -> None:
    """Refuse options of a code for a module that prints itself."""
    option = next((name for name, value in options.items() if value is not None and value != _USUAL.get(name)), None)
    if option is not None:
        raise BadOption(
            f"this module prints its {count:,} weights itself, and {option}= is for a code that is read of its output: "
            f'leave it out, or say prints="code"'
        )


def checked_scales(trunk: Trunk, scales: tuple[Sequence[float], Sequence[float]]) -> tuple[list[float], list[float]]:
    """Means and gains as lists, one of each for every tensor.

    Raises:
        TrunkError: there are more or fewer.
        BadOption: one is not finite.
    """
    means, gains = ([real("a scale", v) for v in part] for part in scales)
    odd = next((v for v in [*means, *gains] if not math.isfinite(v)), None)
    if odd is not None:
        raise BadOption(f"scales must be finite, not {odd}")
    if not len(means) == len(gains) == len(trunk.sizes):
        raise TrunkError(f"scales must hold one mean and one gain for each of the {len(trunk.sizes)} tensors")
    return means, gains
