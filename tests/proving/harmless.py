"""Changes of a rule's source that are no faults, and why: file by file, what is changed, and in which line.

Either the changed source computes the same, or it refuses something else than before and never computes anything wrong.
"""

_OTHERWISE = "refused all the same, by another line"
_SAME = "the two are always of one length"

HARMLESS = {
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
