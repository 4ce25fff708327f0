"""Every architecture that transformers can build small, as an anchored quine that prints every bit.

    python benchmarks/architectures.py                # the whole registry: hours on one core; goes on where it stopped
    python benchmarks/architectures.py --every 10     # each tenth model type
    python benchmarks/architectures.py --only vit t5  # these afresh
    python benchmarks/architectures.py --device cuda --jobs 12   # on a GPU, into architectures-cuda.json

Each model type is built from its configuration with widths of 32, two layers and a vocabulary of 128, made an anchored quine,
solved, verified, saved, loaded and verified again, in a process of its own that is ended when its time is over. Results go to
``benchmarks/results/architectures.json`` after each, and the table beside it is written from that file. Types are taken in an
order drawn at random once and for all, so that a run that is stopped leaves a fair sample.
"""

from __future__ import annotations

import argparse
import copy
import inspect
import json
import multiprocessing
import os
import random
import resource
import signal
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results" / "architectures.json"
_FORKING = threading.Lock()  # libraries refuse to be forked while another thread forks
_LARGEST = 50_000_000  # weights; what a configuration shrinks no further takes too long
_MEMORY = 6 << 30  # bytes for one of them
_UNKNOWN = "no input that is known here"
_PATIENCE = 5  # seconds by the clock for each of the processor's: others use the machine too
_SECONDS = 120  # of the processor, for building, solving, verifying, saving and loading one of them
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
_CHOSEN = ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k_experts", "experts_per_token")
SIZES: dict[str, Any] = {
    **dict.fromkeys(_WIDTHS, 32), **dict.fromkeys(_INNER, 64), **dict.fromkeys(_LAYERS, 2), **dict.fromkeys(_HEADS, 4),
    **dict.fromkeys(_LENGTHS, 64), **dict.fromkeys(_EXPERTS, 4), **dict.fromkeys(_CHOSEN, 2),
    "moe_intermediate_size": 32, "vocab_size": 128, "image_size": 32, "patch_size": 8, "use_cache": False,
}  # fmt: skip
HEADS: dict[str, Any] = {"num_key_value_heads": 2, "head_dim": 8, "d_kv": 8, "rotary_dim": 4}
TOKENS: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SMALL: tuple[dict[str, Any], ...] = (
    {**SIZES, **HEADS, **TOKENS},
    {**SIZES, **TOKENS},
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


def names() -> list[str]:
    """Every model type of the registry that has a model."""
    from transformers import CONFIG_MAPPING, MODEL_MAPPING

    found = [name for name in sorted(CONFIG_MAPPING.keys()) if CONFIG_MAPPING[name] in MODEL_MAPPING]
    random.Random(0).shuffle(found)
    return found


def small(kind: Any, sizes: dict[str, Any]) -> Any:
    """A configuration with small sizes, and those of its parts."""
    base, held = kind(), {}
    for name, value in sizes.items():
        try:
            if isinstance(getattr(base, name, ()), (int, bool, type(None))):
                held[name] = value
        except Exception:  # a configuration with sizes of its own in every layer
            continue
    parts = {k: small(type(v), sizes) for k, v in vars(base).items() if k.endswith("_config") and hasattr(v, "to_dict")}
    return kind(**held, **parts)


def probes(model: Any) -> Iterator[dict[str, Any]]:
    """Fixed inputs to try in turn: the one that a model names as its main one, and what its ``forward`` takes beside it."""
    import torch

    config, taken = model.config, inspect.signature(model.forward).parameters

    def ramp(*shape: int) -> Any:
        return torch.linspace(-1, 1, torch.Size(shape).numel()).view(shape)

    def part(name: str) -> int | None:
        return next((v for c in _parts(config) if isinstance(v := getattr(c, name, None), int)), None)

    bins = next((v for v in map(part, ("num_mel_bins", "input_feat_per_channel", "feature_size")) if v), 80)
    colors = part("num_channels") or 3
    ids = torch.tensor(_TOKENS)
    named = part("image_size")
    sides: list[int] = [named] if named else []
    sides += [side for side in _IMAGES if side != named]
    pictures = [ramp(1, colors, side, side) for side in sides]
    made: dict[str, list[Any]] = {
        "input_ids": [ids],
        "pixel_values": [*pictures, *[ramp(1, part("num_frames") or 4, colors, side, side) for side in sides]],
        "pixel_values_videos": [ramp(1, part("num_frames") or 4, colors, side, side) for side in sides],
        "input_values": [ramp(1, 800), ramp(1, 1, 800), ramp(1, part("max_length") or 64, bins), ramp(1, 1, 1920)],
        "input_features": [ramp(1, bins, 128), ramp(1, 128, bins)],
        "past_values": [ramp(1, part("context_length") or 32, part("num_input_channels") or 1), ramp(1, 32)],
        "audio_values": [ramp(1, 1, 800)],
    }
    beside = {name: value for name, value in _beside(ids).items() if name in taken}
    main = model.main_input_name if model.main_input_name in made else next((n for n in taken if n in made), None)
    if "grid_thw" in taken:  # towers that take an image as a row for each of its patches
        side = part("patch_size") or 14
        depth = part("temporal_patch_size") or 1
        rows = [ramp(16, colors * depth * side * side), ramp(16, colors, side, side)]
        first = "hidden_states" if "hidden_states" in taken else "pixel_values"
        yield from ({first: value, "grid_thw": torch.tensor([[1, 4, 4]])} | beside for value in rows)
    if main is None:
        return
    for value in made[main]:
        written = {
            k: v for k, v in beside.items() if k == "decoder_input_ids" and getattr(config, "is_encoder_decoder", False)
        }
        given = {main: value, **written}
        yield given
        yield given | beside
        others = [
            n for n in ("input_ids", "pixel_values", "input_features", "input_values") if n in taken and n != main
        ]
        for other in others:
            for second in made[other]:
                yield given | {other: second}
                yield given | beside | {other: second}


def _parts(config: Any) -> Iterator[Any]:
    """A configuration, and those inside it."""
    yield config
    for name, value in vars(config).items():
        if name.endswith("_config") and hasattr(value, "to_dict"):
            yield from _parts(value)


def _beside(ids: Any) -> dict[str, Any]:
    """What some models ask for beside their main input."""
    import torch

    return {
        "decoder_input_ids": torch.tensor([[3, 7, 9, 2]]),
        "attention_mask": torch.ones_like(ids),
        "input_features_mask": torch.ones(1, 128, dtype=torch.long),
        "bbox": torch.arange(32).view(1, 8, 4),
        "merge_sizes": torch.tensor([1]),
        "past_values_padding": torch.zeros(1, 32),
        "freq": torch.zeros(1, 1, dtype=torch.long),
    }


def _count(model: Any) -> int:
    """How many weights a model has."""
    return sum(p.numel() for p in model.parameters())


def built(name: str) -> tuple[Any, dict[str, Any]] | str:
    """A small model of a type and an input that it runs on; or why there is none."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModel

    reason = _UNKNOWN
    for sizes in SMALL:
        try:
            asked_for = small(CONFIG_MAPPING[name], sizes)
            with torch.device("meta"):  # no memory for a network that turns out to be large
                count = _count(AutoModel.from_config(copy.deepcopy(asked_for)))
            if count > _LARGEST:
                reason = reason if reason != _UNKNOWN else f"{count:,} weights"
                continue
            torch.manual_seed(0)
            model = AutoModel.from_config(asked_for).eval()
        except Exception as error:
            reason = _line(error)
            continue
        for asked in probes(model):
            try:
                with torch.no_grad():
                    model(**asked)
            except Exception as error:
                reason = _line(error)
                continue
            return model, asked
    return reason


def _line(error: Exception) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def one(name: str, device: str = "cpu") -> dict[str, Any]:
    """Build, solve, verify, save and load one model type; it is loaded on the CPU, which must print the device's bits."""
    import torch

    import neuralquine as nq

    found = built(name)
    if isinstance(found, str):
        return {"end": "not built", "reason": found}
    model, asked = found
    count = _count(model)
    torch.backends.cudnn.allow_tf32 = False  # convolutions in float32, as on the CPU that loads the quine
    start = time.process_time()
    try:
        quine = nq.Quine(model, asked, code_size=16, seed=0, skip=0.05, code_bits=8).to(device)
        solution = nq.solve(quine, throw=False, exact=True)
        found = nq.verify(quine)
        with tempfile.TemporaryDirectory() as folder:
            nq.save(quine, Path(folder) / "q")
            again = nq.load(Path(folder) / "q", trunk=model)
            kept = torch.equal(again.printed(), quine.theta.cpu()) if solution.bit_exact else True
    except Exception as error:
        return {"end": "refused", "weights": count, "reason": _line(error)}
    good = solution.bit_exact and found.is_quine and kept
    return {
        "end": "exact" if good else "failed",
        "weights": count,
        "status": solution.status.name.lower(),
        "evaluations": solution.map_evaluations,
        "self_sensitivity": solution.self_sensitivity,
        "reason": "" if good else _why(found, solution, kept),
        "seconds": round(time.process_time() - start, 2),
    }  # fmt: skip


def _why(found: Any, solution: Any, kept: bool) -> str:
    """What is missing of a quine that is exact, verified and kept."""
    if solution.bit_exact and not kept:
        return "the CPU, which loads it, prints other bits"
    return "; ".join(found.trivial)[:300] or solution.detail[:300]


def _told(name: str, seconds: float, device: str, answer: Any) -> None:
    """Run one in this process, within its processor time and memory, and send what came of it."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
    if device == "cpu":  # a GPU's driver maps more than there is
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    warnings.filterwarnings("ignore")
    answer.send(one(name, device))


def apart(name: str, seconds: float, device: str = "cpu") -> dict[str, Any]:
    """The same in a process of its own, for so many seconds of its processor and a few times as many by the clock."""
    process = multiprocessing.get_context("fork")
    mine, its = process.Pipe(duplex=False)
    child = process.Process(target=_told, args=(name, seconds, device, its))
    with _FORKING:
        child.start()
    its.close()
    late = not mine.poll(_PATIENCE * seconds)
    try:
        result = None if late else mine.recv()
    except EOFError:
        result = None
    if child.is_alive() and result is None:
        child.kill()
    child.join()
    if result is not None:
        return result
    over = late or child.exitcode == -signal.SIGXCPU
    return {"end": "failed", "reason": f"did not end in {seconds:.0f} s" if over else f"it ended with {child.exitcode}"}


def table(results: dict[str, dict[str, Any]], registered: int, device: str) -> str:
    """The counts, and a row for each that is not exact."""
    ends = Counter(r["end"] for r in results.values())
    built = sum(ends.values()) - ends["not built"]
    share = f"{ends['exact']} of {built} ({ends['exact'] / max(1, built):.1%})"
    lines = [
        "# Architectures" if device == "cpu" else f"# Architectures on {device}",
        "",
        f"Written by `python benchmarks/architectures.py --device {device}`.",
        "",
        f"Tried: {len(results)} of {registered} model types, in an order drawn at random. Of those that can be built small,",
        f"exact, verified, saved and loaded: **{share}**;",
        f"failed {ends['failed']}, refused {ends['refused']}, not built {ends['not built']}.",
        "",
        "| model type | end | weights | reason |",
        "|---|---|---|---|",
    ]
    for name, r in sorted(results.items()):
        if r["end"] in ("failed", "refused"):
            lines.append(f"| {name} | {r['end']} | {r.get('weights', 0):,} | {r['reason'].replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], help="these model types, afresh")
    parser.add_argument("--every", type=int, default=1, help="each so many-th model type")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="for each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--results", type=Path, help="where the results are kept; by default beside this file")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: what forks must have no threads
    import transformers  # noqa: F401  (once, before the processes fork)

    import neuralquine  # noqa: F401

    place = options.results or (
        RESULTS if options.device == "cpu" else RESULTS.with_stem(f"{RESULTS.stem}-{options.device}")
    )
    results = json.loads(place.read_text()) if place.exists() else {}
    registered = len(names())
    asked = [name for name in options.only or names()[:: options.every] if options.only or name not in results]
    with ThreadPool(options.jobs) as pool:  # each waits for a process
        for name, result in pool.imap_unordered(
            lambda name: (name, apart(name, options.seconds, options.device)), asked
        ):
            results[name] = result
            print(name, result["end"], result.get("seconds", ""), result.get("reason", ""), flush=True)
            place.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
            place.with_suffix(".md").write_text(table(results, registered, options.device))


if __name__ == "__main__":
    main()
