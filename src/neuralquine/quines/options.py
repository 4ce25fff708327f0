"""What the numbers among a quine's options may be."""

from __future__ import annotations

import math

from ..errors import BadOption
from .networks.stepped import FINEST
from .printers import PRINTERS
from .tables.phases import LARGEST_PHASE


def check_options(
    code_size: int,
    seed: int,
    normalize: bool,
    eps: float,
    alpha: float | None,
    skip: float | None,
    expansion: str | None,
) -> None:
    """Refuse numbers out of range before anything is built."""
    if code_size < 1:
        raise BadOption(f"code_size must be at least 1, not {code_size}")
    check_seed(seed)
    if not (eps >= 0 and math.isfinite(eps)):
        raise BadOption(f"eps must be a finite number of at least 0, not {eps}")
    if alpha is not None and not math.isfinite(alpha):
        raise BadOption(f"alpha must be finite, not {alpha}")
    if skip is not None and not (0 <= skip <= 1e6 and normalize):
        raise BadOption("skip must be a number of at least 0, and needs normalize=True")
    if expansion not in (None, *PRINTERS):
        raise BadOption(f"expansion must be one of {', '.join(PRINTERS)}, not {expansion!r}")


def check_seed(seed: int) -> None:
    """Refuse a number that is no key of a Philox table."""
    if not 0 <= seed < 2**64:
        raise BadOption(f"seed must be from 0 to 2**64 - 1, not {seed}")


def check_grid(code_bits: int | None, code_phase: int, activation_bits: int | None = None) -> None:
    """Refuse a grid or a phase out of range, and a phase without a grid."""
    if code_bits is not None and not 0 <= code_bits <= 60:
        raise BadOption(f"code_bits must be from 0 to 60, not {code_bits}")
    if not 0 <= code_phase <= LARGEST_PHASE:
        raise BadOption(f"code_phase must be from 0 to {LARGEST_PHASE}, not {code_phase}")
    if code_phase and code_bits is None:
        raise BadOption("code_phase moves a grid: give code_bits, too")
    if activation_bits is not None and not 0 <= activation_bits <= FINEST:
        raise BadOption(f"activation_bits must be from 0 to {FINEST}, not {activation_bits}")
