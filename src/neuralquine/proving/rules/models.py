"""Whole models of ``transformers``: what a rule makes of a configuration, and what it refuses by the name of the field.

A folder describes such a model by the fields of its configuration that an evaluation depends on
(``quines/networks/models.py``). A field that no rule is about may stand at one of the values that it is known for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .common import NoRule, Spec

MOST = 1 << 30  # of a size: far above any real one

ACTIVATIONS = {  # names of transformers, and those of ``attention.py``
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


@dataclass(frozen=True)
class Model:
    """What is known of a class of models beside its rule.

    Attributes:
        understood: gives the rule's arguments from the fields of a configuration; ``narrow`` among them says that the model
            computes in float32 inside, whatever the type of its weights.
        input: the name of its one input.
        reads: what is read of its output, by what ``select`` may be.
        keeps: whether it may be told to give the logits of some tokens alone.
    """

    understood: Callable[[str, Spec], Spec]
    input: str
    reads: dict[Any, str]
    keeps: bool = False


LOGITS = {None: "logits", 0: "logits", "logits": "logits"}

MODELS: dict[str, Model] = {}


def understand(kind: str, given: Spec, sizes: dict[str, str], only: dict[str, tuple[Any, ...]]) -> Spec:
    """The sizes that a configuration names, under the rule's own names for them.

    Args:
        kind: of model, for what is said.
        given: fields and their values.
        sizes: fields that are whole numbers above zero, and what the rule calls them; each must be given.
        only: further fields, with the values at which the rule computes what the model does.

    Raises:
        NoRule: a field has another value, or is not one that the rule is about.
    """
    own = {}
    for field in sorted({*given, *sizes}):
        value = given.get(field)
        if field in sizes:
            if type(value) is not int or not 1 <= value <= MOST:
                raise NoRule(f"no proof rule for a {short(kind)} with {field}={str(value)[:40]}")
            own[sizes[field]] = value
        elif field not in only:
            raise NoRule(f"no proof rule for a {short(kind)} whose configuration says {field[:40]}")
        elif not any(type(value) is type(known) and value == known for known in only[field]):
            raise NoRule(f"no proof rule for a {short(kind)} with {field}={str(value)[:40]}")
    return own


def epsilon(kind: str, given: Spec, field: str) -> float:
    """The number that a normalization adds, which a configuration names."""
    value = given.get(field)
    if not isinstance(value, float) or not 0 < value < 1:
        raise NoRule(f"no proof rule for a {short(kind)} with {field}={str(value)[:40]}")
    return value


def short(kind: str) -> str:
    """The name of a class of models without the library's."""
    return kind.rpartition(".")[2]


def read_of(kind: str, config: Spec) -> str:
    """What is read of a model's output, by the folder's inputs and its ``select``.

    Raises:
        NoRule: it is asked for something else, or with further inputs.
    """
    model, names, select = MODELS[kind], config["probe"], config["select"]
    kept = model.keeps and names == [model.input, "logits_to_keep"]
    if type(names) is bool or not (names in (1, [model.input]) or kept) or select not in model.reads:
        raise NoRule(f"no proof rule for a {short(kind)} that is asked for anything but its {model.reads[None]}")
    return "last" if kept else model.reads[select]
