"""A fuzzer of folders that knows their structure: forged consistently, inside and outside, with a hash that fits.

    python tests/attacks/fuzz.py WORK FIRST COUNT

forges folders FIRST .. FIRST + COUNT from the honest ones in WORK and loads each; what loads is verified as well. One line
of JSON says what became of each: ``refused``, ``loaded`` (with the verdict) or ``traceback``. The same number is the same
folder for ever. The process takes no more than 4 GiB, and an alarm ends it where one folder takes longer than 20 s of the processor.
"""

import copy
import hashlib
import json
import random
import resource
import shutil
import signal
import struct
import sys
import traceback
from pathlib import Path

import torch
from torch import nn

import neuralquine as nq
from neuralquine.files.strict_json import canonical

SECONDS, BYTES = 20, 4 << 30
VALUES = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 8, 16, 20, 60, 64, 1000, 4096, 2**20, 2**31, 2**40, 2**63, 2**64, -(2**63)),
    *(10**400, -(10**400), 0.0, -0.0, 0.5, 1.0, 1e-320, 1e-30, 1e30, 1e36, 1e155, 1e300, 1e308, -1e308),
    *("", "x", "gaussian", "hadamard", "direct", "tape", "projection", "table", "float16", "bfloat16", "float8_e4m3fn"),
    *("os.system", "Linear", "Sequential", "a\nb", "\x1b[2K", "\ud800", "é" * 70, "weight", "../../etc/passwd"),
    *([], {}, [[]], [0], [1, 1], [2**30, 2**30], {"function": True}, {"kind": "signs", "repeats": 2}, ["a", [1]]),
)
SIZES = (0, 1, 2, 3, 7, 16, 100, 1000, 1024, 5000, 10**5, 10**6, 10**9, 2**39)
TYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL", "U64", "F8_E4M3", "C64", "F4", "XX")
NAMES = (
    "gpt2",
    "blog",
    "chang-lipson",
    "fletcher-rnn",
    "elman",
    "transformer",
    "queried-121",
    "cnn",
    "no-such",
    "llama-8b",
)
LAYERS = (
    {"type": "RNN", "arguments": dict(zip(("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
     "bidirectional", "nonlinearity"), (1, 1, 10**6, True, True, 0.0, True, "tanh"), strict=True))},
    {"type": "neuralquine.CausalTransformer", "arguments": {"vocabulary": 4, "width": 4, "layers": 1000, "heads": 1}},
    {"type": "AdaptiveAvgPool2d", "arguments": {"output_size": [1024, 1024]}},
    {"type": "AdaptiveAvgPool1d", "arguments": {"output_size": 10**9}},
    {"type": "Unflatten", "arguments": {"dim": 1, "unflattened_size": [1, -1]}},
    {"type": "Softmax", "arguments": {"dim": 9}},
    {"type": "Dropout", "arguments": {"p": 7.0}},
    {"type": "Identity", "arguments": {}},
    {"type": "Flatten", "arguments": {"start_dim": 0, "end_dim": -1}},
)  # fmt: skip


def make(work):
    """Write the honest folders: one of each kind of quine and of network, as small as they can be."""
    torch.manual_seed(0)
    image = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    norm = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.LayerNorm(4))
    encoder = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    body = nq.Body(nn.Sequential(nn.Linear(4, 16), nn.ReLU()), nn.Linear(16, 3))
    asked = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    quines = {
        "image": nq.Quine(image, torch.randn(1, 1, 4, 4), code_size=8),
        "norm": nq.Quine(norm, torch.randn(2, 3), code_size=4, skip=0.1, code_bits=10),
        "recurrent": nq.Quine(nn.LSTM(2, 3, batch_first=True), torch.randn(1, 3, 2), code_size=6, select=0),
        "encoder": nq.Quine(encoder, torch.randn(1, 3, 4), code_size=6, expansion="hadamard"),
        "taped": nq.TaskQuine(body, (4, 4), code_size=16),
        "asked": nq.QueryQuine(asked, "projection"),
        "tokens": nq.Quine(nn.Sequential(nn.Embedding(6, 4), nn.Flatten()), torch.tensor([[1, 2, 3]]), code_size=12),
        "named": nq.recipe("queried-121"),
        "blog": nq.recipe("blog"),
    }
    for name, quine in quines.items():
        if name == "blog":
            nq.solve(quine)
        nq.save(quine, work / "honest" / name)


def places(value, path=()):
    """Every place of a JSON value, as the keys that lead to it."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def change_config(rng, config):
    """Change one place of the configuration."""
    *way, last = rng.choice([p for p in places(config) if p])
    holder = config
    for key in way:
        holder = holder[key]
    kind = rng.randrange(8)
    if kind == 0:
        del holder[last]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(last, copy.deepcopy(holder[last]))
    elif kind == 2 and isinstance(holder[last], int):
        holder[last] = rng.choice(SIZES)
    elif kind == 3 and isinstance(holder[last], dict | list):
        holder[last] = copy.deepcopy(rng.choice(LAYERS))
    elif kind == 4:
        config["trunk"], config["recipe"] = None, recipe_of(rng)
    else:
        holder[last] = copy.deepcopy(rng.choice(VALUES))


def recipe_of(rng):
    """A recipe with absurd options."""
    options = {
        rng.choice(("layers", "width", "size", "code_size", "alpha", "clock", "dtype", "x")): rng.choice(
            (*VALUES, *SIZES)
        )
    }
    return {
        "name": rng.choice((*NAMES, rng.choice(VALUES))),
        "seed": rng.choice((0, 1, -1, 2**70, "a", None)),
    } | options


def change_tensors(rng, header, data):
    """Change the type, the shape, the name or the numbers of one tensor."""
    name = rng.choice(sorted(header))
    entry, kind = header[name], rng.randrange(6)
    if kind == 0:
        entry["dtype"] = rng.choice(TYPES)
    elif kind == 1:
        entry["shape"] = rng.choice(([], [0], [1], entry["shape"][::-1], [*entry["shape"], 1], [2**40], [-1]))
    elif kind == 2:
        header[rng.choice(("trunk.x", "probe.0", "probe.1", "a\nb", name + " "))] = header.pop(name)
    elif kind == 3:
        del header[name]
    else:
        begin, end = entry["data_offsets"]
        value = rng.choice((float("nan"), float("inf"), 1e308, -1e300, 1e160, 1e-310, 0.0, -0.0, 1.0, 1e20))
        count = (end - begin) // 8
        if count:
            first = rng.randrange(count) if kind == 4 else 0
            last = first + 1 if kind == 4 else count
            data[begin + 8 * first : begin + 8 * last] = struct.pack("<d", value) * (last - first)


def forge(work, number):
    """Write the folder of a number and return where."""
    rng = random.Random(number)
    source = work / "honest" / rng.choice(sorted(p.name for p in (work / "honest").iterdir()))
    raw = (source / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8 : 8 + length]), bytearray(raw[8 + length :])
    config = json.loads(header.pop("__metadata__")["neuralquine"])
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if rng.random() < 0.75:
            change_config(rng, config)
        elif header:
            change_tensors(rng, header, data)
    if rng.random() < 0.5 and isinstance(config.get("tensors"), list):  # lists and tensors that fit each other
        shapes = {n.removeprefix("trunk."): t["shape"] for n, t in header.items() if n.startswith("trunk.")}
        known = [t for t in config["tensors"] if isinstance(t, list) and t and isinstance(t[0], str) and t[0] in shapes]
        config["tensors"] = [[t[0], shapes[t[0]]] for t in known]
    header["__metadata__"] = {"neuralquine": canonical(config)}
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    folder = work / f"forged-{number}"
    folder.mkdir()
    weights = struct.pack("<Q", len(text)) + text + bytes(data)
    (folder / "model.safetensors").write_bytes(weights)
    stated = canonical(config | {"weights_sha256": hashlib.sha256(weights).hexdigest()})
    (folder / "config.json").write_bytes(stated.encode("utf-8", "surrogatepass"))
    return folder


def tried(folder):
    """What becomes of a folder."""
    try:
        quine = nq.load(folder)
    except nq.QuineFileError as error:
        text = str(error)
        return {"end": "refused" if text.isprintable() and len(text) < 1100 else "ugly", "text": text[:200]}
    try:
        verification = nq.verify(quine, tries=3)
        nq.spectrum(quine)
    except nq.NeuralQuineError as error:
        return {"end": "loaded", "quine": False, "text": str(error)[:200]}
    return {"end": "loaded", "quine": verification.is_quine}


def main(work, first, count):
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    for number in range(first, first + count):
        print(json.dumps({"number": number, "end": "begun"}), flush=True)
        folder = forge(work, number)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            said = tried(folder)
        except Exception:
            said = {"end": "traceback", "text": traceback.format_exc()[-1500:]}
        signal.setitimer(signal.ITIMER_PROF, 0)
        shutil.rmtree(folder)
        print(json.dumps({"number": number, **said}), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
