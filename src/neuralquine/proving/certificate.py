"""Certificates: proofs written down, and the checker, which trusts only the weights and its own arithmetic.

The checker reads the folder, recomputes the theorem and compares every number. It imports neither torch nor any solver. It trusts
IEEE arithmetic in NumPy, the rules of ``rules/`` and the Philox generator; and, where tubes are too wide and python-flint is
installed, FLINT (``narrower.py``).
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

from . import narrower
from .form import FORMAT, check_seal, check_words, issued, verified
from .network import Network
from .slopes import contraction
from .tubes import margins as tubes
from .tubes.margins import Say
from .verdicts import NotProved
from .witness import Asked

_KEYS = {
    "fixed point": ("code_midpoint", "code_radius", "theta_radius"),
    "bit-exact": ("code_bits", "code_phase", "code", "margin"),
}
_PRECISION = 128  # bits of balls, which every certificate names
_AGAIN = 0.01  # of a bound, what a certificate claims less than was proved
_WITHIN = 3.0  # errors above the proved margin in which the true one lies: two, and their round-off
_CLOSE = 1e-6  # a quine farther than this from the stored weights, relative to their size, is not theirs


def certify(folder: str | Path, *, witness: Asked = "evaluation", say: Say | None = None) -> dict[str, Any]:
    """Prove what can be proved about the quine of a folder, and write ``certificate.json`` beside it.

    Without a grid: a real quine of the network exists within a stated distance of the stored weights, it is the only
    one in its box, and it is not zero. With a grid: the network in exact real arithmetic prints the stored weights.

    Args:
        folder: of the quine.
        witness: is asked whether a plain evaluation agrees, before the certificate is written; by default the package's,
            which needs torch. With None the theorem is the arithmetic's alone, about the network as the rules read it.
        say: is told what is done next.

    Returns:
        The certificate.

    Raises:
        NotProved: the stored weights are not close enough to a quine, or it is too ill-conditioned.
        NoRule: a module has no proof rule.
        QuineFileError: the folder is not readable.
    """
    network = Network(folder)
    prove = _fixed_point_certificate if network.code_bits is None else _rounding_certificate
    return issued(prove(network, say), folder, witness)


def _common(network: Network, kind: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": kind,
        "weights_sha256": network.sha256,
        "parameters": len(network.theta),
        "code_size": network.d,
        "dtype": network.dtype,
        **({} if network.trunk_dtype == network.dtype else {"trunk_dtype": network.trunk_dtype}),
        "precision": _PRECISION,
    }


def _fixed_point_certificate(network: Network, say: Say | None) -> dict[str, Any]:
    box = contraction.enclosed(network, say)
    if not all(math.isfinite(c) for c in box.midpoint):
        raise NotProved("the code of the stored weights is not finite")
    box = box if box.proved else narrower.box(network, box.midpoint, None)
    if box is None:
        raise NotProved("no box around the stored code is mapped into itself")
    if not box.nonzero:
        raise NotProved("the box contains the zero quine")
    if box.theta_radius > _CLOSE * _rms(network):
        raise NotProved(f"the nearest quine is {box.theta_radius:.1e} away from the stored weights")
    certificate = _common(network, "fixed point")
    certificate |= {
        "code_midpoint": box.midpoint,
        "code_radius": box.radius,
        "theta_radius": box.theta_radius * (1 + _AGAIN),  # sums in another order prove it again
    }
    return certificate | {"claim": _claim(certificate)}


def printed_as_stored(network: Network, say: Say | None = None) -> tuple[list[int], float]:
    """The code on the grid whose print are the stored weights, and the margin by which exact arithmetic rounds to it.

    Raises:
        NotProved: there is no such code, or exact arithmetic rounds to another.
    """
    x = network.printer.grid_code(network.theta)
    if x is None:
        raise NotProved("the stored weights are not the print of any code on the grid")
    margin = _exact_margin(network, x, say)
    if not margin > 0:
        raise NotProved("in exact arithmetic the code does not round to the stored one")
    return x, margin


def _exact_margin(network: Network, x: list[int], say: Say | None) -> float:
    """The margin by tubes, or by balls where tubes prove nothing."""
    found = tubes.rounding_margin(network, x, None, say=say)
    if found.proved:  # a share of the bound less, so that sums in another order prove it again
        return found.margin - _AGAIN * min(found.error, found.margin)
    return narrower.margin(network, x)


def _rounding_certificate(network: Network, say: Say | None) -> dict[str, Any]:
    x, margin = printed_as_stored(network, say)
    certificate = _common(network, "bit-exact")
    phase = {"code_phase": network.code_phase} if network.code_phase else {}
    certificate |= {"code_bits": network.code_bits, **phase, "code": x, "margin": margin}
    return certificate | {"claim": _claim(certificate)}


def _rms(network: Network) -> float:
    return float((network.theta.astype("float64") ** 2).mean() ** 0.5)


def _claim(c: dict[str, Any]) -> str:
    if c["kind"] == "bit-exact":
        phase = f" in phase {c['code_phase']}" if "code_phase" in c else ""
        return (
            f"In exact real arithmetic the network with the stored {c['parameters']} weights computes a code that rounds, "
            f"with a margin of at least {c['margin']!r} of a grid step 2^-{c['code_bits']}{phase}, to one that prints these weights."
        )
    return (
        f"In exact real arithmetic the network has a quine, not zero, whose {c['parameters']} weights are within "
        f"{c['theta_radius']!r} of the stored ones; no other quine has its code within {c['code_radius']!r} of the midpoint."
    )


def check(
    path: str | Path, folder: str | Path | None = None, *, witness: Asked = "evaluation", say: Say | None = None
) -> dict[str, Any]:
    """Verify a certificate again, from the weights alone.

    Args:
        path: the certificate.
        folder: the quine; by default the folder that the certificate lies in.
        witness: is asked whether a plain evaluation agrees, once the certificate holds; by default the package's, where
            torch is installed. With None the arithmetic alone is checked.
        say: is told what is done next.

    Returns:
        The certificate, if it holds.

    Raises:
        NotProved: a number was altered, the weights are not those of the certificate, or the theorem does not apply.
        QuineFileError: a file is not readable.
    """
    return verified(path, folder, witness, partial(_check, say=say))


def _check(c: dict[str, Any], folder: Path, say: Say | None) -> None:
    check_seal(c, _KEYS)
    network = Network(folder)
    check_words(c, _common(network, c["kind"]), _KEYS[c["kind"]], _claim)
    if (c["kind"] == "bit-exact") != (network.code_bits is not None):
        raise NotProved("the certificate is of the other kind of network")
    if c["kind"] == "bit-exact":
        _check_rounding(c, network, say)
    else:
        _check_fixed_point(c, network, say)


def _check_rounding(c: dict[str, Any], network: Network, say: Say | None) -> None:
    x = c["code"]
    phase = c.get("code_phase", 0)
    if type(phase) is not int or phase != network.code_phase or ("code_phase" in c) != bool(phase):
        raise NotProved("the grid is not moved as this network moves it")
    if c["code_bits"] != network.code_bits or len(x) != network.d or not all(type(v) is int for v in x):
        raise NotProved("the code is not one of this network")
    if not network.printer.on_grid(x):
        raise NotProved("the code is not on the grid")
    if not network.printer.prints(network.theta, x):
        raise NotProved("the code does not print the stored weights")
    if type(c["margin"]) is not float or not 0 < c["margin"] < 0.5 or not _has_margin(network, x, c["margin"], say):
        raise NotProved("the margin is smaller than claimed")


def _has_margin(network: Network, x: list[int], claimed: float, say: Say | None) -> bool:
    """Whether exact arithmetic rounds to a code with this margin: by tubes, or by balls, which are narrower."""
    found = tubes.rounding_margin(network, x, None, say=say)
    if claimed <= found.margin:
        return True
    if not claimed > found.margin + _WITHIN * found.error:  # else no balls can prove it
        narrower.check_installed()
    return claimed <= narrower.margin(network, x)


def _check_fixed_point(c: dict[str, Any], network: Network, say: Say | None) -> None:
    midpoint, radius, reach = c["code_midpoint"], c["code_radius"], c["theta_radius"]
    numbers = [*midpoint, radius, reach]
    if len(midpoint) != network.d or not all(type(v) is float and math.isfinite(v) for v in numbers):
        raise NotProved("the box is not one of this network")
    if not (radius > 0 and reach <= _CLOSE * _rms(network)):
        raise NotProved("the box is empty, or too far from the stored weights")
    box = contraction.in_box(network, midpoint, radius, say)
    if not box.proved or box.theta_radius > reach:
        narrower.check_installed()
        box = narrower.box(network, midpoint, radius) or box
    if not (box.proved and box.nonzero):
        raise NotProved("the box is not mapped into itself")
    if box.theta_radius > reach:
        raise NotProved("the quine may be farther from the stored weights than claimed")
