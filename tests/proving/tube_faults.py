"""Faults planted in the bounds of tubes, and whether the attacks on single operations find them.

As a script it plants all and says which are not found: ``PYTHONPATH=src:tests python tests/proving/tube_faults.py``.
"""

import importlib
import inspect
import types

from neuralquine.proving.tubes import node
from proving import tube_attacks
from proving.planted import report

# file, what is there, what is planted in its place, the attacks that must find it
FAULTS = [
    ("layers", "linear = np.broadcast_to(x.radius + y.radius, value.shape)", "linear = np.broadcast_to(x.radius, value.shape)", "add"),
    ("layers", "local=x.tape.machine.both * (np.abs(value) + linear),", "local=0.5 * x.tape.machine.both * np.abs(value),", "add"),
    ("layers", "row = x.row + y.row if x.shape == y.shape else None", "row = x.row if x.shape == y.shape else None", "subtract"),
    ("layers", "linear = np.abs(v) * y.radius + np.abs(w) * x.radius", "linear = np.abs(w) * x.radius", "multiply"),
    ("layers", "linear = np.abs(v) * y.radius + np.abs(w) * x.radius", "linear = 0.9 * (np.abs(v) * y.radius + np.abs(w) * x.radius)", "square"),
    ("layers", "else x.radius * y.radius\n", "else 0.3 * x.radius * y.radius\n", "wide multiply"),
    ("layers", "+ x.radius.max(-1) * y.row", "", "wide multiply"),
    ("layers", "local=machine.both * x.reach * y.reach + machine.lost,", "local=machine.both * 0.4 * x.reach * y.reach,", "multiply"),
    ("layers", "lambda a: (_part(a * w, x), _part(a * v, y)),", "lambda a: (_part(a * w, x), None),", "multiply"),
    ("layers", "lambda a: (_part(a * w, x), _part(a * v, y)),", "lambda a: (_part(a * w, x), _part(a * w, y)),", "multiply"),
    ("layers", "lambda a: (-a,)", "lambda a: (a,)", "errors that cancel"),
    ("layers", "lambda a: (a * factor,)", "lambda a: (a,)", "scale"),
    ("layers", "linear = size * x.radius\n", "linear = 0.9 * size * x.radius\n", "scale"),
    ("layers", "local=units * machine.both", "local=0.3 * units * machine.both", "divide by a root"),
    ("layers", "np.broadcast_to(a / n, (len(a), *x.shape))", "np.broadcast_to(a / n / n, (len(a), *x.shape))", "mean"),
    ("layers", "x.row[..., None] / np.sqrt(n)),", "x.row[..., None] / n),", "mean"),
    ("layers", "local=machine.gamma(n + 1) * x.reach.mean", "local=machine.gamma(1) / 20 * x.reach.mean", "mean"),
    ("layers", "value, total = value + bias.numbers, total + np.abs(bias.numbers)", "value = value + bias.numbers / 2", "affine"),
    ("layers", "through=np.minimum(linear, x.row[..., None] * rows),", "through=np.minimum(linear, x.row[..., None] * rows / 2),", "affine"),
    ("layers", "row=whole * x.row,", "row=0.9 * whole * x.row,", "affine"),
    ("layers", "local=machine.gamma(n + 1) * total", "local=machine.gamma(n + 1) / 5 * total", "affine of one"),
    ("layers", "return _by_stretches(flat.reshape(-1, a.shape[-1]), w).reshape", "return _by_stretches(flat.reshape(-1, a.shape[-1]), np.abs(w[::-1])).reshape", "affine"),
    ("layers", "+ np.minimum(right,", "+ 0.5 * np.minimum(right,", "matmul"),
    ("layers", "second = np.minimum(x.radius @ y.radius,", "second = 0.5 * np.minimum(x.radius @ y.radius,", "wide matmul"),
    ("layers", "(norm(w) + y.row)[..., None])[..., 0]", "(norm(w))[..., None])[..., 0]", "wide matmul"),
    ("layers", "return a @ np.swapaxes(w, -1, -2), np.swapaxes(v, -1, -2) @ a", "return a @ np.swapaxes(w, -1, -2), 0.5 * np.swapaxes(v, -1, -2) @ a", "matmul"),
    ("layers", "local=machine.gamma(k + 2) * (x.reach @ y.reach)", "local=machine.gamma(k) / 3 * (x.reach @ y.reach)", "matmul of one"),
    ("layers", "second = 2.5 * most * most * spread * p", "second = 0.0 * most * p", "wide softmax"),
    ("layers", "linear = p * (radius + (p * radius).sum(-1, keepdims=True))", "linear = p * radius", "softmax"),
    ("layers", "return (p * (a - (p * a).sum(-1, keepdims=True)),)", "return (p * a,)", "softmax"),
    ("layers", "relative = machine.unit * (far + 4 * machine.ulps + 2 * n + 6) + own", "relative = own", "softmax"),
    ("functions", "second = np.minimum(0.5 * f.bend * x.radius,", "second = np.minimum(0.2 * f.bend * x.radius,", "wide tanh"),
    ("functions", "1.0, 1.0, 1.0, elementary.SATURATION_ERROR, 1.0", "0.5, 1.0, 1.0, elementary.SATURATION_ERROR, 1.0", "wide saturation"),
    ("functions", "1.0, 1.0, True\n", "1.0, 1.0, False\n", "saturation of little"),
    ("functions", "lambda _, y: 1 - y, 1.0", "lambda _, y: 1 - y * y, 1.0", "saturation"),
    ("functions", "    2.0,\n    1.0,\n    1.0,\n    elementary.SOFTSIGN", "    1.0,\n    1.0,\n    1.0,\n    elementary.SOFTSIGN", "wide softsign"),
    ("functions", "(1 - np.abs(y)) ** 2", "1 - np.abs(y) ** 2", "softsign"),
    ("functions", "    0.19,\n", "    0.08,\n", "wide mish_gate"),
    ("functions", "(1 - y * y) * elementary.logistic(x)", "1 - y * y", "mish_gate"),
    ("functions", "    ulps=3.0,\n    steps=1.0,", "    ulps=1.0,\n    steps=1.0,", "mish_gate"),
    ("functions", "0.7699, 1.0, 1.0,", "0.5, 1.0, 1.0,", "wide tanh"),
    ("functions", "    0.09623,\n", "    0.05,\n", "wide sigmoid"),
    ("functions", "0.9679, 1.1284,", "0.5, 1.1284,", "wide erf"),
    ("functions", "lambda a: (a * slope,)", "lambda a: (a * slope * slope,)", "tanh"),
    ("functions", "relative = (2 * machine.ulps * f.ulps + f.steps) * machine.unit", "relative = (machine.ulps * f.ulps + f.steps) * machine.unit", "erf"),
    ("functions", "radius = np.where(x.numbers + x.radius <= 0, 0.0, x.radius)", "radius = np.where(x.numbers <= 0, 0.0, x.radius)", "wide relu"),
    ("functions", "unsure = np.where(np.abs(x.numbers) <= x.radius, x.radius, 0.0)", "unsure = 0.0 * x.radius", "wide relu"),
    ("functions", "value - own, 2 * radius, 0.0)", "value - own, 0.0, 0.0)", "wide largest"),
    ("functions", "linear=own, through=radius,", "linear=own, through=0.5 * radius,", "largest"),
    ("normal", "+ size * product / n) / low + second\n", ") / low + second\n", "normalize"),
    ("normal", "through = (x.radius + middle + size", "through = (x.radius + size", "normalize"),
    ("normal", "second = 1.5 * error", "second = 0.02 * error", "wide normalize"),
    ("normal", "row=(error / least)[..., 0],", "row=0.95 * (error / least)[..., 0],", "normalize"),
    ("normal", "return ((flat - y * (y * a).mean(-1, keepdims=True)) / s,)", "return (flat / s / 2,)", "normalize"),
    ("normal", "        flat = a - a.mean(-1, keepdims=True)\n", "        flat = a / 2\n", "normalize"),
    ("normal", "1.02 * numerator / s + y * inverse", "0.01 * (numerator / s + y * inverse)", "normalize far off"),
    ("normal", "local=_FOLDED * machine.both * reach", "local=machine.both * reach", "batch_norm"),
    ("normal", "lambda a: (a * slope,)", "lambda a: (a,)", "batch_norm"),
    ("adjoint", "start.reshape(len(places), -1)[np.arange(len(places)), places] = 1.0", "start.reshape(len(places), -1)[np.arange(len(places)), places] = 0.9", "add"),
    ("adjoint", "total = waiting[parent.place] + part\n", "total = part\n", "square"),
    ("adjoint", "bound = (bound + node.charge.of(a)) * GROWTH", "bound = np.maximum(bound, node.charge.of(a))", "subtract"),
    ("node", "local + slack) * GROWTH, second, second_rows)", "local + slack) * GROWTH, None, None)", "wide tanh"),
    ("node", "radius = (through + local) * GROWTH", "radius = through * GROWTH", "add"),
    ("node", "bounds.append(norm(a) * self.rows)", "bounds.append(0.5 * norm(a) * self.rows)", "normalize"),
    ("tube", "return np.repeat(row.reshape(-1), old[-1] // new[-1]).reshape(new[:-1])", "return 0.7 * np.repeat(row.reshape(-1), old[-1] // new[-1]).reshape(new[:-1])", "reshape to shorter rows"),
    ("tube", "return norm(row.reshape(*new[:-1], new[-1] // old[-1]))", "return row.reshape(*new[:-1], new[-1] // old[-1]).max(-1)", "reshape to longer rows"),
    ("tube", "row = np.sqrt(sum(a.row * a.row for a in arrays))", "row = arrays[0].row", "concat"),
    ("tube", "sums = [np.bincount(flat, weights=part, minlength=end + 1)[:end] for part in parts]", "sums = [np.bincount(flat[:1], weights=part[:1], minlength=end + 1)[:end] for part in parts]", "windows"),
    ("tube", "units = numbers.within * machine.unit", "units = 0.1 * numbers.within * machine.unit", "constant"),
]  # fmt: skip


def is_found(fault, seeds=((0,), (1,), (2, 3))):
    """Whether the attack finds the fault."""
    file, there, planted, attack = fault
    module = importlib.import_module(f"neuralquine.proving.tubes.{file}")
    source = inspect.getsource(module)
    assert there in source, f"{file} has no `{there}`"
    changed = source.replace(there, planted)
    if file in ("node", "tube"):
        undo = _methods(module, changed)
    else:
        undo = _again(module, source)
        exec(compile(changed, f"<changed {file}>", "exec"), module.__dict__)
    try:
        return any(tube_attacks.findings([attack], some) for some in seeds)
    except (ArithmeticError, ValueError, TypeError):
        return True
    finally:
        undo()


def _again(module, source):
    return lambda: exec(compile(source, module.__file__, "exec"), module.__dict__)


def _methods(module, changed):
    """Put the changed methods of a module's classes in the place of the ones that are used."""
    other = types.ModuleType(module.__name__)
    other.__dict__.update(__package__=module.__package__, __file__=module.__file__)
    exec(compile(changed, "<changed>", "exec"), other.__dict__)
    before = []
    for name in ("Node", "Charge") if module is node else ("Tube",):
        old, new = getattr(module, name), getattr(other, name)
        for key, value in vars(new).items():
            if callable(value) or isinstance(value, classmethod):
                if key.startswith("__"):
                    continue
                before.append((old, key, vars(old)[key]))
                setattr(old, key, value)
    return lambda: [setattr(*part) for part in before]


FILES = tuple(dict.fromkeys(fault[0] for fault in FAULTS))


def main():
    report((file, planted_in(file)) for file in FILES)


def planted_in(file):
    """Each fault of a file, as :func:`proving.planted.row` takes it."""
    for fault in FAULTS:
        if fault[0] == file:
            yield f"`{fault[1].strip()}` becomes `{fault[2].strip()}`", lambda fault=fault: is_found(fault)


if __name__ == "__main__":
    main()
