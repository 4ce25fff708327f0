"""Faults planted in the rules of whole models, one at a time, and whether random models find them.

As a script it plants all of them: ``PYTHONPATH=src:tests python tests/proving/model_mutants.py``. The tests plant a few.
"""

import types
from contextlib import suppress
from itertools import product

import numpy as np
import torch
from flint import ctx

from neuralquine.errors import NeuralQuineError
from neuralquine.proving.rules import NoRule, common, models
from neuralquine.quines.networks.models import described_model
from proving import drawn_models, mutants
from proving.planted import report

FILES = {
    "gpt2": ("GPT2LMHeadModel",),
    "llama": ("LlamaForCausalLM",),
    "bert": ("BertModel", "ViTForImageClassification"),
    "resnet": ("ResNetForImageClassification",),
}

_LOOSE = ("within", "angles = ", "_LONGEST =", "context.prec", "lru_cache")  # in lines where nothing is computed


def rotations_hold(module):
    """Whether the cosines and sines of torch in float32 are within what is said of them, and not idly."""
    shares = []
    for length, size, theta in ((40, 4, 1e4), (60, 6, 7.3), (9, 2, 5e5)):
        inverse = 1.0 / (theta ** (torch.arange(0, size, 2, dtype=torch.float) / size))
        angles = torch.arange(length)[:, None].float() * inverse
        found = module.rotations(length, size, theta)
        for function, said in zip((torch.cos, torch.sin), found, strict=True):
            theirs = function(torch.cat([angles, angles], 1)).double().numpy()
            shares.append(np.abs(theirs - said.nearest).max(0) / (said.within.max(0) * 2.0**-24))
            with ctx.workprec(128):
                exact = np.array([[float(v) for v in row] for row in said.exact()])
            if exact.shape != said.nearest.shape or not np.abs(exact - said.nearest).max() < 2.0**-52:
                return False
    shares = np.concatenate(shares)
    return bool(shares.max() < 1 and shares.max() > 0.02)


BEYOND = (
    {"rope_theta": 1.0},
    {"rope_theta": 1e12},
    {"head_dim": 3},
    {"num_attention_heads": 3, "num_key_value_heads": 2},
)


def limits_hold(module):
    """Whether a Llama is refused whose angles the bounds are not made for, or whose heads do not fit each other."""
    model, _, _ = drawn_models.drawn("LlamaForCausalLM", 0)
    given = described_model(model)["arguments"]
    for fields in BEYOND:
        with suppress(NoRule):
            module._understood(module.LLAMA, given | fields)
            return False
    return True


def sizes_are_seen(module):
    """Whether a network of basic layers is known by the shapes of its weights as by its configuration."""
    fields = {"hidden_sizes": [3, 5, 4], "depths": [2, 1, 3], "layer_type": "basic", "num_channels": 6, "num_labels": 7}
    plain = {"downsample_in_first_stage": False, "downsample_in_bottleneck": False}
    for embedding in (2, 3):
        whole = module._understood(module.RESNET, fields | plain | {"embedding_size": embedding})
        shapes = module._tensors(whole)
        found = module.resnet_arguments({name: list(shape) for name, shape in shapes.items()})
        known = found == {name: whole[name] for name in ("widths", "depths", "embedding", "channels", "labels")}
        if not known or module._tensors(found) != shapes or module._layers(found) != module._layers(whole):
            return False
    return True


def faults(file):
    """The faults of a file; a looser bound is none, nor is another limit or another number of digits."""
    source = mutants.source_of(file)
    lines = source.splitlines()
    return [fault for fault in mutants.faults(source) if not any(word in lines[fault[0] - 1] for word in _LOOSE)]


def is_found(file, source, seeds=range(8)):
    """Whether a changed file gives itself away."""
    code = compile(source, f"<changed {file}>", "exec")
    tables = [common.RULES, common.TENSORS, common.INDICES, models.MODELS]
    before = [dict(t) if isinstance(t, dict) else set(t) for t in tables]
    try:
        for name in FILES[file]:
            for table in tables:
                table.discard(f"transformers.{name}") if isinstance(table, set) else table.pop(
                    f"transformers.{name}", None
                )
        module = types.ModuleType(f"neuralquine.proving.rules.{file}")
        module.__dict__.update(__package__="neuralquine.proving.rules", _without_bias=mutants._without_bias)
        exec(code, module.__dict__)
        asked = {"llama": (rotations_hold, limits_hold), "resnet": (sizes_are_seen,)}.get(file, ())
        if not all(holds(module) for holds in asked):
            return True
        return _is_wrong(FILES[file], seeds)
    except (NeuralQuineError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
        return True
    finally:
        for table, held in zip(tables, before, strict=True):
            table.clear()
            table.update(held)


def _is_wrong(names, seeds):
    """Whether one of the models shows a fault, or none of a kind is bounded."""
    bounded = set()
    for seed, name in product(seeds, names):
        said = drawn_models.finding(name, seed)
        if said not in (None, drawn_models.IDLE):
            return True
        bounded |= {name} if said is None else set()
        if drawn_models.finding_on_a_grid(name, seed) not in (None, drawn_models.IDLE):
            return True
    return bounded != set(names)


def main():
    report((file, planted_in(file)) for file in FILES)


def planted_in(file):
    """Each fault of a file, as :func:`proving.planted.row` takes it."""
    source = mutants.source_of(file)
    assert not is_found(file, source)
    lines = source.splitlines()
    for line, said, changed in faults(file):
        words = f"{said}: {lines[line - 1].strip()}"
        yield words, lambda changed=changed: is_found(file, changed())


if __name__ == "__main__":
    main()
