"""The report while runs end: a page that reloads itself."""

from __future__ import annotations

from time import monotonic

from torchmanifold.optim.compare.perform import Row
from torchmanifold.optim.compare.results import Results
from torchmanifold.optim.compare.rows import is_failed

__all__ = ["Live"]

#: The pages take at most this part of the time, however long one of them takes.
SHARE = 0.05


class Live:
    """Writes the page of a results folder while runs end; call it with the rows of each run.

    Args:
        results: the results.
        total: the number of runs to do.
        every: the least number of seconds between two pages; None for no page.
    """

    def __init__(self, results: Results, total: int, every: float | None) -> None:
        self.results = results
        self.total = total
        self.every = every
        self.done = 0
        self.due = 0.0

    def __call__(self, rows: list[Row]) -> None:
        """Count a run that ended, and write the page if it is due."""
        self.done += 1
        now = monotonic()
        # A failed run has nothing to draw, and the last one is followed by the whole report.
        if self.every is None or now < self.due or is_failed(rows[0]) or self.done == self.total:
            return
        self.results.report(live={"done": self.done, "total": self.total, "every": self.every})
        self.due = now + max(self.every, (monotonic() - now) / SHARE)
