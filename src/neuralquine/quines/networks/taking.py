"""Taking a module that the user wrote: a faithful copy of it, in another type, and what shows that it is none."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import TrunkError, first_line

_COMPLEX = {torch.float64: torch.complex128}  # the complex type that goes with a real one, where it is not complex64
_STEP = 1e-8  # relative change of the weights: float64 answers along a line, where float32 answers in steps of 6e-8
_ROUGH = (
    1e-9  # relative distance from that line: float64's round-off is a millionth of it, and float32's 60 times as much
)
_ROUND_OFFS = 16.0  # of a weight, as many as the sums of a deep network gather
_STEPS_GROW = 6.0  # between the 3 of steps and the 10 of a kink
_EXTRA = "_extra_state"  # torch's name for it in a state_dict
_SAME = 1e-2  # relative, between answers in two types: round-off is far below it, and what is cast away far above


def is_plain(module: nn.Module) -> bool:
    """Whether a module is made of torch's and this package's classes alone, without hooks or methods of its own."""
    return all(
        type(part).__module__.startswith(("torch.nn.", "neuralquine."))
        and not (part._forward_hooks or part._forward_pre_hooks or part._backward_hooks or part._backward_pre_hooks)
        and "forward" not in vars(part)
        and not hasattr(part, "parametrizations")
        for part in module.modules()
    )


def copied(module: nn.Module) -> nn.Module:
    """A copy that shares nothing with the module.

    Raises:
        TrunkError: it cannot be copied, or a function of it would go on to use the original.
    """
    # What pruning and torch's older weight_norm compute before every run is kept as an attribute, with its graph.
    computed = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    try:
        made = deepcopy(module, dict(computed))
    except Exception as error:  # a foreign module may raise anything
        raise TrunkError(f"the trunk cannot be copied: {first_line(error)}; pass copy=False") from error
    if not is_plain(module):
        own = {id(part) for part in module.modules()} | {id(t) for t in [*module.parameters(), *module.buffers()]}
        if any(id(held) in own for part in made.modules() for held in _held_by_functions(part)):
            raise TrunkError("a function of the trunk goes on to use the original, not its copy: pass copy=False")
    return made


def _held_by_functions(part: nn.Module) -> Iterator[Any]:
    """What the hooks and the other functions that a module keeps hold on to: closures, defaults, bound objects."""
    values = list(vars(part).values())
    waiting = [f for v in values for f in (v.values() if isinstance(v, Mapping) else [v]) if callable(f)]
    while waiting:
        function = waiting.pop()
        if isinstance(function, functools.partial):
            waiting.append(function.func)
            held = [*function.args, *function.keywords.values()]
        else:
            held = [getattr(function, "__self__", None), *(getattr(function, "__defaults__", None) or ())]
            held += [_content(cell) for cell in getattr(function, "__closure__", None) or ()]
        for value in held:
            yield value
            yield from value if isinstance(value, list | tuple) else ()
            if callable(value) and not isinstance(value, nn.Module) and hasattr(value, "__closure__"):
                waiting.append(value)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # an empty one
        return None


def in_type(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The module itself, in a type; complex buffers stay complex, which ``module.to`` takes the real part of."""
    if not any(t.is_complex() for t in [*module.parameters(), *module.buffers()]):
        return module.to(dtype=dtype)

    def cast(t: Tensor) -> Tensor:
        if t.is_complex():
            return t.to(_COMPLEX.get(dtype, torch.complex64))
        return t.to(dtype) if t.is_floating_point() else t

    return module._apply(cast)


@torch.no_grad()
def is_rough(answer: Callable[[], Tensor], weights: list[nn.Parameter]) -> bool:
    """Whether a module of float64 weights computes in a narrower type inside: its answers stand on steps, not on a line.

    Args:
        answer: runs the module, which holds the weights. They are put back afterwards.
        weights: float64.
    """
    kept = [w.clone() for w in weights]
    generator = torch.Generator().manual_seed(0)
    try:
        return all(_off_a_line(answer, weights, kept, generator) for _ in range(2))
    finally:
        for weight, before in zip(weights, kept, strict=True):
            weight.copy_(before)


def _off_a_line(
    answer: Callable[[], Tensor], weights: list[nn.Parameter], kept: list[Tensor], generator: torch.Generator
) -> bool:
    """Whether the answers at three points of a line are off it, and ten times as far along hardly more.

    What bends is off by a hundred times as much there, and what has a kink by ten times; what is rounded to steps, by three.
    """
    draws = [torch.randn(w.shape, generator=generator, dtype=torch.float64).to(w) for w in kept]
    gaps = []
    for step in (_STEP, 10 * _STEP):
        answers = []
        for place in (0.0, step, 2 * step):
            for weight, before, draw in zip(weights, kept, draws, strict=True):
                weight.copy_(before * (1 + place * draw))
            answers.append(answer())
        here, near, far = answers
        gaps.append(float(torch.linalg.vector_norm(here - 2 * near + far) / torch.linalg.vector_norm(here)))
    return gaps[0] > _ROUGH and gaps[1] < _STEPS_GROW * gaps[0]


@torch.no_grad()
def is_steep(answer: Callable[[], Tensor], weights: list[nn.Parameter]) -> bool:
    """Whether round-off of the weights alone changes what a module answers: then another type shows nothing else.

    Args:
        answer: runs the module, which holds the weights. They are put back afterwards.
        weights: of any type.
    """
    kept, generator = [w.clone() for w in weights], torch.Generator().manual_seed(0)
    try:
        before = answer()
        for weight in weights:
            draw = torch.rand(weight.shape, generator=generator).to(weight) - 0.5
            weight.mul_(1 + _ROUND_OFFS * torch.finfo(weight.dtype).eps * draw)
        return not are_same(before, answer())
    finally:
        for weight, was in zip(weights, kept, strict=True):
            weight.copy_(was)


def are_same(a: Tensor, b: Tensor) -> bool:
    """Whether the answers of a module in two types are the same up to round-off; NaN is equal to NaN."""
    a, b = a.double(), b.double()
    if a.shape != b.shape:
        return False
    finite = torch.isfinite(a) & torch.isfinite(b)
    gap = torch.linalg.vector_norm((a - b)[finite])
    return bool((finite | ~(torch.isfinite(a) | torch.isfinite(b))).all()) and bool(
        gap <= _SAME * torch.linalg.vector_norm(b[finite])
    )


def stored_tensors(module: nn.Module) -> dict[str, Tensor]:
    """What a file keeps of a module, by name: parameters once, persistent buffers, and extra states that are tensors.

    For torch's own modules this is their ``state_dict()`` without the second names of shared parameters; modules may call
    theirs by other names. Complex numbers are shown as pairs of real ones.

    Raises:
        TrunkError: a module's extra state is neither a tensor nor None; without pickle no file can keep it.
    """
    found = {name: p.detach() for name, p in module.named_parameters()}
    for prefix, part in module.named_modules(remove_duplicate=False):
        start = prefix + "." if prefix else ""
        buffers = {k: b for k, b in part._buffers.items() if k not in part._non_persistent_buffers_set}
        if type(part).get_extra_state is not nn.Module.get_extra_state:
            extra: Any = part.get_extra_state()
            if extra is not None and not isinstance(extra, Tensor):
                raise TrunkError(
                    f"the extra state of {prefix or 'the trunk'} is a {type(extra).__name__}, and a file keeps only tensors: "
                    "make it one tensor, or register its tensors as buffers"
                )
            buffers[_EXTRA] = extra
        found |= {start + k: b.detach() for k, b in buffers.items() if isinstance(b, Tensor)}
    return {name: torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for name, t in found.items()}


def restore_extra_states(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give every part of a module the tensor that :func:`stored_tensors` took of it as its extra state."""
    for prefix, part in module.named_modules():
        name = f"{prefix}.{_EXTRA}" if prefix else _EXTRA
        if name in state and type(part).set_extra_state is not nn.Module.set_extra_state:
            before = part.get_extra_state()
            complexed = isinstance(before, Tensor) and before.is_complex()
            part.set_extra_state(torch.view_as_complex(state[name]) if complexed else state[name])
