"""A small model of any model type of ``transformers``, and an input that it runs on.

Configurations are shrunk in two ways. The first sets what is known by its name: widths of 32, two layers, a vocabulary of 128.
Where a model ties its sizes to each other so that these do not go together, or has others beside them, the second divides
every width by one number, those of its parts and of its lists too, so that whatever divided another one still does. Both are
tried with more and fewer of the fields, and the first that is cheap is taken, else the cheapest: what a forward pass costs
is counted in operations, which are the same on every machine.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

LARGEST = 50_000_000  # weights; what a configuration shrinks no further takes too long
_CHEAP = (
    4_000_000,
    1_000_000_000,
)  # weights and operations of a forward pass with which a trial takes some ten seconds
_EACH = 8  # operations of a product in whose time a processor writes one number that is no product's
_UNKNOWN = "no input that is known here"
_WIDTHS = (
    "hidden_size",
    "d_model",
    "n_embd",
    "dim",
    "embedding_size",
    "word_embed_proj_dim",
    "projection_dim",
    "embed_dim",
)
_INNER = (
    "intermediate_size",
    "d_ff",
    "ffn_dim",
    "encoder_ffn_dim",
    "decoder_ffn_dim",
    "hidden_dim",
    "n_inner",
    "ffn_hidden_size",
)
_LAYERS = (
    "num_hidden_layers",
    "n_layer",
    "num_layers",
    "n_layers",
    "encoder_layers",
    "decoder_layers",
    "num_encoder_layers",
    "num_decoder_layers",
    "depth",
)
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads", "decoder_attention_heads")
_LENGTHS = ("max_position_embeddings", "n_positions", "max_source_positions", "max_target_positions")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
_CHUNKS = ("chunk_size", "mamba_chunk_size")  # of a scan: what is shorter is filled up to it
_CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts", "experts_per_token")
SIZES: dict[str, Any] = {
    **dict.fromkeys(_WIDTHS, 32), **dict.fromkeys(_INNER, 64), **dict.fromkeys(_LAYERS, 2), **dict.fromkeys(_HEADS, 4),
    **dict.fromkeys(_LENGTHS, 64), **dict.fromkeys(_EXPERTS, 4), **dict.fromkeys(_CHOSEN, 2),
    **dict.fromkeys(_CHUNKS, 16),
    "moe_intermediate_size": 32, "vocab_size": 128, "prediction_length": 4, "image_size": 32, "patch_size": 8, "use_cache": False,
}  # fmt: skip
HEADS: dict[str, Any] = {"num_key_value_heads": 2, "head_dim": 8, "d_kv": 8, "rotary_dim": 4}
TOKENS: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SMALL: tuple[dict[str, Any], ...] = (
    {**SIZES, **HEADS, **TOKENS},
    {**SIZES, **TOKENS},
    {**SIZES, **HEADS, **TOKENS, "mrope_section": [2, 1, 1]},
    {**SIZES, **HEADS, **TOKENS, "mrope_section": [1, 1, 0]},
    {k: v for k, v in {**SIZES, **TOKENS}.items() if k not in (*_LENGTHS, *_HEADS, "patch_size", "image_size")},
    {k: v for k, v in {**SIZES, **HEADS}.items() if k not in (*_INNER, *_LENGTHS, "patch_size", "image_size")},
    {k: v for k, v in {**SIZES, **TOKENS}.items() if k not in _LAYERS},
    {k: v for k, v in SIZES.items() if k in (*_LAYERS, "vocab_size")},
    {"vocab_size": SIZES["vocab_size"]},
    {},
)
"""Sizes to try in turn: a configuration may hold one to another, or refuse a field to be set."""
_TOKENS = [[5, 9, 17, 3, 44, 8, 21, 2]]
_IMAGES = (32, 64, 224)  # sides of an image to try in turn, where a configuration names none


_DIVIDED = re.compile(r"hidden|dims?$|dim_|width|channel|embd|d_model|d_ff|d_kv|d_inner|d_head|headdim|rank|units|filters|ffn|inner|"
                      r"intermediate|d_ssm|_size$|mrope_section|pos_feats|_groups$|feature_size$|proj")  # fmt: skip
_KEPT = re.compile(r"vocab|patch|ima?ge?_|window|kernel|stride|chunk|layers|heads|token|state|max|min|block|merge|pool|grid|"
                   r"bucket|batch|queue|context|codebook_size|num_channels|audio_channels|padding|dilation|ratio|rate|factor|index|"
                   r"position|crop|temporal|sliding|local|type|n_group|topk|crf|feature_sizes|expand|mel")  # fmt: skip
_DEPTHS = re.compile(r"(layers?|depths?|num_blocks|encoder_blocks|blocks_per_stage|stage_numb_of_layers)$")
_NO_DEPTHS = re.compile(
    r"per_|feature|dense|window|adapter|conv_pos|nextn|feat_extract|residual|lstm|mlp|head_depth|rope|attn"
)
_PICTURES = re.compile(r"image_size|img_size|image_embedding_size|feature_sizes|feat_sizes")
_TABLES = re.compile(r"vocab|codebook_size$|^num_embeddings$")
_TOKEN = re.compile(r"(token_id|token_index)$")
_OFTEN = 3  # times that a model may be refused for one reason before other sizes of its kind are left
_BY = (32, 16, 8, 4, 2)  # widths are divided by one of these
_DEPTH = (2, 4)  # layers that are left


def set_small(kind: Any, sizes: dict[str, Any]) -> Any:
    """A configuration with small sizes by name, and those of its parts."""
    base, held = kind(), {}
    for name, value in sizes.items():
        try:
            had = getattr(base, name, ())
            if name == "image_size" and isinstance(had, list | tuple):  # height and width
                held[name] = type(had)(value for _ in had)
            elif isinstance(had, (int, bool, type(None))):
                held[name] = min(had, value) if name in (*_CHOSEN, *_CHUNKS) and had else value
        except Exception:  # a configuration with sizes of its own in every layer
            continue
    if "mrope_section" in sizes and isinstance(rope := getattr(base, "rope_parameters", None), dict):
        held["rope_parameters"] = rope | {"mrope_section": sizes["mrope_section"]}
    return _made(kind, held, _parts_by(base, lambda part: set_small(part, sizes)))


def divided(kind: Any, by: int, depth: int, side: int) -> Any:
    """A configuration whose widths are divided by one number, and those of its parts, with so many layers."""
    base = kind()
    held = {}
    for name, value in vars(base).items():
        new = _less(name, value, by, depth, side) if not name.startswith("_") else value
        if new != value:
            held[name] = new
    return _made(kind, held, _parts_by(base, lambda part: divided(part, by, depth, side)))


def _made(kind: Any, held: dict[str, Any], parts: dict[str, Any]) -> Any:
    """A configuration with these fields: what it refuses to be given is named in its error, and left as it is."""
    while True:
        try:
            return kind(**held, **parts)
        except Exception as error:
            refused = [name for name in held if re.search(rf"\b{name}\b", str(error))]
            if not refused:
                raise
            held = {name: value for name, value in held.items() if name not in refused}


def _parts_by(base: Any, make: Callable[[Any], Any]) -> dict[str, Any]:
    """The configurations inside one, made smaller; a backbone hands on the same stages as before."""
    parts = {}
    for name, part in vars(base).items():
        if hasattr(part, "to_dict") and hasattr(part, "model_type"):
            parts[name] = make(type(part))
            stages = getattr(part, "out_features", None)
            if stages and set(stages) <= set(getattr(parts[name], "stage_names", ())):
                parts[name].out_features = stages
    return parts


def _less(name: str, value: Any, by: int, depth: int, side: int) -> Any:
    """A field's smaller value: a number's, or that of each in a list or a table."""
    if isinstance(value, bool):
        return value
    if isinstance(value, list | tuple):
        return type(value)(_less(name, v, by, depth, side) for v in value)
    if isinstance(value, dict):
        return {k: _less(k, v, by, depth, side) if isinstance(k, str) else v for k, v in value.items()}
    if not isinstance(value, int):
        return value
    if name == "num_kv_shared_layers":
        return 0
    if name in _EXPERTS or (name.endswith("_experts") and value > 8):
        return min(value, 4)
    if name in _CHOSEN:
        return min(value, 2)
    if name in ("n_group", "topk_group"):
        return 1
    if name.endswith("chunk_size"):
        return min(value, 16)
    if name in _LENGTHS:
        return min(value, 512)
    if _TOKEN.search(name):
        return value if value < 100 else 100 + value % 28
    if _TABLES.search(name):
        return min(value, 128)
    if _DEPTHS.search(name) and not _NO_DEPTHS.search(name):
        return min(value, depth)
    if _PICTURES.search(name):
        return value // side if value % side == 0 and value >= 8 * side else value
    wide = _DIVIDED.search(name) and not _KEPT.search(name)
    return value // by if wide and value % by == 0 and value >= 2 * by else value


def probes(model: Any) -> Iterator[dict[str, Any]]:
    """Fixed inputs to try in turn: the one that a model names as its main one, and what its ``forward`` takes beside it."""
    import torch

    config, taken = model.config, inspect.signature(model.forward).parameters
    ids = torch.tensor(_TOKENS)
    made = _main_inputs(config, ids)
    known = _beside(config, ids)
    beside = {name: value for name, value in known.items() if name in taken}
    needed = {n: known[n] for n, p in taken.items() if p.default is p.empty and n in known}
    named = model.main_input_name if isinstance(model.main_input_name, list) else [model.main_input_name]  # or several
    main = next((n for n in (*named, *taken) if n in made and n in taken), None)
    if "grid_thw" in taken:  # towers that take an image as a row for each of its patches
        side = _size(config, "patch_size") or 14
        depth, colors = _size(config, "temporal_patch_size") or 1, _size(config, "num_channels") or 3
        rows = [_ramp(16, colors * depth * side * side), _ramp(16, colors, side, side)]
        first = "hidden_states" if "hidden_states" in taken else "pixel_values"
        yield from ({first: value, "grid_thw": torch.tensor([[1, 4, 4]])} | beside for value in rows)
    if main is None:
        return
    always = ("noise", "decoder_input_ids") if getattr(config, "is_encoder_decoder", False) else ("noise",)
    written = {k: v for k, v in beside.items() if k in always}
    for value in made[main]:
        given = {main: value, **written, **needed}
        yield given
        if set(beside) - set(given):
            yield given | beside
        others = [
            n for n in ("input_ids", "pixel_values", "input_features", "input_values") if n in taken and n != main
        ]
        for other in others:
            for second in made[other][:3]:
                yield given | {other: second}
                if set(beside) - set(given):
                    yield given | beside | {other: second}
        if "image_embeds" in taken and main != "pixel_values":  # patches, where those of an image are drawn at random
            rows = _size(config, "hidden_size") or 32
            yield given | {"image_embeds": _ramp(1, 16, rows), "pixel_mask": torch.ones(1, 16, dtype=torch.long)}


def _ramp(*shape: int) -> Any:
    import torch

    return torch.linspace(-1, 1, torch.Size(shape).numel()).view(shape)


def _size(config: Any, name: str) -> int | None:
    """A size by its name, in a configuration or the first of its parts that has it."""
    return next((v for c in _parts(config) if isinstance(v := getattr(c, name, None), int) and v), None)


def _main_inputs(config: Any, ids: Any) -> dict[str, list[Any]]:
    """What each main input may look like, in turn."""
    bins = next(
        (v for n in ("num_mel_bins", "input_feat_per_channel", "feature_projection_input_dim", "feature_size", "input_size")
         if (v := _size(config, n))), 80,
    )  # fmt: skip
    colors = _size(config, "num_channels") or 3
    frames = _size(config, "num_frames") or 4
    sides = list(dict.fromkeys(_sides(config)))[:2] or [(side, side) for side in _IMAGES]
    pictures = [_ramp(1, colors, *side) for side in sides]
    films = [_ramp(1, count, colors, *side) for side in sides[:1] for count in dict.fromkeys((frames, 2))]
    window = 2 * (_size(config, "n_window") or 50)
    return {
        "input_ids": [ids, ids[..., None].expand(1, 8, _size(config, "num_codebooks") or 9).contiguous()],
        "pixel_values": [*pictures, *films, *([_ramp(1, 1, *side) for side in sides[:1]] if colors != 1 else [])],
        "pixel_values_videos": films,
        "input_values": [
            _ramp(1, 800), _ramp(1, 1, 800), _ramp(1, _size(config, "max_length") or 64, bins), _ramp(1, 1920), _ramp(1, 1, 1920),
            _ramp(1, 8, _size(config, "hidden_size") or 32),
        ],
        "input_features": [
            _ramp(1, bins, 128), _ramp(1, 128, bins), _ramp(1, bins, window), _ramp(1, 1, 128, bins), _ramp(1, 1, 1024, bins),
            _ramp(1, 128, _size(config, "input_size") or 560),
        ],
        "past_values": [_ramp(1, _size(config, "context_length") or 32, _size(config, "num_input_channels") or 1), _ramp(1, 32)],
        "audio_values": [_ramp(1, 1, 800), _ramp(1, 1, 1920)],
        "inputs": [_ramp(1, 8, _size(config, "d_model") or 32)],
        "inputs_embeds": [_ramp(1, 8, _size(config, "backbone_hidden_size") or _size(config, "hidden_size") or 32)],
        "states": [_ramp(1, 4, _size(config, "state_dim") or 17)],
    }  # fmt: skip


def _sides(config: Any) -> list[tuple[int, int]]:
    """The sides of the images that a configuration and its parts name."""
    found = []
    for part in _parts(config):
        match getattr(part, "image_size", None):
            case int(side) if side:
                found.append((side, side))
            case [int(high), int(wide)]:
                found.append((high, wide))
    return found


def _parts(config: Any) -> Iterator[Any]:
    """A configuration, and those inside it."""
    yield config
    for value in vars(config).values():
        if hasattr(value, "to_dict") and hasattr(value, "model_type"):
            yield from _parts(value)


def _beside(config: Any, ids: Any) -> dict[str, Any]:
    """What some models ask for beside their main input."""
    import torch

    width, side = _size(config, "hidden_size") or 32, (_sides(config) or [(32, 32)])[0]
    long = (_size(config, "context_length") or 24) + max(getattr(config, "lags_sequence", None) or [7])
    patch = _size(config, "patch_size") or 8
    pixels = 3 * patch**2
    return {
        "decoder_input_ids": torch.tensor([[3, 7, 9, 2]]),
        "attention_mask": torch.ones_like(ids),
        "input_features_mask": torch.ones(1, 128, dtype=torch.long),
        "bbox": torch.arange(32).view(1, 8, 4),
        "merge_sizes": torch.tensor([1]),
        "past_values_padding": torch.zeros(1, 32),
        "freq": torch.zeros(1, 1, dtype=torch.long),
        "query_embeds": _ramp(1, 8, width),
        "task_inputs": _ramp(1, _size(config, "task_seq_len") or 77),
        "noise": _ramp(1, (side[0] // patch) * (side[1] // patch)),
        "qformer_input_ids": ids,
        "visual_feats": _ramp(1, 4, _size(config, "visual_feat_dim") or 2048),
        "visual_pos": _ramp(1, 4, 4),
        "prompt_pixel_values": -_ramp(1, 3, *side),
        "prompt_masks": _ramp(1, 3, *side),
        "pixel_position_ids": torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij"), -1).view(1, 16, 2),
        "pixel_attention_mask": torch.ones(1, 16, dtype=torch.long),
        "spatial_shapes": torch.tensor([[4, 4]]),
        "grid_thw": torch.tensor([[1, 4, 4]]),
        "past_time_features": torch.zeros(1, long, 0),
        "past_observed_mask": torch.ones(1, long),
        "future_time_features": torch.zeros(1, 4, 0),
        "actions": _ramp(1, 4, _size(config, "act_dim") or 4),
        "rewards": _ramp(1, 4, 1),
        "returns_to_go": _ramp(1, 4, 1),
        "timesteps": torch.arange(4)[None],
        "action_embeds": _ramp(1, 4, width),
        "pixel_rows": _ramp(1, 16, pixels),
    }  # fmt: skip


def count(model: Any) -> int:
    """How many weights a model has."""
    return sum(p.numel() for p in model.parameters())


def _ways(kind: Any) -> list[list[Callable[[], Any]]]:
    """Ways to a small configuration of a type, by how much they leave as it was."""
    named = [lambda sizes=sizes: set_small(kind, sizes) for sizes in SMALL]
    shrunk = [lambda by=by, depth=depth: divided(kind, by, depth, 4) for by in _BY for depth in _DEPTH]
    whole = [lambda by=by, depth=depth: divided(kind, by, depth, 1) for by in _BY for depth in _DEPTH]
    return [named[:2], shrunk, whole, named[2:]]


def built(name: str) -> tuple[Any, dict[str, Any]] | str:
    """A small model of a type and an input that it runs on; or why there is none."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModel

    best, least, reason = None, float("inf"), _UNKNOWN
    refused: Counter[str] = Counter()
    for number, ways in enumerate(_ways(CONFIG_MAPPING[name])):
        refused.clear()
        for way in ways:
            if refused[_shape_of(reason)] >= _OFTEN:  # other sizes change nothing
                break
            try:
                asked_for = way()
                with torch.device("meta"):  # no memory for a network that turns out to be large
                    weights = count(AutoModel.from_config(copy.deepcopy(asked_for)))
                if weights > LARGEST:
                    reason = reason if reason != _UNKNOWN else f"{weights:,} weights"
                    continue
                if weights / _CHEAP[0] >= least:
                    continue
                torch.manual_seed(0)
                model = AutoModel.from_config(asked_for).eval()
            except Exception as error:
                reason = line(error) if reason == _UNKNOWN else reason
                continue
            asked = _runs(model)
            if isinstance(asked, str):
                reason = asked
                refused[_shape_of(reason)] += 1
                continue
            given, operations = asked
            if (cost := weights / _CHEAP[0] + operations / _CHEAP[1]) < least:
                best, least = (model, given), cost
            if weights <= _CHEAP[0] and operations <= _CHEAP[1]:
                return model, given
        if best is not None and number > 0:
            break
    return best or reason


def _shape_of(reason: str) -> str:
    """A reason without its numbers."""
    return re.sub(r"\d+", "0", reason)


def _runs(model: Any) -> tuple[dict[str, Any], int] | str:
    """The first input that a model runs on without drawing random numbers, else the first, and how much work that takes.

    The work is counted in operations of products; where it runs on none, the reason is that of the first.
    """
    import torch

    reason, drawing = None, None
    for asked in probes(model):
        before = torch.get_rng_state()
        try:
            with torch.no_grad(), _counted() as counted:
                model(**asked)
        except Exception as error:
            reason = reason or line(error)
            continue
        if torch.equal(torch.get_rng_state(), before):
            return asked, counted.operations
        drawing = drawing or (asked, counted.operations)
    return drawing or reason or _UNKNOWN


def _counted() -> Any:
    """A mode that counts the operations that run in it: those of products, and the numbers that all others write."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry, sdpa_flop_count

    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

    class Counted(TorchDispatchMode):
        operations = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if func._overloadpacket is attention:
                self.operations += sdpa_flop_count(*(tensor.shape for tensor in args[:3]))
            elif func._overloadpacket in flop_registry:
                self.operations += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
            elif isinstance(out, torch.Tensor) and not func.is_view:
                self.operations += _EACH * out.numel()
            return out

    return Counted()


def line(error: Exception) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
