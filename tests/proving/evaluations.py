"""Random evaluations of random networks of every rule, and whether any of them leaves its tube.

As a script: ``PYTHONPATH=src:tests python tests/proving/evaluations.py 10000`` makes so many in float64, and as many in float32.
"""

import sys
from collections import Counter

import numpy as np

from agreement import GENERATORS, RANKS, asked, drawn, spec_of
from neuralquine.proving.rules import NoRule, run
from neuralquine.proving.tubes.adjoint import Steps, error_of
from neuralquine.proving.tubes.machine import Unbounded
from neuralquine.proving.tubes.node import GROWTH
from neuralquine.proving.tubes.tube import held, tape_of
from proving.shuffled import Shuffled

TYPES = {"float64": np.float64, "float32": np.float32}


def tried(name, rank, seed, dtype, trials):
    """How many evaluations of a random module were made, and how far the worst went: a share of the tube's radius.

    None where torch or the rule refuses the module, or nothing is bounded.
    """
    module, x = drawn(name, rank, seed)
    if asked(module, x) is None:
        return None
    kind = TYPES[dtype]
    state = {n: t.numpy().astype(kind) if t.is_floating_point() else t.numpy() for n, t in module.state_dict().items()}
    probe = x.numpy().astype(kind) if x.is_floating_point() else x.numpy()
    tape, indices = tape_of(dtype), not x.is_floating_point()
    tape.watch = Steps(tape.machine) if name == "neuralquine.Clocked" else None
    try:
        tube = run(
            spec_of(module), held(tape, probe), {n: held(tape, t) for n, t in state.items()}.get, indices=indices
        )
        radius = tube.radius if tube.fixed else np.minimum(tube.radius, error_of(tube).reshape(tube.shape))
    except (NoRule, Unbounded):
        return None
    generator = np.random.default_rng([seed, rank])
    worst = 0.0
    for _ in range(trials):
        weights = {n: Shuffled(t, kind, generator) for n, t in state.items()}
        y = run(spec_of(module), Shuffled(probe, kind, generator), weights.get, indices=indices)
        off = np.abs(y.value.astype(float) - tube.numbers)
        worst = max(worst, float((off / np.maximum(radius * GROWTH, 1e-300)).max(initial=0.0)))
    return trials, worst


def main(count):
    share = count // len(GENERATORS) + 1
    for dtype in TYPES:
        made, worst = Counter(), Counter()
        for name in GENERATORS:
            for seed in range(10_000):
                if made[name] >= share:
                    break
                for rank in RANKS:
                    found = tried(name, rank, seed, dtype, min(20, share - made[name]))
                    if found is not None:
                        made[name] += found[0]
                        worst[name] = max(worst[name], found[1])
        outside = [name for name in worst if worst[name] > 1]
        print(
            f"{dtype}: {made.total()} evaluations of {len(made)} rules, {len(outside)} rules with one outside {outside}"
        )
        print("  the farthest, as shares of a radius:", {n: round(w, 3) for n, w in worst.most_common(5)}, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
