"""Changes of a rule's source that are no faults, and why: file by file, what is changed, and in which line.

Either the changed source computes the same, or it refuses something else than before and never computes anything wrong.
"""

_OTHERWISE = "refused all the same, by another line"
_SAME = "the two are always of one length"

_FIRST = "one part is the first and the last of it, and all or none of three have a bias"
_LIMIT = "another limit beyond which a number is refused"

HARMLESS = {
    "activations": {
        f"{said}: if not 2.0**-30 <= alpha <= 2.0**30:  # also where it is no number": _LIMIT
        for said in ("LtE becomes Lt", "2.0 becomes 3.0", "30 becomes 31", "30 becomes 29")
    },
    "bert": {
        '1 becomes 0: if len(x.shape) != 2 or x.shape[1] > arguments["positions"]:': _OTHERWISE,
    }
    | {
        f"{said}: return found[0] if len(found) == 1 or found[0] is None else found[0].concat(found, 0)": _FIRST
        for said in ("0 becomes -1", "0 becomes 1", "1 becomes 2", "1 becomes 0")
    },
    "gpt2": {
        '1 becomes 0: if len(x.shape) != 2 or x.shape[1] > arguments["positions"]:': _OTHERWISE,
    },
    "llama": {
        f"{said}: {line}": _LIMIT
        for line, changes in {
            "if not isinstance(theta, float | int) or isinstance(theta, bool) or not 1 < theta < 1e12:": (
                "1 becomes 2",
                "1000000000000.0 becomes 999999999999.0",
            ),
            'if len(x.shape) != 2 or x.shape[1] > arguments["positions"] or prod(x.shape) * arguments["size"] > _LONGEST:': (
                "1 becomes 0",
                "Mult becomes Add",
                "`arguments['size']` is dropped",
                "`prod(x.shape)` is dropped",
            ),
        }.items()
        for said in changes
    },
    "normalized": {
        "2 becomes 1: if len(x.shape) < 2 or x.shape[1] != channels or prod(x.shape) == groups:  # torch wants more than one number in all": _OTHERWISE,
    },
    "shapes": {
        f"1 becomes {n}: if -1 in sizes or np.prod(sizes) != x.shape[axis % axes]:": _OTHERWISE for n in (2, 0)
    },
    "taped": {
        "2 becomes 1: if len(x.shape) < 2:": _OTHERWISE,
    },
    "piecewise": {
        "2 becomes 1: if len(x.shape) < 2 or x.shape[1] != count:": _OTHERWISE,
    },
    "resnet": {
        'True becomes False: for stage, (width, depth) in enumerate(zip(arguments["widths"], arguments["depths"], strict=True)):': _SAME,
        "1 becomes 0: if not found[name] or any(type(n) is not int or not 1 <= n <= MOST for n in found[name]):": (
            "a stage of no layers or channels is none that a model of transformers has"
        ),
    },
}  # fmt: skip
