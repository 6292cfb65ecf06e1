"""Rows to TensorBoard, for those who ask for it."""

from __future__ import annotations

import importlib
import importlib.util
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torchmanifold.optim.compare.recurrent.settings import RecurrentRun
from torchmanifold.optim.compare.run import Row

__all__ = ["TensorBoard", "require_tensorboard"]

SCALARS = ("loss", "accuracy", "residual")


def require_tensorboard() -> None:
    """Refuse where the package is absent.

    Raises:
        ValueError: if it is.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ValueError("--tensorboard needs the package tensorboard: pip install tensorboard")


@dataclass(frozen=True)
class TensorBoard:
    """Called with a run and a row, it writes the row's scalars; a folder for each run.

    Args:
        folder: where the folders go.
    """

    folder: Path

    def __call__(self, run: RecurrentRun, row: Row) -> None:
        """Write and flush: what a run that is cut short has logged is there."""
        writer = _writer(self.folder / f"{run.method}-lr{run.lr:g}-seed{run.seed}")
        for name in SCALARS:
            if math.isfinite(row[name]):
                writer.add_scalar(f"{run.problem}/{name}", row[name], row["iteration"])
        writer.flush()


@cache
def _writer(folder: Path) -> Any:
    # By name: the package is optional, and only looked for where it is used.
    return importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(folder))
