"""Every architecture that transformers can build small, as an anchored quine that prints every bit.

    python benchmarks/architectures.py                # the whole registry: hours on one core; goes on where it stopped
    python benchmarks/architectures.py --every 10     # each tenth model type
    python benchmarks/architectures.py --only vit t5  # these afresh

Each model type is built from its configuration with widths of 32, two layers and a vocabulary of 128, made an anchored quine,
solved, verified, saved, loaded and verified again, in a process of its own that is ended when its time is over. Results go to
``benchmarks/results/architectures.json`` after each, and the table beside it is written from that file. Types are taken in an
order drawn at random once and for all, so that a run that is stopped leaves a fair sample.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import os
import random
import resource
import signal
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results" / "architectures.json"
_LARGEST = 5_000_000  # weights; what a configuration shrinks no further is not a small network
_MEMORY = 6 << 30  # bytes for one of them
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
SMALL: dict[str, Any] = {
    **dict.fromkeys(_WIDTHS, 32), **dict.fromkeys(_INNER, 64), **dict.fromkeys(_LAYERS, 2), **dict.fromkeys(_HEADS, 4),
    **dict.fromkeys(_LENGTHS, 64), **dict.fromkeys(_EXPERTS, 4),
    "num_key_value_heads": 2, "moe_intermediate_size": 32, "head_dim": 8, "d_kv": 8, "vocab_size": 128, "image_size": 32,
    "patch_size": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "use_cache": False,
}  # fmt: skip
_TOKENS = [[5, 9, 17, 3, 44, 8, 21, 2]]


def names() -> list[str]:
    """Every model type of the registry that has a model."""
    from transformers import CONFIG_MAPPING, MODEL_MAPPING

    found = [name for name in sorted(CONFIG_MAPPING.keys()) if CONFIG_MAPPING[name] in MODEL_MAPPING]
    random.Random(0).shuffle(found)
    return found


def small(kind: Any) -> Any:
    """A configuration with small sizes, and those of its parts."""
    base = kind()
    held = {k: v for k, v in SMALL.items() if isinstance(getattr(base, k, ()), (int, bool, type(None)))}
    parts = {k: small(type(v)) for k, v in vars(base).items() if k.endswith("_config") and hasattr(v, "to_dict")}
    return kind(**held, **parts)


def probe(model: Any) -> dict[str, Any] | None:
    """A fixed input of the kind that a model names as its main one; None where there is no such kind here."""
    import torch

    ramp = lambda *shape: torch.linspace(-1, 1, torch.Size(shape).numel()).view(shape)  # noqa: E731
    bins = getattr(model.config, "num_mel_bins", 80)
    made = {
        "input_ids": lambda: torch.tensor(_TOKENS),
        "pixel_values": lambda: ramp(1, getattr(model.config, "num_channels", 3), 32, 32),
        "input_values": lambda: ramp(1, 800),
        "input_features": lambda: ramp(1, bins, 128),
    }
    if model.main_input_name not in made:
        return None
    given = {model.main_input_name: made[model.main_input_name]()}
    if getattr(model.config, "is_encoder_decoder", False):
        given["decoder_input_ids"] = torch.tensor([[3, 7, 9, 2]])
    return given


def _count(model: Any) -> int:
    """How many weights a model has."""
    return sum(p.numel() for p in model.parameters())


def one(name: str) -> dict[str, Any]:
    """Build, solve, verify, save and load one model type."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModel

    import neuralquine as nq

    torch.manual_seed(0)
    try:
        asked_for = small(CONFIG_MAPPING[name])
        with torch.device("meta"):  # no memory for a network that turns out to be large
            count = _count(AutoModel.from_config(copy.deepcopy(asked_for)))
        if count > _LARGEST:
            return {"end": "not built", "reason": f"{count:,} weights"}
        model = AutoModel.from_config(asked_for).eval()
        count = _count(model)
        asked = probe(model)
        if asked is None:
            return {"end": "not built", "reason": f"its main input is {model.main_input_name}"}
        with torch.no_grad():
            model(**asked)
    except Exception as error:
        return {"end": "not built", "reason": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
    start = time.process_time()
    try:
        quine = nq.Quine(model, asked, code_size=16, seed=0, skip=0.05, code_bits=8)
        solution = nq.solve(quine, throw=False, exact=True)
        found = nq.verify(quine)
        with tempfile.TemporaryDirectory() as folder:
            nq.save(quine, Path(folder) / "q")
            again = nq.load(Path(folder) / "q", trunk=model)
            kept = torch.equal(again.printed(), quine.theta) if solution.bit_exact else True
    except Exception as error:
        return {"end": "refused", "weights": count, "reason": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    good = solution.bit_exact and found.is_quine and kept
    return {
        "end": "exact" if good else "failed",
        "weights": count,
        "status": solution.status.name.lower(),
        "evaluations": solution.map_evaluations,
        "self_sensitivity": solution.self_sensitivity,
        "reason": "" if good else "; ".join(found.trivial)[:300] or solution.detail[:300] or f"kept: {kept}",
        "seconds": round(time.process_time() - start, 2),
    }  # fmt: skip


def _told(name: str, seconds: float, answer: Any) -> None:
    """Run one in this process, within its processor time and memory, and send what came of it."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    warnings.filterwarnings("ignore")
    answer.send(one(name))


def apart(name: str, seconds: float) -> dict[str, Any]:
    """The same in a process of its own, for so many seconds of its processor and a few times as many by the clock."""
    process = multiprocessing.get_context("fork")
    mine, its = process.Pipe(duplex=False)
    child = process.Process(target=_told, args=(name, seconds, its))
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


def table(results: dict[str, dict[str, Any]]) -> str:
    """The counts, and a row for each that is not exact."""
    ends = Counter(r["end"] for r in results.values())
    built = sum(ends.values()) - ends["not built"]
    share = f"{ends['exact']} of {built} ({ends['exact'] / max(1, built):.1%})"
    lines = [
        "# Architectures",
        "",
        "Written by `python benchmarks/architectures.py` from `architectures.json`.",
        "",
        f"Tried: {len(results)} model types. Of those that can be built small, exact, verified, saved and loaded: **{share}**;",
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
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: what forks must have no threads
    import transformers  # noqa: F401  (once, before the processes fork)

    import neuralquine  # noqa: F401

    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in options.only or names()[:: options.every]:
        if name in results and name not in options.only:
            continue
        results[name] = apart(name, options.seconds)
        print(name, results[name]["end"], results[name].get("seconds", ""), results[name].get("reason", ""), flush=True)
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
        RESULTS.with_suffix(".md").write_text(table(results))


if __name__ == "__main__":
    main()
