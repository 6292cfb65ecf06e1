"""The output of `verbose=True`: aligned columns, a row at a time."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.state import RUNNING, State

__all__ = ["Columns", "Progress"]

_OFTEN = 0.1  # seconds between rows that a terminal overwrites


class Columns:
    """Rows under a heading.

    Args:
        widths: the width of each column, by its name.
    """

    def __init__(self, widths: dict[str, int]) -> None:
        """Print the heading."""
        self.widths = [max(len(name), width) for name, width in widths.items()]
        self.terminal = sys.stdout.isatty()
        self.row(list(widths))

    def row(self, cells: Sequence[str], *, stays: bool = True) -> None:
        """Print a row; on a terminal the next one overwrites it, unless it stays."""
        text = "  ".join(cell.rjust(width) for cell, width in zip(cells, self.widths, strict=True))
        begin = "\r" if self.terminal else ""
        print(begin + text, end="\n" if stays else "", flush=True)


class Progress:
    """The iterations of a solver: each of the first ten, every tenth up to a hundred, and so on.

    A terminal shows the present iteration below them.
    """

    def __init__(self, objective: Objective) -> None:
        """Print the heading."""
        self.total = objective.space.rows.count
        widths = {"iteration": 9, "evaluations": 11}
        widths |= {"value": 17} if self.total == 1 else {"running": 7, "largest value": 17}
        if objective.order > 0:
            widths["gradient norm" if self.total == 1 else "largest gradient norm"] = 9
        widths |= {"step" if self.total == 1 else "longest step": 8, "seconds": 8}
        self.columns = Columns(widths)
        self.shown = self.kept = -1
        self.clock = -_OFTEN

    def show(
        self, objective: Objective, state: State, seconds: float, *, last: bool = False
    ) -> None:
        """Print the iteration, if its number is one to print."""
        rows = objective.space.rows

        def largest(value: Any) -> float:
            return float(rows.tensor(value).max())

        nit = int(largest(state.nit))
        stays = last or nit % 10 ** (len(str(nit)) - 1) == 0
        often = self.columns.terminal and time.perf_counter() - self.clock >= _OFTEN
        if nit == self.kept or not (stays or (often and nit != self.shown)):
            return
        cells = [str(nit), str(objective.counts.nfev)]
        if self.total > 1:
            cells.append(str(int((rows.tensor(state.verdict) == RUNNING).sum())))
        cells.append(f"{largest(state.f): .10e}")
        if objective.order > 0:
            cells.append(f"{largest(state.norm):.2e}")
        cells += [f"{largest(state.step):.1e}" if nit else "", f"{seconds:.2f}"]
        self.columns.row(cells, stays=stays)
        self.shown, self.clock = nit, time.perf_counter()
        self.kept = nit if stays else self.kept
