"""Checkpoints of runs that train networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from torchmanifold.optim.compare.plan import Run

__all__ = ["Checkpoint"]

PARTS = {"run": str, "model": dict, "optimizer": dict, "rows": list, "evaluations": int}


@dataclass
class Checkpoint:
    """The progress of a run, kept in a file if it has a path.

    Args:
        path: the file; nothing is written if None.
        run: the id of the run.
        rows: the recorded rows.
        state: the content of the file, until it is restored.
    """

    path: Path | None = None
    run: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, Any] | None = None

    @classmethod
    def of(cls, run: Run, folder: Path | None) -> Checkpoint:
        """The checkpoint of a run, read if its file exists.

        Raises:
            ValueError: if the file is damaged, or of another run.
        """
        if folder is None:
            return cls()
        problem, method, *_ = run.key
        path = folder / f"{problem}-{method}-seed{run.seed}-{run.id}.pt"
        if not path.exists():
            return cls(path, run.id)
        state = _read(path)
        if state["run"] != run.id:
            raise ValueError(f"{path} is of another run; remove it, or give another folder")
        return cls(path, run.id, state["rows"], state)

    @property
    def done(self) -> int:
        """The number of steps so far."""
        return self.rows[-1]["iteration"] if self.rows else 0

    @property
    def seconds(self) -> float:
        """The seconds of these steps."""
        return self.rows[-1]["seconds"] if self.rows else 0.0

    def restore(self, model: nn.Module, stepper: Any) -> int:
        """Restore model and optimizer.

        Returns:
            The number of evaluations so far.

        Raises:
            ValueError: if they do not fit the file.
        """
        if self.state is None:
            return 0
        try:
            model.load_state_dict(self.state["model"])
            if isinstance(stepper, Optimizer):
                stepper.load_state_dict(self.state["optimizer"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.path} does not fit this network; remove it: {str(error).splitlines()[0]}"
            ) from error
        evaluations: int = self.state["evaluations"]
        return evaluations

    def save(self, model: nn.Module, stepper: Any, evaluations: int) -> None:
        """Write the file, completely or not at all."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        optimizer = stepper.state_dict() if isinstance(stepper, Optimizer) else {}
        state = {
            "run": self.run, "model": model.state_dict(), "optimizer": optimizer,
            "rows": self.rows, "evaluations": evaluations,
        }  # fmt: skip
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.path)


def _read(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle raise nearly anything on damaged bytes
        raise ValueError(
            f"the checkpoint {path} is damaged ({type(error).__name__}); remove it, and the run "
            "begins anew"
        ) from error
    sound = isinstance(state, dict) and all(isinstance(state.get(k), t) for k, t in PARTS.items())
    if not sound:
        raise ValueError(f"{path} is not a checkpoint of a comparison; remove it")
    return state
