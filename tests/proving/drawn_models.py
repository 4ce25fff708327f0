"""Random models of ``transformers`` by their configurations, and whether the rule of each gives the model's own numbers."""

from contextlib import suppress

import numpy as np
import torch
import transformers

from agreement import in_tubes, outside
from neuralquine.proving.checker.held import Machine
from neuralquine.proving.checker.numbers import Bounded
from neuralquine.proving.known import description
from neuralquine.proving.rules import run
from neuralquine.proving.rules.common import NoRule, described
from neuralquine.proving.tubes.machine import Unbounded
from neuralquine.proving.verdicts import NotProved
from neuralquine.quines.networks.models import built_model, described_model
from neuralquine.quines.networks.stepped import stepped

KINDS = (
    "GPT2LMHeadModel",
    "LlamaForCausalLM",
    "BertModel",
    "ViTForImageClassification",
    "ResNetForImageClassification",
)


class Draw:
    """Random choices of one model and seed."""

    def __init__(self, kind, seed):
        self.seed, self.generator = seed, np.random.default_rng([seed, sum(map(ord, kind))])
        self.heads, self.layers, self.batch = self.size(1, 2), self.size(1, 2), self.size(1, 2)
        self.length, self.each = self.size(1, 4), 2 * self.size(1, 2)
        self.width = self.heads * self.each

    def one(self, *options):
        return options[self.generator.integers(len(options))]

    def turn(self, place, *two):
        """One of two by a binary digit of the seed, so that a few seeds in a row have every combination of some choices."""
        return two[self.seed >> place & 1]

    def size(self, low, high):
        return int(self.generator.integers(low, high + 1))

    def ids(self):
        return {"input_ids": torch.from_numpy(self.generator.integers(0, 7, (self.batch, self.length)))}

    def image(self, batch, *shape):
        return {"pixel_values": torch.from_numpy(self.generator.standard_normal((batch, *shape)))}

    def activation(self):
        return self.one("gelu", "gelu_new", "relu", "silu", "gelu_pytorch_tanh")


_ENDS = {"bos_token_id": 0, "eos_token_id": 0}


def _gpt2(draw, options):
    config = transformers.GPT2Config(
        vocab_size=7, n_positions=6, n_embd=draw.width, n_layer=draw.layers, n_head=draw.heads, n_inner=draw.one(None, 5),
        activation_function=draw.activation(), layer_norm_epsilon=draw.one(1e-5, 1e-2), **_ENDS, **options,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config), draw.ids()


def _llama(draw, options):
    heads = draw.one(1, 2, 4)
    groups = draw.one(*(groups for groups in (1, 2, 4) if heads % groups == 0))
    config = transformers.LlamaConfig(
        vocab_size=7, hidden_size=heads * draw.each, intermediate_size=5, num_hidden_layers=draw.layers, hidden_act=draw.activation(),
        num_attention_heads=heads, num_key_value_heads=groups, head_dim=draw.one(None, 2, draw.each),
        max_position_embeddings=9, rms_norm_eps=draw.one(1e-6, 1e-2), attention_bias=draw.one(True, False),
        mlp_bias=draw.one(True, False), tie_word_embeddings=draw.one(True, False), **_ENDS, **options,
        rope_parameters={"rope_type": "default", "rope_theta": draw.one(1e4, 5e5, 7.3)},
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config), draw.ids()


def _bert(draw, options):
    config = transformers.BertConfig(
        vocab_size=7, hidden_size=draw.width, num_hidden_layers=draw.layers, num_attention_heads=draw.heads, **options,
        intermediate_size=5, hidden_act=draw.activation(), max_position_embeddings=6, layer_norm_eps=draw.one(1e-12, 1e-3),
    )  # fmt: skip
    return transformers.BertModel(config, add_pooling_layer=draw.one(True, False)), draw.ids()


def _vit(draw, options):
    config = transformers.ViTConfig(
        hidden_size=draw.width, num_hidden_layers=draw.layers, num_attention_heads=draw.heads, intermediate_size=5,
        hidden_act=draw.activation(), image_size=draw.one(4, 6), patch_size=2, num_channels=draw.one(1, 2),
        qkv_bias=draw.one(True, False), num_labels=draw.one(2, 3), layer_norm_eps=draw.one(1e-12, 1e-3), **options,
    )  # fmt: skip
    shape = config.num_channels, config.image_size, config.image_size
    return transformers.ViTForImageClassification(config), draw.image(draw.batch, *shape)


def _resnet(draw, _):
    """Sizes that a quarter and a third divide apart, twice the same where a stride alone asks for a shortcut."""
    kind, stages = draw.turn(0, "basic", "bottleneck"), draw.one(1, 2, 2)
    widths = [draw.one(6, 9) if kind == "bottleneck" else draw.size(2, 3) for _ in range(stages)]
    widths = draw.one(widths, [widths[0]] * stages)
    config = transformers.ResNetConfig(
        num_channels=draw.one(1, 2), embedding_size=draw.one(widths[0], 2), hidden_sizes=widths,
        depths=[draw.size(1, 2) for _ in range(stages)], layer_type=kind, num_labels=draw.one(2, 3),
        downsample_in_first_stage=draw.turn(2, True, False), downsample_in_bottleneck=draw.turn(1, True, False),
    )  # fmt: skip
    return transformers.ResNetForImageClassification(config), draw.image(1, config.num_channels, 15, 17)


IDLE = "it bounds nothing"  # which is no fault of a rule by itself: some models magnify every error
_MAKERS = dict(zip(KINDS, (_gpt2, _llama, _bert, _vit, _resnet), strict=True))


def drawn(kind, seed):
    """A model with weights of some size, its inputs, and what is selected of its output."""
    draw = Draw(kind, seed)
    model, inputs = _MAKERS[kind](draw, {"attn_implementation": draw.one("eager", "sdpa")})
    model = model.eval()
    torch.manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if "running_var" in name else tensor.normal_(0, 0.5)
    select = draw.one(None, 0)
    if "input_ids" in inputs and kind != "BertModel" and draw.one(True, False):
        inputs["logits_to_keep"], select = torch.tensor([draw.length - 1]), "logits"
    if kind == "BertModel":
        select = draw.one(None, 0, "last_hidden_state", *((1, "pooler_output") if model.pooler is not None else ()))
    return model, inputs, select


def spec_of(model, inputs, select, dtype):
    """The description that a proof reads of a folder with the model."""
    tensors = [[name, list(p.shape)] for name, p in model.named_parameters()]
    read = {"probe": list(inputs), "select": select, "dtype": dtype}
    return description({"trunk": described_model(model), "trunk_class": "", "tensors": tensors, **read})


def finding(kind, seed):
    """What is wrong with the rule, in words, such as :data:`IDLE`; None where it gives the model's numbers."""
    model, inputs, select = drawn(kind, seed)
    eager = model.config._attn_implementation == "eager"
    narrow = kind == "LlamaForCausalLM" or (kind == "ViTForImageClassification" and eager)
    dtype = "float32" if narrow else "float64"
    model = model.to(getattr(torch, dtype))
    inputs = {n: t.to(getattr(torch, dtype)) if t.is_floating_point() else t for n, t in inputs.items()}
    with suppress(NoRule):
        if narrow and spec_of(model, inputs, select, "float64"):
            return "it is said to compute in float64, which it does not"
    spec, names = spec_of(model, inputs, select, dtype), [name for name, _ in model.named_parameters()]
    if [name for name, _ in built_model(described_model(model)).named_parameters()] != names:
        return "another model is built of its description"
    state = {name: t for name, t in model.state_dict().items() if name in names or name in dict(model.named_buffers())}
    shapes = described(spec) or {}
    if [name for name in shapes if name in names] != names or shapes != {n: tuple(t.shape) for n, t in state.items()}:
        return f"it is said to have the tensors {shapes}"
    with torch.no_grad():
        output = model(**inputs)
    answer = output[0 if select is None else select].double().numpy()
    try:
        tube = in_tubes(spec, state, next(iter(inputs.values())), dtype)
    except Unbounded:
        return IDLE
    if tube is None or tube.value.size != answer.size:
        return f"the rule refuses it, or gives {None if tube is None else tube.shape} for {answer.shape}"
    answer = answer.reshape(tube.shape)
    if not outside(tube, answer) <= 1e-3:
        return f"off by {np.abs(tube.numbers - answer).max():.1e}, where {tube.radius.max():.1e} is the bound"
    near = 1e-4 if narrow else 1e-9
    if not np.abs(tube.numbers - answer).max() < near * max(1.0, np.abs(answer).max()):
        return "it is in a tube that says nothing"
    return None


def finding_on_a_grid(kind, seed):
    """What is wrong with the rule where activations are rounded; :data:`IDLE` where a value lies near the middle of two multiples."""
    model, inputs, select = drawn(kind, seed)
    if kind == "ViTForImageClassification" and model.config._attn_implementation == "eager":
        return IDLE  # it computes in float32 inside
    dtype = "float32" if kind == "LlamaForCausalLM" else "float64"
    model = model.to(getattr(torch, dtype))
    inputs = {n: t.to(getattr(torch, dtype)) if t.is_floating_point() else t for n, t in inputs.items()}
    x, spec = next(iter(inputs.values())), spec_of(model, inputs, select, dtype)

    def read(grid):
        machine = Machine.of(dtype, grid)
        weights = {n: Bounded(t.double().numpy(), None, machine) for n, t in model.state_dict().items()}
        number = x.double().numpy() if x.is_floating_point() else x.numpy()
        return run(spec, Bounded(number, None, machine), weights.get, indices=not x.is_floating_point())

    try:
        found, smooth = read(6), read(None)
    except NotProved:
        return IDLE
    with torch.no_grad(), stepped(model, 6):
        answer = model(**inputs)[0 if select is None else select].double().numpy().reshape(found.shape)
    if not (np.abs(found.value - answer) <= found.reach).all():
        return f"rounded, it is off by {np.abs(found.value - answer).max():.1e}"
    if not found.reach.max() < 1e-9:
        return IDLE
    return None if np.abs(smooth.value - answer).max() > 1e-6 else "it rounds nothing"
