"""Changes of a rule's source that are no faults, and why: file by file, what is changed, and in which line.

Either the changed source computes the same, or it refuses something else than before and never computes anything wrong.
"""

_OTHERWISE = "refused all the same, by another line"
_SAME = "the two are always of one length"

_FIRST = "one part is the first and the last of it, and all or none of three have a bias"
_REST = "numpy takes any negative number for the size that is left"
_WIDENED = "fewer axes of length one in front are broadcast to the same shape"
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
    "convolution": {
        f"1 becomes 2: {line}": _REST
        for line in (
            "index = index.reshape(int(np.prod(output)), -1)",
            "inner = x.reshape(batch, -1).windows(index.reshape(int(np.prod(output)), -1))",
            "windows = x.reshape(int(np.prod(lead)), -1).windows(index.reshape(int(np.prod(output)), -1))",
        )
    }
    | {
        "`axes` is dropped: if size in (1, [1] * axes):": "one cell is a mean of windows as large as the tensor, too",
        "True becomes False: if any(count < 1 or n % count for n, count in zip(x.shape[-axes:], cells, strict=True)):": _OTHERWISE,
        "True becomes False: steps = [n // count for n, count in zip(x.shape[-axes:], cells, strict=True)]": _SAME,
        'False becomes True: if any(n < k for n, k in zip(x.shape[-3:], np.broadcast_to(arguments["kernel_size"], 3), strict=False)):': (
            "a tensor of fewer axes is refused all the same"
        ),
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
    "recurrent": {
        f'1 becomes {n}: zero = x.zeros(*x.shape[:-1], arguments["hidden_size"])': (
            "a state of zeros without the batch is broadcast to all of it"
        )
        for n in (2, 0)
    },
    "sequence": {
        f"the bias is dropped: {line}": "none of its layers has a bias"
        for line in (
            'heard = affine(x.concat([y, clocks.cut(0, t, t + 1)], 1), below(weights, "hear"))',
            'h = (heard + affine(h, below(weights, "recur"))).tanh()',
            'y = affine(h, below(weights, "out"))',
        )
    }
    | {"2 becomes 1: if x.shape != (1,) or clock < 2 or clock % 2:": "an odd clock is refused all the same: by its parity, or because it fits no layer"},
    "shapes": {
        f"1 becomes {n}: if -1 in sizes or np.prod(sizes) != x.shape[axis % axes]:": _OTHERWISE for n in (2, 0)
    },
    "taped": {
        "2 becomes 1: if len(x.shape) < 2:": _OTHERWISE,
    },
    "transposed": {
        f"{said}: nowhere = np.zeros((1,) * (2 * axes + 1), dtype=bool)": _WIDENED
        for said in (
            "`2 * axes + 1` is dropped",
            "Add becomes Sub",
            "`1` is dropped",
            "`2 * axes` is dropped",
            "`axes` is dropped",
            "`2` is dropped",
            "1 becomes 0",
            "2 becomes 1",
        )
    }
    | {
        f"0 becomes {n}: own = None if bias is None else bias.cut(0, g * outer, (g + 1) * outer)": (
            "a bias has one axis, and those of a cut are counted around"
        )
        for n in (1, -1)
    }
    | {
        "`axes` is dropped: places = np.arange(channels).reshape(*(1,) * axes, channels, *(1,) * axes)": _WIDENED,
        "1 becomes 2: flat = index.reshape(int(np.prod(output)), -1)": _REST,
        "1 becomes 0: if length < 1:": _OTHERWISE,
        "True becomes False: if any(m >= max(s, d) for m, s, d in zip(more, stride, dilation, strict=True)):": _SAME,
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
