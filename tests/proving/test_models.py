"""Whole models of transformers whose rules know them by their class: each gives the numbers of the model itself."""

import json

import numpy as np
import pytest
import torch

import neuralquine as nq
from neuralquine.keeping.theorems import certify, portability
from neuralquine.proving.checker.held import Machine
from neuralquine.proving.checker.numbers import Bounded
from neuralquine.proving.known import description
from neuralquine.proving.rules import NoRule, run
from neuralquine.proving.rules.common import described
from neuralquine.proving.rules.resnet import RESNET, resnet_arguments
from neuralquine.quines.networks.models import described_model
from neuralquine.quines.networks.stepped import stepped
from proving import drawn_models, model_mutants
from proving.harmless import HARMLESS

transformers = pytest.importorskip("transformers")
KINDS = (
    *("GPT2LMHeadModel", "LlamaForCausalLM", "BertModel"),
    *("ViTForImageClassification", "ResNetForImageClassification"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_read_by_its_configuration_as_torch_runs_it(kind):
    found = {drawn_models.finding(kind, seed) for seed in range(3)}
    assert found <= {None, drawn_models.IDLE}
    assert None in found


@pytest.mark.parametrize("file", ["gpt2", "llama", "bert", "resnet"])
def test_a_fault_planted_in_the_rule_of_a_model_is_found(file):
    """Three of each file; the script of ``model_mutants.py`` plants all."""
    planted = [fault for fault in model_mutants.planted_in(file) if fault[0] not in HARMLESS.get(file, {})]
    for said, is_found in planted[len(planted) // 2 :: len(planted) // 6]:
        assert is_found(), said


@pytest.mark.parametrize(("kind", "options"), [("LlamaForCausalLM", {}), ("BertModel", {"trunk_dtype": "float64"})])
def test_a_folder_of_a_model_loads_is_proved_and_exported(kind, options, tmp_path):
    model, inputs, select = drawn_models.drawn(kind, 3)
    settings = {"code_size": 8, "skip": 0.1, "code_bits": 5, "select": select, "dtype": torch.float32, "seed": 1}
    quine = nq.Quine(model, inputs, **settings, **options)
    assert nq.solve(quine, exact=True).bit_exact
    nq.save(quine, tmp_path / "q")
    assert json.loads((tmp_path / "q" / "config.json").read_text())["trunk"]["type"] == f"transformers.{kind}"
    again = nq.load(tmp_path / "q")
    assert torch.equal(again.theta, quine.theta)
    assert nq.verify(again).is_quine
    assert portability(tmp_path / "q").proved
    assert certify(tmp_path / "q")["kind"] == "bit-exact"
    nq.export(tmp_path / "q", tmp_path / "self.onnx")


REFUSED = {
    "scale_attn_by_inverse_layer_idx=True": ("GPT2LMHeadModel", {"scale_attn_by_inverse_layer_idx": True}),
    "activation_function=gelu_fast": ("GPT2LMHeadModel", {"activation_function": "gelu_fast"}),
    "hidden_act=tanh": ("LlamaForCausalLM", {"hidden_act": "tanh"}),
    "rope_type=linear": ("LlamaForCausalLM", {"rope_type": "linear"}),
    "hidden_act=quick_gelu": ("BertModel", {"hidden_act": "quick_gelu"}),
    "is_decoder=True": ("BertModel", {"is_decoder": True}),
    "attn_implementation=flash_attention_2": (
        "ViTForImageClassification",
        {"attn_implementation": "flash_attention_2"},
    ),
    "hidden_act=silu": ("ResNetForImageClassification", {"hidden_act": "silu"}),
    "whose configuration says odd": ("BertModel", {"odd": 1}),
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_field_that_no_rule_is_about_is_refused_by_its_name(said):
    kind, fields = REFUSED[said]
    model, inputs, select = drawn_models.drawn(kind, 0)
    trunk = described_model(model)
    config = {"trunk_class": "", "tensors": [], "probe": list(inputs), "select": select, "dtype": "float32"}
    assert description(config | {"trunk": trunk})["type"] == f"transformers.{kind}"
    with pytest.raises(NoRule, match=said):
        description(config | {"trunk": trunk | {"arguments": trunk["arguments"] | fields}})


def test_a_model_that_computes_in_float32_inside_is_not_proved_in_float64():
    model, inputs, select = drawn_models.drawn("LlamaForCausalLM", 0)
    config = {"trunk": described_model(model), "probe": list(inputs), "select": select, "dtype": "float64"}
    with pytest.raises(NoRule, match="any type but float32"):
        description(config)
    with pytest.raises(nq.TrunkError, match="narrower type inside"):
        nq.Quine(model, inputs, dtype=torch.float32, trunk_dtype="float64", select=select)


@pytest.mark.parametrize(("kind", "offered"), [("LlamaForCausalLM", False), ("BertModel", True)])
def test_another_type_is_offered_to_a_trunk_that_can_run_in_it(kind, offered, tmp_path):
    model, inputs, select = drawn_models.drawn(kind, 3)
    fine = {"code_size": 8, "skip": 0.1, "code_bits": 15, "select": select, "dtype": torch.float32, "seed": 1}
    quine = nq.Quine(model, inputs, **fine)
    assert nq.solve(quine, exact=True).bit_exact
    nq.save(quine, tmp_path / "q")
    found = portability(tmp_path / "q")
    assert not found.proved
    assert ("trunk_dtype" in found.reason) is offered


def test_a_model_with_a_part_of_another_kind_is_not_described(tmp_path):
    model, inputs, select = drawn_models.drawn("BertModel", 3)
    model.encoder.layer[0].intermediate.intermediate_act_fn = torch.nn.Tanh()
    quine = nq.Quine(model, inputs, code_size=8, select=select, dtype=torch.float32)
    nq.save(quine, tmp_path / "q")
    assert json.loads((tmp_path / "q" / "config.json").read_text())["trunk"] is None
    with pytest.raises(NoRule, match="no proof rule for BertModel"):
        certify(tmp_path / "q")


@pytest.mark.parametrize(("widths", "depths"), [([2, 3], [1, 2]), ([3, 3, 4], [2, 1, 1])])
@pytest.mark.parametrize("grid", [None, 6])
def test_resnet_is_read_as_torch_runs_it(widths, depths, grid):
    torch.manual_seed(len(widths))
    config = transformers.ResNetConfig(
        embedding_size=3, hidden_sizes=widths, depths=depths, layer_type="basic", num_labels=5
    )
    model = transformers.ResNetForImageClassification(config).double().eval()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if "running_var" in name else torch.nn.init.normal_(tensor, std=0.3)
    x = torch.randn(1, 3, 41, 36, dtype=torch.float64)
    sizes = resnet_arguments({n: list(p.shape) for n, p in model.named_parameters()})
    spec = {"type": RESNET, "arguments": sizes | {"read": "logits"}}
    state = {name: t.numpy() for name, t in model.state_dict().items()}
    assert list(described(spec).items()) == [(name, t.shape) for name, t in state.items()]
    machine = Machine.of("float64", grid)
    found = run(spec, Bounded(x.numpy(), None, machine), {n: Bounded(t, None, machine) for n, t in state.items()}.get)
    with torch.no_grad(), stepped(model, grid):
        answer = model(x).logits.numpy()
    assert (np.abs(found.value - answer) <= found.reach).all()
    assert found.reach.max() < 1e-8 * max(1, np.abs(answer).max())


def test_a_resnet_of_other_layers_has_no_rule():
    with pytest.raises(NoRule):
        resnet_arguments({"resnet.embedder.embedder.convolution.weight": [3, 3, 7, 7]})


@pytest.mark.parametrize("kind", drawn_models.KINDS)
def test_a_model_on_a_grid_of_activations_is_read_as_torch_runs_it(kind):
    found = [drawn_models.finding_on_a_grid(kind, seed) for seed in range(6)]
    assert set(found) <= {None, drawn_models.IDLE}
    assert found.count(None) >= 2
