"""Further outputs of the rows of a run, beside the results folder, while it goes on."""

from __future__ import annotations

import importlib
import importlib.util
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torchmanifold.optim.compare.perform import Row
from torchmanifold.optim.compare.plan import Run, config_text

__all__ = ["Said", "TensorBoard"]

SCALARS = ("loss", "gap", "accuracy", "residual")
LINES = 10  # lines for each run


@dataclass(frozen=True)
class TensorBoard:
    """Called with a run and a row, it writes the row's scalars; a folder for each run.

    Args:
        folder: the parent of these folders.

    Raises:
        ValueError: if the package tensorboard is not installed.
    """

    folder: Path

    def __post_init__(self) -> None:
        """Refuse if the package is absent."""
        if importlib.util.find_spec("tensorboard") is None:
            raise ValueError("--tensorboard needs the package tensorboard: pip install tensorboard")

    def __call__(self, run: Run, row: Row) -> None:
        """Write and flush, so that an interrupted run keeps its log."""
        problem, method, _, config, seed = run.key
        writer = _writer(self.folder / f"{method}-{config.replace(', ', '-')}-seed{seed}")
        for name in SCALARS:
            if math.isfinite(row.get(name, math.nan)):
                writer.add_scalar(f"{problem}/{name}", row[name], row["iteration"])
        writer.flush()


@cache
def _writer(folder: Path) -> Any:
    # By name, because the package is optional and needed only here.
    return importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(folder))


@dataclass(frozen=True)
class Said:
    """Called with a run and a row, it prints a line now and then, because networks take minutes."""

    def __call__(self, run: Run, row: Row) -> None:
        """Print the progress of the run."""
        place, steps = row["iteration"], run.steps
        part = max(1, steps // LINES)
        if place % part and place != steps:
            return
        _, method, _, _, seed = run.key
        config = config_text(dict(run.config)).replace("=", " ")
        score = f", accuracy {row['accuracy']:.3f}" if "accuracy" in row else ""
        print(
            f"{method}, {config}, seed {seed}: step {place} of {steps}, loss {row['loss']:.4f}"
            f"{score}, {row['seconds']:.0f} s",
            flush=True,
        )
