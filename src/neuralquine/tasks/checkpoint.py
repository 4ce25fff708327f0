"""The state of a training, kept after every epoch so that a killed one goes on where it was.

One safetensors file beside the folder that is to be written: parameters, their best values, Adam's moments; its metadata
holds the history and what the training was of. A file of another training is refused.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import QuineFileError, first_line
from ..files.atomic import replace_file
from ..files.folder import METADATA_KEY
from ..files.strict_json import canonical


class Checkpoint:
    """The file that keeps the state of a training.

    Args:
        path: the file; with None nothing is kept.
        problem: whatever determines the training, ready for JSON.
        resume: go on from what the file holds.

    Raises:
        QuineFileError: the file is not a checkpoint, or another training's.
    """

    def __init__(self, path: Path | None, problem: dict[str, Any], *, resume: bool) -> None:
        self.path = path
        self._fingerprint = hashlib.sha256(canonical(problem).encode()).hexdigest()
        self._metadata: dict[str, Any] = {}
        if path is not None and resume and path.exists():
            self._metadata = self._read(path)

    @property
    def found(self) -> bool:
        """Whether the file holds a state to go on from."""
        return bool(self._metadata)

    def keep(
        self,
        parameters: list[Tensor],
        best: list[Tensor],
        optimizer: torch.optim.Optimizer,
        history: list[dict[str, float]],
        seconds: float,
    ) -> None:
        """Replace the file by the state after an epoch, in one step."""
        if self.path is None:
            return
        tensors = {f"best.{i}": b for i, b in enumerate(best)}
        for i, p in enumerate(parameters):
            state = optimizer.state[p]
            tensors |= {
                f"now.{i}": p.detach(),
                **{f"{key}.{i}": state[key] for key in ("exp_avg", "exp_avg_sq", "step")},
            }
        metadata = {"fingerprint": self._fingerprint, "history": history, "seconds": seconds}
        try:
            with replace_file(self.path) as path:
                save_file(
                    {n: t.contiguous().cpu() for n, t in tensors.items()},
                    path,
                    metadata={METADATA_KEY: canonical(metadata)},
                )
        except (OSError, SafetensorError) as error:
            raise QuineFileError(f"cannot write {self.path}: {first_line(error)}") from error

    def restore(
        self, parameters: list[Tensor], best: list[Tensor], optimizer: torch.optim.Optimizer
    ) -> tuple[list[dict[str, float]], float]:
        """Put the kept state back; returns the history and the seconds."""
        assert self.path is not None
        kept = self._tensors(self.path, parameters)
        with torch.no_grad():
            for i, (p, values) in enumerate(zip(parameters, kept, strict=True)):
                p.copy_(values["now"])
                best[i] = values["best"].to(p)
                optimizer.state[p] = {
                    "step": values["step"],
                    "exp_avg": values["exp_avg"].to(p),
                    "exp_avg_sq": values["exp_avg_sq"].to(p),
                }
        return self._metadata["history"], float(self._metadata["seconds"])

    def discard(self) -> None:
        """Remove the file: the training is over, and nothing is left to resume."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _tensors(self, path: Path, parameters: list[Tensor]) -> list[dict[str, Tensor]]:
        """What the file holds for each parameter, if all of it fits: nothing is put back by halves."""
        kept = []
        try:
            with safe_open(path, framework="pt") as file:
                for i, p in enumerate(parameters):
                    values = {}
                    for key in ("now", "best", "exp_avg", "exp_avg_sq", "step"):
                        stored = file.get_slice(f"{key}.{i}")
                        shape, wanted = stored.get_shape(), [] if key == "step" else list(p.shape)
                        if shape != wanted or stored.get_dtype() not in ("F32", "F64"):
                            raise QuineFileError(f"{path} does not fit this training")
                        values[key] = file.get_tensor(f"{key}.{i}")
                        if not bool(torch.isfinite(values[key]).all()):
                            raise QuineFileError(f"{path} holds NaN or infinity")
                    kept.append(values)
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            raise QuineFileError(f"{path} does not fit this training: {first_line(error)}") from error
        return kept

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            if not path.is_file():  # a pipe would be waited for
                raise ValueError("it is not a file")
            with safe_open(path, framework="np") as file:
                metadata = json.loads((file.metadata() or {})[METADATA_KEY])
            fits = metadata["fingerprint"] == self._fingerprint
            if not (_number(metadata["seconds"]) and _is_history(metadata["history"])):
                raise ValueError("malformed history")
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise QuineFileError(f"{path} is not a checkpoint of a training: {first_line(error)}") from error
        if not fits:
            raise QuineFileError(f"{path} is the checkpoint of another training: remove it, or train without --resume")
        return metadata


def _number(value: Any) -> bool:
    """Whether this is a number that float64 holds; NaN and infinity stand for figures that a training did not have."""
    return type(value) is float or (type(value) is int and abs(value) <= 2**53)


def _is_history(value: Any) -> bool:
    """Whether this is a list of figures by name, the same names for every epoch."""
    if not isinstance(value, list) or not all(isinstance(figures, dict) for figures in value):
        return False
    alike = all(set(figures) == set(value[0]) for figures in value)
    return bool(value) and alike and all(_number(v) for figures in value for v in figures.values())
