"""Progress of a comparison: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from torchmanifold.optim.compare.perform import Row
from torchmanifold.optim.compare.plan import Run

__all__ = ["progress"]

PARTS = 4


@contextmanager
def progress(console: Console | None, runs: Sequence[Run]) -> Iterator[Callable[[list[Row]], None]]:
    """A function to call with the rows of each run as it ends.

    If the output is not a terminal, a line is printed for each quarter of a problem's runs.

    Args:
        console: the output; the standard output if None.
        runs: all runs.
    """
    console = console or Console(highlight=False)
    totals = Counter(run.key[0] for run in runs)
    if console.is_terminal:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        times = TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()
        with Progress(*columns, *times, console=console) as bars:
            tasks = {name: bars.add_task(name, total=total) for name, total in totals.items()}
            yield lambda rows: bars.advance(tasks[rows[0]["problem"]])
        return
    done: Counter[str] = Counter()

    def advance(rows: list[Row]) -> None:
        name = rows[0]["problem"]
        done[name] += 1
        count, total = done[name], totals[name]
        if count * PARTS // total > (count - 1) * PARTS // total:
            console.print(f"{name}: {count} of {total} runs", soft_wrap=True)
            console.file.flush()

    yield advance
