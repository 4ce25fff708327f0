"""What a folder wears on the Hub: a picture of the quine, and a card that shows it and says how to load it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from ..checking.verify import Verification
from ..errors import BadOption
from ..files.folder import read_config
from ..files.names import CARD
from ..quines.quine import Quine
from ..solving.solution import Solution
from .card import missing_arguments, model_card
from .report import Search, saved_accuracy

_PICTURE = "figures/weights-1.png"  # as `neuralquine plot` calls it
_ROWS = 4  # tensors that it shows: a card is read at a glance


def dress(
    folder: Path,
    quine: Quine,
    verification: Verification,
    *,
    search: Solution | Search | None,
    repo_id: str,
    license: str | None,
) -> None:
    """Draw a quine into its folder, where the extra ``plot`` is installed, and write the card anew for a repository.

    Args:
        folder: of the quine.
        quine: what lies in it.
        verification: the figures that the card shows.
        search: how the quine was found, if that is known.
        repo_id: the repository, ``owner/name``.
        license: an identifier that the Hub knows; None for the licence of this package where the network is one of its
            recipes, and for none otherwise.
    """
    if license is not None and not re.fullmatch(r"[\w.-]{1,60}", license):
        raise BadOption(f"{license!r} is not the identifier of a licence, such as apache-2.0 or cc0-1.0")
    picture = None
    if importlib.util.find_spec("matplotlib") is not None:
        from ..checking.plots import weight_figures, write_figure

        (page, *_) = weight_figures(quine, most=_ROWS)
        picture = _PICTURE
        (folder / picture).parent.mkdir(exist_ok=True)
        write_figure(page, folder / picture)
    missing = missing_arguments(read_config(folder))
    card = model_card(
        quine,
        verification,
        search,
        missing=missing,
        address=f"hf:{repo_id}",
        picture=picture,
        license=license,
        test_accuracy=saved_accuracy(folder),
    )
    (folder / CARD).write_text(card, encoding="utf-8")
