"""Forged certificates and networks: a thin slice of what ``forgeries.py`` tries."""

import numpy as np
import pytest

from proving import forgeries


@pytest.mark.parametrize("kind", ["box", "moved grid", "queried", "tape of signs"])
def test_nothing_forged_passes(kind, tmp_path):
    certificate, draw = forgeries.made(kind, tmp_path / "q"), np.random.default_rng(0)
    assert forgeries.certificates(tmp_path / "q", certificate, 40, draw) == (40, [])
    assert forgeries.networks(tmp_path / "q", certificate, 3, draw) == (3, [])
    names = list(forgeries.IMPOSTORS)[sum(map(ord, kind)) % 4 :: 4]
    tried, passed = forgeries.impostors(tmp_path / "q", certificate, names)
    assert tried > 5
    assert passed == []
