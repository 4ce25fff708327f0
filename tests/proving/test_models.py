"""Whole models of transformers whose rules know them by their class: each gives the numbers of the model itself."""

import numpy as np
import pytest
import torch

from neuralquine.proving.checker.held import Machine
from neuralquine.proving.checker.numbers import Bounded
from neuralquine.proving.rules import NoRule, run
from neuralquine.proving.rules.common import described
from neuralquine.proving.rules.resnet import RESNET, resnet_arguments
from neuralquine.quines.networks.stepped import stepped

transformers = pytest.importorskip("transformers")


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
    spec = {"type": RESNET, "arguments": resnet_arguments({n: list(p.shape) for n, p in model.named_parameters()})}
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
