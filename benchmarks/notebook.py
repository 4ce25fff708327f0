"""The notebook run from top to bottom, and kept with what its cells showed.

pip install nbclient ipykernel            # which no extra of this package installs
python benchmarks/notebook.py             # examples/first_quine.ipynb
"""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "first_quine.ipynb"
_SECONDS = 300  # for a cell; the slowest takes six


def main() -> None:
    """Run it in an empty folder, and write it without the times at which its cells ran."""
    nbformat, nbclient = importlib.import_module("nbformat"), importlib.import_module("nbclient")
    book = nbformat.read(NOTEBOOK, 4)
    with tempfile.TemporaryDirectory() as place:
        resources = {"metadata": {"path": place}}
        nbclient.NotebookClient(book, timeout=_SECONDS, kernel_name="python3", resources=resources).execute()
    for cell in book.cells:
        cell.metadata.pop("execution", None)
    nbformat.write(book, NOTEBOOK)


if __name__ == "__main__":
    main()
