"""An exported file that was dropped on the page: the lab writes the graph of the quine that it describes, and compares."""

from __future__ import annotations

from typing import Any

from ..errors import needed
from .patient import Report


def compare(report: Report, *, file: str) -> dict[str, Any]:
    """Say whether a file's graph is the one that the exporter writes, node by node, and what the bits of its run are."""
    needed("onnx", "onnx", "comparing an ONNX file needs")
    from ..keeping.onnx.check import checked

    found = checked(file)
    return {
        "verdict": found.verdict.name.lower(),
        "is_quine": found.is_quine,
        "reason": found.reason.replace(file, "the file"),
        "said": found.verdict.value,
    }


DONE_HERE = (compare,)
