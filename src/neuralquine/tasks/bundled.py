"""The digits that scikit-learn brings along and its stratified split, without the seconds that importing it takes.

The split is that of ``sklearn.model_selection.train_test_split``, index by index: what a quine was trained on and what it
is tested on follows from the seed of its recipe, so it must stay what it was.
"""

from __future__ import annotations

import gzip
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import needed


def handwritten() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return scikit-learn's digits: images ``(1797, 8, 8)`` of whole numbers from 0 to 16, and their labels.

    Raises:
        NeuralQuineError: scikit-learn is not installed.
    """
    spec = find_spec("sklearn")
    for place in (spec and spec.submodule_search_locations) or ():
        path = Path(place) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            with gzip.open(path, "rt") as file:
                rows = np.loadtxt(file, delimiter=",")
            return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
    bunch: Any = needed("sklearn.datasets", "tasks", "the digits need", "scikit-learn").load_digits()
    return bunch.images, bunch.target.astype(np.int64)


def stratified(labels: NDArray[np.int64], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split positions so that both parts have every label in the same proportion.

    Args:
        labels: the label of every position.
        share: of the positions, the part that is split off.
        seed: decides the split.

    Returns:
        The positions that stay and those that are split off, each in random order.
    """
    draw = np.random.RandomState(seed)
    kinds, counts = np.unique(labels, return_counts=True)
    off = math.ceil(share * len(labels))
    stay = _spread(counts, len(labels) - off, draw)
    leave = _spread(counts - stay, off, draw)
    parts: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]] = ([], [])
    for kind, first, second in zip(kinds, stay, leave, strict=True):
        members = np.flatnonzero(labels == kind)
        members = members[draw.permutation(len(members))]
        parts[0].append(members[:first])
        parts[1].append(members[first : first + second])
    return draw.permutation(np.concatenate(parts[0])), draw.permutation(np.concatenate(parts[1]))


def _spread(counts: NDArray[np.int64], total: int, draw: np.random.RandomState) -> NDArray[np.int64]:
    """Share ``total`` among kinds in proportion to their counts; what rounding leaves goes to the largest remainders."""
    wanted = counts / counts.sum() * total
    found = np.floor(wanted)
    for remainder in np.unique(wanted - np.floor(wanted))[::-1]:
        missing = int(total - found.sum())
        if missing <= 0:
            break
        alike = np.flatnonzero(wanted - np.floor(wanted) == remainder)
        found[draw.choice(alike, size=min(len(alike), missing), replace=False)] += 1
    return found.astype(np.int64)
