"""The derivative of a whole block is that of its operations, and its tube holds what a block does to an error."""

import numpy as np
import pytest
import torch

from agreement import spec_of
from neuralquine.proving.rules.attention import encode
from neuralquine.proving.tubes import blocks
from neuralquine.proving.tubes.machine import Machine
from neuralquine.proving.tubes.node import Tape
from neuralquine.quines.networks.causal import CausalTransformer
from proving.shuffled import WIDE, Shuffled, held, norm, source

WIDTH, LENGTH = 12, 4
BLOCK = {"nhead": 3, "layer_norm_eps": 1e-5, "activation": "gelu", "norm_first": True}


def drawn(seed):
    torch.manual_seed(seed)
    module = CausalTransformer(5, WIDTH, 1, 3).double()
    assert spec_of(module)
    weights = {
        k.removeprefix("blocks.0."): v.numpy() for k, v in module.state_dict().items() if k.startswith("blocks.0.")
    }
    generator = np.random.default_rng(seed)
    weights = {k: v + 0.3 * generator.standard_normal(v.shape) for k, v in weights.items()}
    return weights, generator.standard_normal((1, LENGTH, WIDTH)), generator


def ran(weights, x, radius, watch):
    tape = Tape(Machine())
    start = source(tape, x, np.full(x.shape, radius), radius)
    tape.watch = watch
    named = {k: held(tape, v) for k, v in weights.items()}
    return start, encode(start, BLOCK, named.get, causal=True), tape


@pytest.mark.parametrize("seed", range(3))
def test_the_norm_of_a_derivative_is_above_that_of_every_error(seed, monkeypatch):
    """Each pair of tokens by itself: an error of one token moves another by at most the norm, and by nearly as much."""
    weights, x, generator = drawn(seed)
    held_ = {}
    attended = blocks._attended
    monkeypatch.setattr(blocks, "_attended", lambda *a: held_.setdefault("block", attended(*a)))
    start, out, tape = ran(weights, x, 1e-7, blocks.Blocks())
    block = held_["block"]
    assert block is not None
    middle = block.middle
    for t in range(LENGTH):
        assert [u for u in range(LENGTH) if (t, u) in block.pairs] == list(range(t + 1))
        true = np.stack([_pulled(tape, middle, start, t, i) for i in range(WIDTH)], 1)  # (u, i, j)
        for u in range(t + 1):
            formed = block.pairs[t, u][0].astype(float)
            assert np.abs(formed - true[u]).max() < 1e-6 * np.abs(true[u]).max()
        for place, parts in ((0, [true[t]]), (1, list(true[:t]))):
            largest = np.linalg.svd(np.concatenate(parts, 1), compute_uv=False)[0] if parts else 0.0
            assert largest <= block.norms[t, place] <= 1.5 * largest
    assert out.row.max() > 0
    assert generator is not None


def _pulled(tape, node, start, t, i):
    """The derivative of one number of a node by all rows of another, by the backward steps."""
    a = np.zeros((1, *node.shape))
    a[0, 0, t, i] = 1.0
    waiting = {node.place: a}
    for other in reversed(tape.nodes[: node.place + 1]):
        got = waiting.pop(other.place, None)
        if got is None:
            continue
        if other is start:
            return got[0, 0]
        for parent, part in zip(other.parents, other.pull(got), strict=True):
            if part is not None and not parent.fixed:
                waiting[parent.place] = waiting.get(parent.place, 0) + part
    raise AssertionError


@pytest.mark.parametrize("radius", [1e-6, 3e-3])
@pytest.mark.parametrize("seed", range(3))
def test_no_error_of_a_blocks_input_leaves_its_tube_and_the_tube_is_narrower(seed, radius):
    weights, x, generator = drawn(seed)
    _, plain, _ = ran(weights, x, radius, None)
    _, out, _ = ran(weights, x, radius, blocks.Blocks())
    assert (out.row <= plain.row).all()
    if radius < 1e-5:
        assert out.row.max() < 0.5 * plain.row.max()
    wide = {k: Shuffled(v, WIDE) for k, v in weights.items()}
    reached = np.zeros(LENGTH)
    for _ in range(30):
        error = generator.standard_normal(x.shape)
        error *= radius / norm(error)[..., None]
        moved = encode(Shuffled(x + error, WIDE), BLOCK, wide.get, causal=True).value
        sizes = norm(np.asarray(moved - out.value, float))[0]
        assert (sizes <= out.row[0]).all()
        reached = np.maximum(reached, sizes / out.row[0])
    assert reached.max() > 0.1


def test_round_off_inside_a_block_is_counted():
    """In float32 with an exact input: what is fresh is all there is."""
    for seed in range(3):
        weights, x, generator = drawn(seed)
        weights, x = {k: v.astype(np.float32) for k, v in weights.items()}, x.astype(np.float32)
        tape = Tape(Machine.of("float32"), watch=blocks.Blocks())
        start = source(tape, x.astype(float), np.zeros(x.shape))
        out = encode(start, BLOCK, {k: held(tape, v) for k, v in weights.items()}.get, causal=True)
        narrow = {k: Shuffled(v, np.float32, generator) for k, v in weights.items()}
        for _ in range(30):
            found = encode(Shuffled(x, np.float32, generator), BLOCK, narrow.get, causal=True).value
            assert (norm(found.astype(float) - out.value) <= out.row).all()


@pytest.mark.parametrize("seed", range(3))
def test_in_the_last_block_the_last_token_has_the_same_tube_and_the_others_have_the_wide_one(seed):
    weights, x, _ = drawn(seed)
    _, plain, _ = ran(weights, x, 1e-6, None)
    _, whole, _ = ran(weights, x, 1e-6, blocks.Blocks())
    _, last, _ = ran(weights, x, 1e-6, blocks.Blocks(blocks=1))
    assert (last.row[0, -1] <= whole.row[0, -1] * (1 + 1e-9)).all()
    assert (last.row[0, :-1] >= whole.row[0, :-1]).all()
    assert np.allclose(last.row[0, 0], plain.row[0, 0], rtol=0.5)
