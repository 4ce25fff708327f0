"""A stored quine as arithmetic: the same network as ``quine.py``, read from its folder and run in balls."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ..errors import QuineFileError
from ..files.folder import CONFIG, WEIGHTS, read_config, sha256
from ..quines.printers.anchor import anchor
from ..quines.printers.philox import dyadic_gaussian
from ..quines.printers.signs import sign_matrix
from .balls import Ball, Rounding, objects
from .rules import SEQUENCES, NoRule, run
from .rules.common import A, Weights

_EXPANSION_STREAM, _READOUT_STREAM = 1, 2
_LARGEST = 2**27  # entries of the expansion's matrix, which a proof writes out
_LARGEST_DERIVATIVE = 2**22  # the same in balls
_TYPES = {"float64": np.float64, "float32": np.float32}


class Network:
    """The self-map of a folder's quine.

    Attributes:
        spec: plain-data description of the trunk.
        theta: ``(P,)`` stored weights, exact.
        d: code size.
        code_bits: grid of the quantized code, or None.
        sha256: of the weights file, which holds the configuration too.

    Raises:
        QuineFileError: the folder does not hold a readable quine.
        NoRule: the trunk cannot be described, or its type or input has no rule.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        config = read_config(folder)
        if config.get("trunk") is None:
            raise NoRule(
                f"no proof rule for {config['trunk_class'].rpartition('.')[2][:80]}: only listed torch modules have one"
            )
        if config["queries"] is not None:
            raise NoRule("no proof rule for quines that are asked for their weights one by one")
        if config["tape"] is not None:
            raise NoRule("no proof rule for a network that reads its code from a tape")
        if config["dtype"] not in _TYPES:
            raise NoRule(f"no proof rule for weights in {config['dtype']}")
        first_of_tuple = config["select"] == 0 and config["trunk"].get("type") in SEQUENCES
        if config["select"] is not None and not first_of_tuple:
            raise NoRule("no proof rule for select=: wrap the trunk so that its output is what is read")
        if config["probe"] != 1:
            raise NoRule("no proof rule for several inputs")
        self.spec, self.dtype = config["trunk"], config["dtype"]
        self.d, self.seed, self.code_bits = config["code_size"], config["seed"], config.get("code_bits")
        self.normalized, self.eps = config["normalize"], config["eps"]
        self.sha256 = sha256(folder / WEIGHTS)
        held = load_file(folder / WEIGHTS)
        self.names = [name for name, _ in config["tensors"]]
        try:
            tensors = [held[f"trunk.{name}"] for name in self.names]
            self.probe = held["probe.0"]
        except KeyError as error:
            raise QuineFileError(f"{folder / CONFIG} names {error.args[0]}, which {WEIGHTS} lacks") from error
        self.shapes = [t.shape for t in tensors]
        self.theta = np.concatenate([t.reshape(-1) for t in tensors])
        weights = {f"trunk.{name}" for name in self.names}
        self.buffers = {
            k.removeprefix("trunk."): v for k, v in held.items() if k.startswith("trunk.") and k not in weights
        }
        self.sizes = [t.size for t in tensors]
        self.mean = np.repeat(np.array(config["means"]), self.sizes).astype(_TYPES[self.dtype])
        self.gain = np.repeat(np.array(config["gains"]), self.sizes).astype(_TYPES[self.dtype])
        self.expansion = config["expansion"]
        self.structured = self.expansion == "hadamard"
        if self.count > _LARGEST:
            raise NoRule(f"{len(self.theta)} weights of a code of {self.d} are too many for a proof")
        if self.structured:
            self.matrix = sign_matrix(self.seed, len(self.theta), self.d)
        else:
            self.matrix = dyadic_gaussian(self.seed, _EXPANSION_STREAM, 0, self.count).reshape(-1, self.d)
        self.skip = config.get("skip")
        self.anchor = None if self.skip is None else anchor([self.probe], self.d, self.seed)

    @property
    def count(self) -> int:
        """Entries of the expansion's matrix, ``P d``."""
        return len(self.theta) * self.d

    # -- the maps in balls --------------------------------------------------------------------------------------

    def expand(self, code: Ball) -> Ball:
        """``E(c)`` in exact real arithmetic, with the derivative if the code carries one."""
        if self.count > _LARGEST_DERIVATIVE:
            raise NoRule(f"{len(self.theta)} weights of a code of {self.d} are too many for a proof without a grid")
        scaled = objects(self.matrix) * objects(self.gain.astype(np.float64))[:, None]
        value = objects(self.mean.astype(np.float64)) + scaled.dot(code.value)
        return Ball(value, scaled if code.grad is not None else None)

    def code(self, theta: Ball) -> Ball:
        """``N(R trunk(z; theta))``, anchored or not, before any quantization; theta ``(P,)`` in balls."""
        rounding = theta.rounding
        parameters = {k: Ball.exact(v, rounding) for k, v in self.buffers.items()}
        start = 0
        for name, shape in zip(self.names, self.shapes, strict=True):
            size = int(np.prod(shape, dtype=np.int64))
            parameters[name] = theta[start : start + size].reshape(*shape)
            start += size
        return self.computed(parameters.get, lambda _, numbers: Ball.exact(numbers, rounding)).reshape(self.d)

    def computed(self, weights: Weights[A], hold: Callable[[str, NDArray[Any]], A]) -> A:
        """The code before any quantization, ``(1, d)``, in the arithmetic of the weights.

        Args:
            weights: finds the trunk's parameters and buffers by name.
            hold: takes a fixed array, of the name given, into the arithmetic: the probe, the readout, the anchor.
        """
        indices = bool(np.issubdtype(self.probe.dtype, np.integer))
        h = run(self.spec, hold("probe", self.probe), weights, indices=indices).reshape(1, -1)
        if h.shape[1] != self.d:
            h = h.affine(hold("readout", self.readout(h.shape[1])))
        c = h.normalize(self.eps) if self.normalized else h
        if self.anchor is None:
            return c
        return (c.scale(float(self.anchor_gain)) + hold("anchor", self.anchor)).normalize(self.eps)

    def readout(self, features: int) -> NDArray[np.floating[Any]]:
        """The fixed ``(d, n)`` projection of the features, in the type of the weights."""
        # The very numbers of quine.py: dyadic entries divided by sqrt(n), in double precision, then cast.
        entries = dyadic_gaussian(self.seed, _READOUT_STREAM, 0, self.d * features).reshape(self.d, features)
        return (entries / np.sqrt(float(features))).astype(_TYPES[self.dtype])

    @property
    def anchor_gain(self) -> np.floating[Any]:
        """beta, the factor of the trunk's part in an anchored code, in the type of the weights."""
        return _TYPES[self.dtype](self.skip)

    def stored(self, rounding: Rounding | None = None) -> Ball:
        """The stored weights, exactly."""
        return Ball.exact(self.theta, rounding)

    # -- the printer, exactly -----------------------------------------------------------------------------------

    def grid_code(self) -> list[int] | None:
        """The integers x with ``theta = E(x / 2^k)``, bit for bit in any IEEE arithmetic; None if there are none."""
        if self.code_bits is None:
            return None
        scale = 2.0 ** int(self.code_bits)
        rows = (self.theta.astype(np.float64) - self.mean) / np.where(self.gain == 0, 1, self.gain)
        solution = np.linalg.lstsq(self.matrix, rows.astype(np.float64), rcond=None)[0]
        x = [round(float(v) * scale) for v in solution]
        return x if self.prints(x) else None

    def prints(self, x: list[int]) -> bool:
        """Whether the exact real ``E(x / 2^k)``, rounded to the type operation by operation, is the stored vector.

        The sum ``A x`` is an integer and must be exact in the type in every order (:meth:`printer_is_exact`); the
        multiplication by the gain and the addition of the mean round at most once each.
        """
        kind, scale = _TYPES[self.dtype], Fraction(1, 4 * 2 ** int(self.code_bits or 0))
        sums = self._integer_sums(self.matrix, x)
        printed = []
        for total, gain, mean in zip(sums, self.gain.tolist(), self.mean.tolist(), strict=True):
            product = _rounded(Fraction(gain) * Fraction(int(total)) * scale, kind)
            printed.append(_rounded(Fraction(mean) + Fraction(float(product)), kind))
        return np.array(printed, dtype=kind).tobytes() == self.theta.tobytes()

    def printer_is_exact(self, x: list[int]) -> bool:
        """Whether no order of summation and no fusing can change a bit of ``mean + gain * (A x / 2^k)``."""
        mantissa = 53 if self.dtype == "float64" else 24
        exact_sum = max(self._integer_sums(np.abs(self.matrix), [abs(v) for v in x])) < 2**mantissa
        # One rounding after the exact sum: either nothing is added, or the multiplication is exact.
        power = np.array([g == 0 or np.frexp(abs(g))[0] == 0.5 for g in self.gain.tolist()])
        # The structured expansion multiplies before it adds up.
        free = np.zeros(len(power), dtype=bool) if self.structured else self.mean == 0
        return bool(exact_sum and (free | power).all())

    def _integer_sums(self, matrix: NDArray[np.float64], x: list[int]) -> list[int]:
        """``4 A x``, exactly, whatever the size of x."""
        if max(map(abs, x), default=0) < 2**40 and self.d < 2**16:  # entries of 4 A are below 2^6
            return ((4 * matrix).astype(np.int64) @ np.array(x, dtype=np.int64)).tolist()
        return (4 * matrix).astype(np.int64).astype(object).dot(np.array(x, dtype=object)).tolist()


def _rounded(value: Fraction, kind: type[np.floating[Any]]) -> np.floating[Any]:
    """A fraction rounded once, to nearest even, to float64 or float32."""
    if kind is np.float64:
        return np.float64(float(value))
    near = np.float32(float(value))  # may be off by double rounding: compare with the neighbours, exactly
    options = [near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))]
    return min(options, key=lambda f: (abs(Fraction(float(f)) - value), int(f.view(np.uint32)) & 1))
