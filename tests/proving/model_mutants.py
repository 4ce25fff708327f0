"""Faults planted in the rules of whole models, one at a time, and whether random models find them.

As a script it plants all of them: ``PYTHONPATH=src:tests python tests/proving/model_mutants.py``. The tests plant a few.
"""

import types

from neuralquine.errors import NeuralQuineError
from neuralquine.proving.rules import common, models
from proving import drawn_models, mutants

FILES = {
    "gpt2": ("GPT2LMHeadModel",),
    "llama": ("LlamaForCausalLM",),
    "bert": ("BertModel", "ViTForImageClassification"),
    "resnet": ("ResNetForImageClassification",),
}


def is_found(file, source, seeds=range(14)):
    """Whether a changed file gives itself away."""
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
        exec(compile(source, f"<changed {file}>", "exec"), module.__dict__)
        return any(drawn_models.finding(name, seed) is not None for name in FILES[file] for seed in seeds)
    except (NeuralQuineError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
        return True
    finally:
        for table, held in zip(tables, before, strict=True):
            table.clear()
            table.update(held)


def main():
    planted = caught = 0
    for file in FILES:
        source = mutants.source_of(file)
        assert not is_found(file, source)
        here = [(line, said, is_found(file, changed)) for line, said, changed in mutants.faults(source)]
        planted, caught = planted + len(here), caught + sum(found for _, _, found in here)
        print(f"{file}: {len(here)} planted, {sum(found for _, _, found in here)} found", flush=True)
        for line, said, found in here:
            if not found:
                print(f"  not found: line {line}, {said}: {source.splitlines()[line - 1].strip()}", flush=True)
    print(f"{planted} planted, {caught} found")


if __name__ == "__main__":
    main()
