"""Faults planted in the rules, one at a time, and whether comparing a rule with torch finds them.

As a script it plants every fault of the kinds below in every file of rules and says which are not found:
``PYTHONPATH=src:tests python tests/proving/mutants.py``. The tests plant a few in each file.
"""

import ast
import importlib
import inspect
import types
from functools import cache, partial
from itertools import chain, zip_longest

from agreement import EDGES, RANKS, agreement, true_agreement
from neuralquine.proving.rules import bert, common
from proving.planted import report

_TABLES = ("RULES", "TENSORS", "SEQUENCES", "INDICES")
FILES = (
    "activations",
    "attention",
    "convolution",
    "normalized",
    "padding",
    "piecewise",
    "recurrent",
    "sequence",
    "shapes",
    "taped",
    "transposed",
)
_OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add}
_ORDER = {ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.NotIn: ast.In, ast.In: ast.NotIn, ast.LtE: ast.Lt, ast.Lt: ast.LtE}
_TWINS = {
    "tanh": "sigmoid",
    "sigmoid": "tanh",
    "relu": "tanh",
    "erf": "tanh",
    "saturation": "softsign",
    "softsign": "mish_gate",
    "mish_gate": "softsign",
}
_STEPS = (*_TWINS, "scale", "divide_by_root", "softmax", "normalize", "mean", "move", "batch_norm", "to_grid")


def faults(source):
    """Each fault as its line, what is changed, and a function that gives the changed source."""
    tree = ast.parse(source)
    words = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for place, node in enumerate(ast.walk(tree)):
        if id(node) in words:  # what a refusal says is not compared
            continue
        for number, (said, _) in enumerate(_changes(node)):
            yield getattr(node, "lineno", 0), said, partial(_changed, source, place, number)


def _changed(source, place, number):
    tree = ast.parse(source)
    original = list(ast.walk(tree))[place]
    _, changed = _changes(original)[number]
    return ast.unparse(ast.fix_missing_locations(_Exchange(original, changed).visit(tree)))


class _Exchange(ast.NodeTransformer):
    def __init__(self, old, new):
        self.old, self.new = old, new

    def visit(self, node):
        return self.new if node is self.old else self.generic_visit(node)


def _changes(node):
    """What may be planted in place of a node."""
    match node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            other = _OPERATORS[type(op)]()
            return [
                (f"{type(op).__name__} becomes {type(other).__name__}", ast.BinOp(left, other, right)),
                (f"`{ast.unparse(right)}` is dropped", left),
                (f"`{ast.unparse(left)}` is dropped", right),
            ]
        case ast.Compare(left=left, ops=[op, *ops], comparators=rest) if type(op) in _ORDER:
            other = _ORDER[type(op)]()
            return [(f"{type(op).__name__} becomes {type(other).__name__}", ast.Compare(left, [other, *ops], rest))]
        case ast.Constant(value=bool(v)):
            return [(f"{v} becomes {not v}", ast.Constant(not v))]
        case ast.Constant(value=int(v) | float(v)):
            return [(f"{v} becomes {v + d}", ast.Constant(v + d)) for d in (1, -1)]
        case ast.Call(func=ast.Attribute(value=value, attr=name), args=arguments) if name in _STEPS:
            twin = [ast.Call(ast.Attribute(value, _TWINS[name], ast.Load()), arguments, [])] if name in _TWINS else []
            return [(f"{name} is left out", value), *((f"{name} becomes {_TWINS[name]}", t) for t in twin)]
        case ast.Call(func=ast.Name(id="affine"), args=arguments):
            return [("the bias is dropped", ast.Call(ast.Name("_without_bias", ast.Load()), arguments, []))]
        case ast.Call(func=ast.Name(id="scaled"), args=[y, _]):
            return [("weight and bias are dropped", y)]
        case ast.Attribute(value=value, attr="mT"):
            return [("the transposition is left out", value)]
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return [("the branches of a choice are exchanged", ast.IfExp(test, orelse, body))]
        case _:
            return []


def _without_bias(x, weights, names=("weight", "bias")):
    return x.affine(common.held(weights, names[0]))


def source_of(file):
    return inspect.getsource(importlib.import_module(f"neuralquine.proving.rules.{file}"))


def is_found(file, source, every=1, models=False):
    """Whether a changed file of rules gives itself away in the comparison with torch, or in every so many-th part of it.

    With *models* also where the rule of a whole model calls it: BERT's, of the layers of an encoder.
    """
    code = compile(source, f"<changed {file}>", "exec")
    whole, names = {table: getattr(common, table) for table in _TABLES}, set(_rules_in(file))
    for table, held in whole.items():
        setattr(common, table, type(held)())
    try:
        module = types.ModuleType(f"neuralquine.proving.rules.{file}")
        module.__dict__.update(__package__="neuralquine.proving.rules", _without_bias=_without_bias)
        exec(code, module.__dict__)
        changed = set(common.RULES)
        if changed != names:  # test_every_rule_has_a_generator finds it
            return True
        for table, held in whole.items():
            others = {k: held[k] for k in held if k not in changed} if isinstance(held, dict) else held - changed
            setattr(common, table, others | getattr(common, table))
        draws = ([(name, *drawn) for drawn in _before(name)[::every]] for name in changed if name in whole["RULES"])
        in_turn = filter(None, chain.from_iterable(zip_longest(*draws)))  # one of each rule, then the next of each
        if any(agreement(name, rank, seed) != verdict for name, rank, seed, verdict in in_turn):
            return True
        return models and file == "attention" and _is_wrong_in_bert(module)
    except Exception:  # a rule that raises anything but a refusal is found
        return True
    finally:
        for table, held in whole.items():
            setattr(common, table, held)


def _is_wrong_in_bert(module):
    """Whether BERT with these layers, its activations on a grid, is another network than the rule says."""
    from proving import drawn_models  # imports transformers, for seconds

    true, bert.encode = bert.encode, module.encode
    try:
        said = {drawn_models.finding_on_a_grid("BertModel", seed) for seed in range(6)}
        return not said <= {None, drawn_models.IDLE}
    finally:
        bert.encode = true


@cache
def _before(name, draws=20, most=24):
    """What the true rule says of some draws: the edges, and mostly those that it computes."""
    verdicts, equal = [], []
    for seed in range(draws):
        verdicts += [(rank, seed, true_agreement(name, rank, seed)) for rank in RANKS]
        equal = [v for v in verdicts if v[2] == "equal"]
        if len(equal) >= most:
            break
    edges = [(rank, ~n, true_agreement(name, rank, ~n)) for n, rank in _edges(name)]
    return [*edges, *equal[:most], *[v for v in verdicts if v[2] != "equal"][: most // 2]]


def _edges(name):
    return enumerate(len(shape) for _, shape in EDGES.get(name, ()))


def main():
    report((file, planted_in(file)) for file in FILES)


def planted_in(file):
    """Each fault of a file, as :func:`proving.planted.row` takes it."""
    source = source_of(file)
    for name in _rules_in(file):
        _before(name)
    lines = source.splitlines()
    for line, said, changed in faults(source):
        yield f"{said}: {lines[line - 1].strip()}", lambda changed=changed: is_found(file, changed(), models=True)


def _rules_in(file):
    return [name for name, rule in common.RULES.items() if rule.__module__.endswith(file)]


if __name__ == "__main__":
    main()
