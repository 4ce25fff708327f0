"""Printers: fixed maps ``theta = E(c)`` from a code to all weights. One file, one printer.

The order of the imports is the order in which options and errors list them.
"""

from .base import PRINTERS as PRINTERS
from .base import Printer as Printer
from .base import Slot as Slot
from .base import printer as printer
from .base import printer_named as printer_named
from .base import working_type as working_type
from .gaussian import GaussianExpansion as GaussianExpansion
from .hadamard import HadamardExpansion as HadamardExpansion

__all__ = [
    "PRINTERS",
    "GaussianExpansion",
    "HadamardExpansion",
    "Printer",
    "Slot",
    "printer",
    "printer_named",
    "working_type",
]
