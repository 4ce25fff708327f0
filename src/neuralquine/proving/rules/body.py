"""The body of a network that does a task and reads a tape: its stem and its head, by the rules of their modules."""

from __future__ import annotations

from .common import A, NoRule, Shapes, Spec, Weights, below, described, run

STEM, HEAD = "body.stem", "body.head"  # where the weights of the body's parts stand


def parts_of(spec: Spec) -> tuple[Spec, Spec]:
    """The descriptions of the two parts of a described body with a tape, the stem and the head."""
    match spec:
        case {
            "type": "neuralquine.Taped",
            "parts": {"body": {"type": "neuralquine.Body", "parts": {"stem": dict(stem), "head": dict(head)}}},
        }:
            return stem, head
    raise NoRule("no proof rule for a body that is not a stem and a head")


def features(spec: Spec, x: A, weights: Weights[A]) -> A:
    """What the stem makes of a batch, flat: ``(n, f)``."""
    y = run(parts_of(spec)[0], x, below(weights, STEM))
    return y.reshape(x.shape[0], -1)


def outputs(spec: Spec, a: A, weights: Weights[A]) -> A:
    """What the head makes of features ``(n, f)``."""
    return run(parts_of(spec)[1], a, below(weights, HEAD))


def body_shapes(spec: Spec) -> Shapes | None:
    """The names and shapes of all parameters and buffers of a body; None where a module has no rule."""
    found = [described(part) for part in parts_of(spec)]
    if any(shapes is None for shapes in found):
        return None
    pairs = zip((STEM, HEAD), found, strict=True)
    return {f"{place}.{name}": shape for place, shapes in pairs for name, shape in (shapes or {}).items()}
