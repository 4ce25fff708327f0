"""GPT-2: its rule is the model of transformers, its printer is compared in a stream, and what is proved of it is said."""

import numpy as np
import pytest
import torch
import transformers
from flint import ctx

import neuralquine as nq
from agreement import in_balls, in_tubes, outside
from neuralquine.proving import network as networks
from neuralquine.proving.enclosed import stored
from neuralquine.proving.known import description
from neuralquine.proving.network import Network
from neuralquine.proving.portable import portability
from neuralquine.proving.printers import MatrixPrinter
from neuralquine.proving.rules import NoRule
from neuralquine.proving.streamed import StreamedSigns


@pytest.mark.parametrize(("width", "layers", "length"), [(3, 1, 4), (4, 2, 1), (5, 1, 3)])
def test_the_rule_is_the_model_of_transformers(width, layers, length):
    torch.manual_seed(width)
    size = {"vocab_size": 7, "n_positions": 6, "n_embd": width, "n_layer": layers, "n_head": 1}
    ends = {"bos_token_id": 0, "eos_token_id": 0, "use_cache": False, "attn_implementation": "eager"}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**size, **ends)).double().eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    state = {name: t for name, t in model.state_dict().items() if name != "lm_head.weight"}
    whole = f"{type(model).__module__}.{type(model).__name__}"
    tensors = [[name, list(t.shape)] for name, t in state.items()]
    read = {"probe": ["input_ids", "logits_to_keep"], "select": "logits", "dtype": "float64"}
    config = {"trunk_class": whole, "tensors": tensors, "recipe": {"name": "gpt2"}, **read}
    spec = description(config)
    assert networks.described(spec) == {name: tuple(shape) for name, shape in tensors}
    ids = torch.randint(0, 7, (1, length))
    with torch.no_grad():
        expected = model(input_ids=ids, logits_to_keep=torch.tensor([length - 1])).logits[:, 0].numpy()
    ctx.prec = 128
    exact = in_balls(spec, state, ids, None)
    middle = np.array([float(b.mid()) for b in exact.flat]).reshape(exact.shape)
    assert np.abs(middle - expected).max() < 1e-12
    assert outside(in_tubes(spec, state, ids, None), middle) <= 1e-3
    assert outside(in_tubes(spec, state, ids, "float64"), expected) <= 1e-3
    with pytest.raises(NoRule, match="recipes gpt2"):
        description(config | {"recipe": None})


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2") / "q"
    quine = nq.recipe("gpt2", seed=0, layers=1, width=4, code_size=8)
    assert nq.solve(quine, exact=True).bit_exact
    nq.save(quine, folder)
    return folder


def test_a_printer_in_a_stream_is_the_one_with_a_table(small, monkeypatch):
    table = Network(small)
    assert isinstance(table.printer, MatrixPrinter)
    monkeypatch.setattr(networks, "LARGEST", 1)
    stream = Network(small)
    assert isinstance(stream.printer, StreamedSigns)
    x = table.printer.grid_code(table.theta)
    assert x is not None
    assert stream.printer.grid_code(table.theta) == x
    assert stream.printer.on_grid(x)
    assert stream.printer.exact_in_any_order(x)
    generator = np.random.default_rng(0)
    for place in [0, len(table.theta) - 1, *generator.integers(0, len(table.theta), 4)]:
        off = table.theta.copy()
        off[place] = np.nextafter(off[place], np.float32(9))
        assert not stream.printer.prints(off, x)
    with pytest.raises(NoRule, match="too many for balls"):
        stored(stream)
    moved = [x[0] + 1, *x[1:]]
    assert not stream.printer.prints(table.theta, moved)


def test_float32_is_not_proved_and_a_trunk_in_float64_is(small):
    verdict = portability(small)
    assert not verdict.proved
    assert verdict.wider == "float64"
    assert "a trunk run in float64 it is proved" in verdict.reason
    assert verdict.exact_margin > 0
