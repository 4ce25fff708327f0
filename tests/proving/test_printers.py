"""The print of a code in whole numbers: IEEE arithmetic where it rounds once, and the same by fractions."""

import numpy as np
import pytest

from neuralquine.proving.printers import MatrixPrinter


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["hadamard", "gaussian"])
def test_a_print_is_the_one_that_fractions_give(name, dtype):
    generator = np.random.default_rng(0)
    for trial in range(20):
        means, gains = generator.normal(0, 1, (2, 3)) * 10.0 ** generator.integers(-6, 3, (2, 3))
        if trial % 3 == 0:
            means, gains = means * 0, 2.0 ** generator.integers(-9, 3, 3)
        grid = {"code_bits": int(generator.integers(0, 14)), "code_phase": int(generator.integers(0, 2))}
        config = {"expansion": name, "dtype": dtype, "code_size": 5, "seed": trial, **grid}
        printer = MatrixPrinter(config | {"means": means.tolist(), "gains": gains.tolist()}, [7, 1, 40])
        steps = 2 ** (printer.unit - printer.bits)
        x = (generator.integers(-3000, 3000, 5) * steps + printer.offset * steps).astype(int).tolist()
        sums = printer._integer_sums(printer.matrix, x)
        by_hand = printer._printed_exactly(sums)
        assert printer.prints(by_hand, x)
        for place in generator.integers(0, 48, 3):
            off = by_hand.copy()
            off[place] = np.nextafter(off[place], by_hand.dtype.type(np.inf))
            assert not printer.prints(off, x)
        assert printer.grid_code(by_hand) == x
