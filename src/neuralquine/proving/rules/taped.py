"""The parts of a network that does a task and reads a tape: its body, and the ends of a small vision transformer."""

from __future__ import annotations

from .common import A, NoRule, Shapes, Spec, Weights, below, described, held, rule, run

STEM, HEAD = "body.stem", "body.head"  # where the weights of the body's parts stand


@rule("neuralquine.Tokens", tensors=lambda a: {"positions": (a["count"], a["width"])})
def tokens(x: A, _: Spec, weights: Weights[A]) -> A:
    """Images ``(n, c, ...)`` as sequences ``(n, places, c)``, with positions added."""
    if len(x.shape) < 3:
        raise NoRule(f"no proof rule for Tokens of a tensor of shape {x.shape}")
    positions, flat = held(weights, "positions"), x.reshape(*x.shape[:2], -1).move(0, 2, 1)
    if flat.shape[1:] != positions.shape:
        raise NoRule(f"no proof rule for Tokens of {positions.shape} in a tensor of shape {x.shape}")
    return flat + positions


@rule("neuralquine.TokenMean")
def token_mean(x: A, _: Spec, __: Weights[A]) -> A:
    """The mean over axis 1, which goes."""
    if len(x.shape) < 2:
        raise NoRule(f"no proof rule for TokenMean of a tensor of shape {x.shape}")
    order = 0, *range(2, len(x.shape)), 1
    return x.move(*order).mean().reshape(x.shape[0], *x.shape[2:])


def parts_of(spec: Spec) -> tuple[Spec, Spec]:
    """The descriptions of the two parts of a described body with a tape, the stem and the head."""
    body = spec["parts"]["body"]
    if spec["type"] != "neuralquine.Taped" or body["type"] != "neuralquine.Body":
        raise NoRule("no proof rule for a body that is not a stem and a head")
    return body["parts"]["stem"], body["parts"]["head"]


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
