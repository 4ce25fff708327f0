"""Derivatives by automatic differentiation, in the ways that cost least and that foreign modules allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..errors import NeuralQuineError, NoDerivative, first_line
from .batched import at_a_time, together
from .outer import Outer, Use, uses_of

_ROWS = 256  # outputs up to which as many reverse passes stand in for one forward derivative that there is not
REPLICA_BYTES = 64 << 20  # rows up to which they are copied for one batched reverse pass; above it one pass per output


class Holder(Protocol):
    """A network that holds weights and computes a code from them, such as a quine."""

    @property
    def weights(self) -> list[nn.Parameter]: ...

    def real_code(self, theta: Tensor | None = None) -> Tensor: ...


def stored_gradient_lengths(quine: Holder, scalars: Sequence[Callable[[Tensor], Tensor]]) -> list[list[float]]:
    """Euclidean lengths of the derivatives of some ``scalar(code)`` by each stored tensor that they depend on."""
    lengths: list[dict[int, float]] = [{} for _ in scalars]

    def take(scalar: int, number: int, grad: Tensor | Outer) -> None:
        if isinstance(grad, Outer):
            lengths[scalar][number] = grad.length()
            return
        wide = torch.promote_types(grad.dtype, torch.float32)
        lengths[scalar][number] = float(torch.linalg.vector_norm(grad, dtype=wide))

    each_derivative(quine, scalars, take)
    return [[found[number] for number in sorted(found)] for found in lengths]


def each_gradient(
    quine: Holder, scalars: Sequence[Callable[[Tensor], Tensor]], take: Callable[[int, int, Tensor], None]
) -> None:
    """:func:`each_derivative` with all numbers of every derivative written out, one tensor at a time."""

    def dense(scalar: int, number: int, grad: Tensor | Outer) -> None:
        take(scalar, number, grad.dense() if isinstance(grad, Outer) else grad)

    each_derivative(quine, scalars, dense)


def each_derivative(
    quine: Holder, scalars: Sequence[Callable[[Tensor], Tensor]], take: Callable[[int, int, Tensor | Outer], None]
) -> None:
    """Hand over the derivative of each ``scalar(code)`` by each stored tensor: number of the scalar, of the tensor, derivative.

    The network runs once; several derivatives of a large one come from one backward pass. Derivatives by large matrices are handed over as the few outer products that they are made of;
    any other is given up as soon as it was taken, so that no second copy of the weights is held.
    """
    weights = quine.weights
    asked = [w.requires_grad for w in weights]
    hooks: list[RemovableHandle] = []
    try:
        with derivatives_on():
            for w in weights:
                w.requires_grad_(True)
            code = quine.real_code()
            if not code.requires_grad:
                return
            uses = uses_of(code, weights)
            sides = [use for number in uses for use in uses[number]]
            others = [number for number in range(len(weights)) if number not in uses]
            wanted = [*(use.edge for use in sides), *(weights[number] for number in others)]
            done, batch = 0, at_a_time(len(scalars), weights, uses, others)
            while batch > 1 and done < len(scalars):
                batched = together(code, scalars[done : done + batch], wanted)
                if batched is None:
                    break
                for arrived in batched:
                    _hand_over(take, done, uses, arrived)
                    for number, grad in zip(others, arrived[len(sides) :], strict=True):
                        if grad is not None:
                            take(done, number, grad)
                    done += 1
            current = [0]
            for number in others:
                hooks.append(weights[number].register_hook(_handing_over(take, current, number)))
            for current[0] in range(done, len(scalars)):
                last = current[0] == len(scalars) - 1
                scalar = scalars[current[0]](code)
                _hand_over(
                    take,
                    current[0],
                    uses,
                    torch.autograd.grad(scalar, wanted, retain_graph=not last, allow_unused=True),
                )
    finally:
        for hook in hooks:
            hook.remove()
        for w, before in zip(weights, asked, strict=True):
            w.requires_grad_(before)


def _hand_over(
    take: Callable[[int, int, Outer], None],
    scalar: int,
    uses: dict[int, list[Use]],
    arrived: Sequence[Tensor | None],
) -> None:
    """Hand over the derivatives that are outer products, given what has arrived where the matrices were applied."""
    here = iter(arrived)
    for number, sides in uses.items():
        pairs = [(use, g) for use, g in zip(sides, here, strict=False) if g is not None]
        if pairs:
            take(scalar, number, Outer(tuple(use.sides(g) for use, g in pairs)))


def _handing_over(
    take: Callable[[int, int, Tensor], None], scalar: list[int], number: int
) -> Callable[[Tensor], Tensor]:
    """What is done with the derivative by one tensor: it is taken, and one without memory is left in its place."""

    def hook(grad: Tensor) -> Tensor:
        take(scalar[0], number, grad)
        return torch.zeros((), dtype=grad.dtype, device=grad.device).expand(grad.shape)

    return hook


def reverse_jacobian(rows: Callable[[Tensor], Tensor], x: Tensor, outputs: int, *, replicate: bool) -> Tensor:
    """Jacobians ``(B, m, n)`` of a row-wise map by reverse mode.

    Either one pass over m copies of each row, or m passes over one graph: the first is quicker when the
    copies are small and the map is vectorized. No ``grad_outputs`` and no forward mode here: both make torch
    import its compiler, which takes longer than solving a small quine.
    """
    b, n = x.shape
    with derivatives_on():
        if replicate and b * outputs * n * x.element_size() <= REPLICA_BYTES:
            with _if_memory_allows():
                copies = x.detach().repeat_interleave(outputs, 0).requires_grad_(True)
                picked = rows(copies) * torch.eye(outputs, dtype=x.dtype, device=x.device).repeat(b, 1)
                return gradient(picked.sum(), copies, retain=False).view(b, outputs, n)
        leaf = x.detach().clone().requires_grad_(True)
        out = rows(leaf)
        return torch.stack([gradient(out[:, i].sum(), leaf, retain=True) for i in range(outputs)], 1)


@contextmanager
def _if_memory_allows() -> Iterator[None]:
    """Leave what there is no memory for: a network of few weights may hold large states, such as a scan over them."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise


@contextmanager
def named_failures() -> Iterator[None]:
    """Turn what a module raises when it is differentiated into one line: the user has to mend the module."""
    try:
        yield
    except NeuralQuineError:
        raise
    except Exception as error:  # a foreign module may raise anything
        raise NoDerivative(f"the trunk cannot be differentiated: {first_line(error)}") from error


@contextmanager
def derivatives_on() -> Iterator[None]:
    """Switch derivatives on: under a caller's ``no_grad`` every quine would look like a constant.

    Raises:
        NoDerivative: something inside cannot be differentiated.
    """
    with named_failures(), torch.inference_mode(False), torch.enable_grad():
        yield


def gradient(scalar: Tensor, leaf: Tensor, *, retain: bool) -> Tensor:
    """Derivative of a scalar by a leaf; zeros where it does not depend on it."""
    if not scalar.requires_grad:
        return torch.zeros_like(leaf)  # the output does not depend on the weights: a constant map
    (grad,) = torch.autograd.grad(scalar, leaf, retain_graph=retain, allow_unused=True)
    return torch.zeros_like(leaf) if grad is None else grad


def reverse_jvp(at: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> Tensor:
    """``J v`` as the derivative of ``u -> J^T u``: two reverse passes, for operations without forward mode.

    Where an operation has no second derivative either, one reverse pass for each of at most 256 numbers that are printed.
    """
    with derivatives_on():
        x = x.detach().clone().requires_grad_(True)
        out = at(x)
        u = torch.zeros_like(out, requires_grad=True)
        if not out.requires_grad:
            return torch.zeros_like(v)
        answer: Tensor | None = None
        with suppress(RuntimeError):  # torch refuses, or does not connect, what is differentiable only once
            (pulled,) = torch.autograd.grad((out * u).sum(), x, create_graph=True)
            if pulled.requires_grad:
                (answer,) = torch.autograd.grad((pulled * v).sum(), u, allow_unused=True)
        if answer is not None:
            return answer.detach()
    if len(out) > _ROWS:
        raise NeuralQuineError("the trunk has neither a forward nor a second derivative: use picard or anderson")
    return reverse_jacobian(lambda rows: at(rows[0])[None], x[None], len(out), replicate=False)[0] @ v
