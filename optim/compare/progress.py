"""Progress of a comparison: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

__all__ = ["progress"]

PARTS = 4


@contextmanager
def progress(console: Console, runs: Iterable[Any]) -> Iterator[Callable[[str], None]]:
    """A function to call with the problem's name as each of its runs ends.

    Elsewhere than on a terminal a line is printed for each quarter of a problem's runs.
    """
    totals = Counter(run.problem for run in runs)
    if console.is_terminal:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
            tasks = {name: bars.add_task(name, total=total) for name, total in totals.items()}
            yield lambda name: bars.advance(tasks[name])
        return
    done: Counter[str] = Counter()

    def advance(name: str) -> None:
        done[name] += 1
        count, total = done[name], totals[name]
        if count * PARTS // total > (count - 1) * PARTS // total:
            console.print(f"{name}: {count} of {total} runs", soft_wrap=True)
            console.file.flush()

    yield advance
