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

_FAR = 1 << 53  # a whole number beyond it is none that a training writes, and not a floating-point number either
_MALFORMED = (
    *(SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError),
)


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
        """Put the kept state back; returns the history and the seconds.

        Raises:
            QuineFileError: the file lacks a tensor, or holds one of another shape or type.
        """
        assert self.path is not None
        try:
            with safe_open(self.path, framework="pt") as file:
                kept = [_state_of(file, i, p) for i, p in enumerate(parameters)]
        except (SafetensorError, OSError, ValueError) as error:
            raise QuineFileError(f"{self.path} does not fit this training: {first_line(error)}") from error
        with torch.no_grad():
            for i, (p, state) in enumerate(zip(parameters, kept, strict=True)):
                p.copy_(state.pop("now"))
                best[i] = state.pop("best").to(p)
                # The step is a number for Adam, and stays where it is.
                optimizer.state[p] = {key: t if key == "step" else t.to(p) for key, t in state.items()}
        return self._metadata["history"], float(self._metadata["seconds"])

    def discard(self) -> None:
        """Remove the file: the training is over, and nothing is left to resume."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _read(self, path: Path) -> dict[str, Any]:
        if not path.is_file():
            raise QuineFileError(f"{path} is not a file")
        try:
            with safe_open(path, framework="np") as file:
                metadata = json.loads((file.metadata() or {})[METADATA_KEY])
            fits = metadata["fingerprint"] == self._fingerprint
            _check_history(metadata["history"])
            if type(metadata["seconds"]) not in (int, float) or not 0 <= metadata["seconds"] < _FAR:
                raise ValueError("malformed seconds")
        except _MALFORMED as error:
            raise QuineFileError(f"{path} is not a checkpoint of a training: {first_line(error)}") from error
        if not fits:
            raise QuineFileError(f"{path} is the checkpoint of another training: remove it, or train without --resume")
        return metadata


def _check_history(history: Any) -> None:
    """Refuse a history that is not a list of rows of the same columns, numbers all."""
    if not isinstance(history, list) or not history:
        raise ValueError("malformed history")
    for row in history:
        if row.keys() != history[0].keys() or not {"epoch", "loss"} <= row.keys():
            raise ValueError("malformed history")
        if not all(type(v) is float or (type(v) is int and abs(v) < _FAR) for v in row.values()):
            raise ValueError("malformed history")


def _state_of(file: Any, number: int, parameter: Tensor) -> dict[str, Tensor]:
    """Read what belongs to one parameter; shapes are compared before a tensor is read."""
    state = {}
    for key in ("now", "best", "exp_avg", "exp_avg_sq", "step"):
        name = f"{key}.{number}"
        shape, dtype = ([], torch.float32) if key == "step" else (list(parameter.shape), parameter.dtype)
        if list(file.get_slice(name).get_shape()) != shape:
            raise ValueError(f"{name} has another shape")
        state[key] = file.get_tensor(name)
        if state[key].dtype != dtype:
            raise ValueError(f"{name} has another type")
        if not bool(torch.isfinite(state[key]).all()):
            raise ValueError(f"{name} holds NaN or infinity")
    return state
