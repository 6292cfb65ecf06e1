"""Rows to TensorBoard, for those who ask for it."""

from __future__ import annotations

import importlib
import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path

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
        """Write and close: a run that is cut short leaves nothing open."""
        # By name: the package is optional, and only looked for where it is used.
        tensorboard = importlib.import_module("torch.utils.tensorboard")
        place = self.folder / f"{run.method}-lr{run.lr:g}-seed{run.seed}"
        with tensorboard.SummaryWriter(str(place)) as writer:
            for name in SCALARS:
                if math.isfinite(row[name]):
                    writer.add_scalar(f"{run.problem}/{name}", row[name], row["iteration"])
