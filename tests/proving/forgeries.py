"""Forged certificates and networks of every kind that is proved, and whether any of them passes.

As a script: ``PYTHONPATH=src:tests python tests/proving/forgeries.py 1000 100`` makes so many certificates and so many networks, shared out
among the kinds. A certificate is forged when anything in it was changed, with its digest, and often its sentence, made to fit. A network is
forged by one bit, one sign or one grid step of a weight, or by its description: classes, sizes, duplicate keys, numbers that are none. Its
hashes fit. Nothing may be proved of it that a plain evaluation denies.
"""

import contextlib
import hashlib
import json
import math
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import neuralquine as nq
from neuralquine.errors import NeuralQuineError
from neuralquine.files.strict_json import canonical
from neuralquine.proving.verbs import certify, check
from proving import test_own_matrix, test_tape
from proving.test_certificate import forge
from quines.networks_of_queries import stack

GOLDEN = Path(__file__).parents[1] / "golden" / "folders"
_TIMES = 1e3  # more than what the self-map of any of these magnifies an error by


def _golden(name):
    return lambda folder: shutil.copytree(GOLDEN / name, folder)


def _solved(make, **options):
    def kept(folder):
        quine = make()
        nq.solve(quine, **options)
        nq.save(quine, folder)

    return kept


def _own(folder):
    trunk, probe = test_own_matrix.printing()
    quine = nq.Quine(trunk, probe, print_frozen=False)
    nq.solve(quine)
    nq.save(quine, folder)


def _rounded():
    return nq.recipe("blog", seed=0, activation_bits=24)


KINDS = {
    "box": _golden("blog"),
    "box of a recurrent network": _golden("lstm-select"),
    "grid": _golden("blog-exact"),
    "moved grid": _solved(lambda: nq.recipe("blog", seed=0), exact=True),
    "own matrix": _own,
    "queried": _solved(lambda: stack(6, seed=1)),
    "tape of signs": test_tape.small,
    "grid of activations": _solved(_rounded, exact=True),
}


def made(kind, folder):
    """The folder of a quine of a kind, and its certificate."""
    KINDS[kind](folder)
    return certify(folder, witness=None)


def refused(ask):
    """Whether a question ends in one line that says no, the answer where it does not, and an error that is no refusal."""
    try:
        return False, ask(), None
    except NeuralQuineError as error:
        return True, None, "more than a line" if "\n" in str(error) else None
    except Exception as error:
        return True, None, f"{type(error).__name__} {error}"[:200]


# -- certificates -------------------------------------------------------------------------------------------------------


def _numbers(value, path=()):
    """Every number in a certificate, by its path."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _numbers(item, (*path, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def _other(value, path, draw):
    """A number that claims more than another one, or means something else."""
    claims_less = path[-1] in ("theta_radius", "features_at_most")  # of these a larger one is the weaker claim
    if isinstance(value, int):
        return value + int(draw.choice([-8, -1, 1, 8, 2**40]))
    step = float(draw.choice([1e-6, 1e-2, 0.5, 10.0, 1e6]))
    if "code_midpoint" in path:
        return value + float(draw.choice([-1, 1])) * max(abs(value), 1.0) * step
    if path[-1] == "code_radius":  # smaller ones may hold, too, and larger ones
        return float(draw.choice([0.0, -value, value * 1e-12, 1.0, 1e3]))
    if path[-1] == "features_at_least":
        return value * (1 + step)
    if path[-1] == "theta_radius":  # certificates claim a hundredth less than was found
        step = max(step, 0.05)
    return value / (1 + step) if claims_less else value * (1 + step)


def altered(certificate, draw):
    """One that says something else."""
    c = json.loads(json.dumps(certificate))
    kind = draw.integers(8)
    if kind <= 4:
        path, value = (paths := list(_numbers(c)))[draw.integers(len(paths))]
        holder = c
        for key in path[:-1]:
            holder = holder[key]
        odd = [float(value), True, None, "1", math.nan, math.inf, -value, 10**400, [value], -0.0, 5e-324]
        new = _other(value, path, draw) if kind <= 2 else odd[draw.integers(len(odd))]
        holder[path[-1]] = new
        if draw.integers(2):  # the sentence says so, too
            c["claim"] = c["claim"].replace(repr(value), repr(new))
    elif kind == 5:
        at, old = int(draw.integers(64)), c["weights_sha256"]
        c["weights_sha256"] = old[:at] + ("0" if old[at] != "0" else "1") + old[at + 1 :]
    elif kind == 6:
        c |= {str(draw.choice(["kind", "dtype", "proved", "portable", "code_phase", "machines"])): 1}
    else:
        del c[str(draw.choice([key for key in c if key != "digest"]))]
    if draw.integers(4):
        with contextlib.suppress(ValueError):  # what is no number has no spelling
            c["digest"] = hashlib.sha256(canonical({k: v for k, v in c.items() if k != "digest"}).encode()).hexdigest()
    return c


def _differences(forged, certificate):
    found = json.loads(forged)
    return {k: (certificate.get(k), found.get(k)) for k in {*found, *certificate} if found.get(k) != certificate.get(k)}


def certificates(folder, certificate, count, draw):
    """How many forged certificates were tried, and those that passed."""
    tried, passed = 0, []
    with tempfile.TemporaryDirectory() as place:
        file, text = Path(place) / "certificate.json", json.dumps(certificate)
        while tried < count:
            if tried % 5:
                forged = json.dumps(altered(certificate, draw))
            elif tried % 2:  # a key twice, of which the second counts for some readers
                forged = text[:-1] + f', "{draw.choice(list(certificate))}": 1}}'
            else:
                data, at = bytearray(text.encode()), int(draw.integers(8 * len(text)))
                data[at // 8] ^= 1 << at % 8
                forged = data.decode(errors="replace")
            try:
                if canonical(json.loads(forged)) == canonical(certificate):
                    continue
            except ValueError:
                pass
            tried += 1
            file.write_text(forged)
            no, _, odd = refused(lambda: check(file, folder, witness=None))
            if odd or not no:
                passed.append(f"{odd}: {_differences(forged, certificate)}")
    return tried, passed


# -- networks -----------------------------------------------------------------------------------------------------------


def _flipped(draw, number):
    """One bit or one sign of a weight; of a network on a grid also one step of it."""

    def change(held, config):
        names = [n for n in held if n.startswith("trunk.") and held[n].dtype.kind == "f" and held[n].size]
        weight = held[draw.choice(names)].reshape(-1)
        at = draw.integers(weight.size)
        if number % 3 == 2 and config.get("code_bits"):
            weight[at] += 2.0 ** -config["code_bits"]
            return
        words = weight.view(f"u{weight.itemsize}")
        top = 8 * weight.itemsize - 1
        words[at] ^= words.dtype.type(1 << (top if number % 3 == 1 else int(draw.integers(top))))

    return change


def _set(key, value):
    return lambda _, config: config.update({key: value})


def _module(**changed):
    """Another argument of the first module that has it."""

    def change(_, config):
        for _, child in (config["trunk"] or {}).get("children", []):
            if set(changed) <= set(child.get("arguments", {})):
                child["arguments"] |= changed
                return
        raise KeyError(*changed)

    return change


def _type(name):
    def change(_, config):
        config["trunk"] = {"type": name, "arguments": {}}

    return change


def _class(name, recipe=None):
    def change(_, config):
        config.update(
            trunk=None, trunk_class=name, recipe={"name": recipe, "seed": 0, "options": {}} if recipe else None
        )

    return change


def _probe(value):
    def change(held, _):
        next(t for name, t in held.items() if name.startswith("probe."))[...] = value

    return change


IMPOSTORS = {
    "the class of GPT-2": _class("transformers.models.gpt2.modeling_gpt2.GPT2LMHeadModel", "gpt2"),
    "the class of a ResNet": _class(
        "transformers.models.resnet.modeling_resnet.ResNetForImageClassification", "resnet18"
    ),
    "a class of this package": _class("neuralquine.quines.networks.sequence.Clocked"),
    "a class of that name elsewhere": _class("evil.neuralquine.quines.networks.sequence.Clocked"),
    "a long name": _class("a" * 100_000),
    "another recipe": _set("recipe", {"name": "cnn", "seed": 0, "options": {}}),
    "another module": _type("Identity"),
    "a module that is none": _type("os.system"),
    "a module within modules": _type("Sequential"),
    "features beyond all": _module(in_features=10**12),
    "features below zero": _module(out_features=-1),
    "no bias": _module(bias=False),
    "a code beyond all": _set("code_size", 10**9),
    "no code": _set("code_size", 0),
    "a code of truth": _set("code_size", True),
    "another seed": _set("seed", 12345),
    "another expansion": _set("expansion", "direct"),
    "no expansion": _set("expansion", "nothing"),
    "means of nothing": lambda _, c: c.update(means=[float(m) + 5e-324 for m in c["means"]][:-1]),
    "gains below zero": lambda _, c: c.update(gains=[-g for g in c["gains"]]),
    "gains of denormals": lambda _, c: c.update(gains=[5e-324 for _ in c["gains"]]),
    "gains beyond all": lambda _, c: c.update(gains=[1e308 for _ in c["gains"]]),
    "eps of nothing": _set("eps", 0.0),
    "eps below zero": _set("eps", -1e-5),
    "eps beyond all": _set("eps", 1e300),
    "not normalized": lambda _, c: c.update(normalize=not c["normalize"]),
    "an anchor": _set("skip", 0.5),
    "an anchor of nothing": _set("skip", -0.0),
    "another grid": _set("code_bits", 3),
    "a grid beyond all": _set("code_bits", 4000),
    "another phase": lambda _, c: c.update(code_phase=c.get("code_phase", 0) + 1),
    "another grid of activations": _set("activation_bits", 7),
    "another type": lambda _, c: c.update(dtype="float32" if c["dtype"] == "float64" else "float64"),
    "weights that are not printed": lambda _, c: c.update(kept=[name for name, _ in c["tensors"]][:1]),
    "weights in another order": lambda _, c: c["tensors"].reverse(),
    "an input of zeros": _probe(0),
    "a denormal input": _probe(5e-324),
    "an infinite input": _probe(math.inf),
    "an input that is no number": _probe(math.nan),
}


def _says_no(folder):
    """Why a plain evaluation denies that a folder holds a quine, and by how much its print differs, if it prints at all."""
    try:
        quine = nq.load(folder)
        with torch.no_grad():
            found = nq.verify(quine, tries=1)
    except Exception as error:
        return f"{type(error).__name__} {error}"[:200], math.inf
    size = float(quine.theta.double().square().mean().sqrt())
    return None if found.is_quine else "a plain evaluation differs", found.relative_residual * size


def networks(folder, certificate, count, draw):
    """How many forged networks were tried, and those that passed falsely."""
    tried, passed = 0, []
    with tempfile.TemporaryDirectory() as place:
        for number in range(count):
            there = forge(folder, Path(place) / str(number), _flipped(draw, number))
            passed += _passed(folder, there, f"number {number}")
            tried += 1
    return tried, passed


def impostors(folder, certificate, names):
    """How many descriptions were tried, and those of which something false is proved."""
    tried, passed = 0, []
    with tempfile.TemporaryDirectory() as place:
        for number, name in enumerate(names):
            try:
                there = forge(folder, Path(place) / str(number), IMPOSTORS[name])
            except (
                KeyError,
                TypeError,
                ValueError,
                OverflowError,
                AttributeError,
                StopIteration,
            ):  # this kind has no such thing
                continue
            if json.loads((there / "config.json").read_text()) == json.loads((folder / "config.json").read_text()):
                continue  # that is what it was
            passed += _passed(folder, there, name)
            tried += 1
    return tried, passed


def _passed(folder, there, name):
    """What is proved of a forged network although a plain evaluation denies it; its old certificate never holds."""
    found = []
    no, _, odd = refused(lambda: check(folder / "certificate.json", there, witness=None))
    if odd or not no:
        found.append(f"{name}: its certificate passes, or {odd}")
    no, certificate, odd = refused(lambda: certify(there, witness=None))
    if odd:
        found.append(f"{name}: {odd}")
    if not no:
        reason, gap = _says_no(there)
        # Of a real quine so far away the certificate says how far; then the print differs by no more than some times that.
        if reason is not None and not gap <= _TIMES * certificate.get("theta_radius", 0.0):
            found.append(f"{name}: certified, although {reason} by {gap:.1e}")
    return found


def main(count, others):
    share, more = -(-count // len(KINDS)), -(-others // len(KINDS))
    whole = np.zeros((3, 2), int)
    for place, kind in enumerate(KINDS):
        draw, started = np.random.default_rng([place, count]), time.process_time()
        with tempfile.TemporaryDirectory() as home:
            folder = Path(home) / "q"
            certificate = made(kind, folder)
            found = [
                certificates(folder, certificate, share, draw),
                networks(folder, certificate, more, draw),
                impostors(folder, certificate, IMPOSTORS),
            ]
        whole += [[tried, len(passed)] for tried, passed in found]
        said = ", ".join(
            f"{len(passed)} of {tried} {what}"
            for what, (tried, passed) in zip(("certificates", "networks", "descriptions"), found, strict=True)
        )
        print(f"{kind}: {said} passed, {time.process_time() - started:.0f} s", flush=True)
        for _, passed in found:
            for line in passed:
                print("  ", line[:300])
    print(f"passed: certificates, networks, descriptions {[f'{p} of {t}' for t, p in whole.tolist()]}")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:3])) if len(sys.argv) > 2 else main(1000, 100)
