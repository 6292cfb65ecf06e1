"""Pass runs to an executor and yield their rows, even if workers are killed."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from torchmanifold.optim.compare.perform import Row, failed_row, perform
from torchmanifold.optim.compare.plan import Run

__all__ = ["Attempt", "carry"]

TRIES = 3  # attempts at a run whose worker is killed
AHEAD = 2  # submitted runs for each worker


class _Late(Exception):
    """A run has exceeded its time limit."""


@contextmanager
def _limited(seconds: float | None) -> Iterator[None]:
    """Interrupt a run that takes too long, if the system supports it."""
    able = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if seconds is None or not able:
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class Attempt:
    """Performs a run; an error becomes a row with its message.

    Args:
        folder: the folder for checkpoints of networks.
        log: called with the run and each new row.
    """

    folder: Path | None = None
    log: Callable[[Run, Row], None] | None = None

    def __call__(self, run: Run) -> list[Row]:
        """The rows of the run."""
        try:
            with _limited(run.time_limit):
                return perform(run, self.folder, self.log)
        except _Late:
            return [failed_row(run, f"took longer than {run.time_limit:g} s")]
        except Exception as error:  # a user's code may raise anything; the other runs go on
            text = " ".join(str(error).split())
            return [failed_row(run, f"{type(error).__name__}: {text}")]


def carry(
    runs: Iterable[Run],
    attempt: Callable[[Run], list[Row]],
    executor: Executor | None,
    workers: int = 1,
) -> Iterator[list[Row]]:
    """Perform runs and yield the rows of each as it ends.

    A run whose worker is killed is repeated; after the third time it becomes a failed row.

    Args:
        runs: the runs.
        attempt: performs a run and raises nothing.
        executor: the executor; None for this process, one run after another.
        workers: the number of simultaneous runs of the executor.

    Raises:
        BrokenExecutor: if an executor that cannot be renewed has broken.
    """
    if executor is None:
        yield from map(attempt, runs)
        return
    yield from _Carrier(attempt, executor, workers).rows(runs)


class _Carrier:
    def __init__(self, attempt: Callable[[Run], list[Row]], executor: Executor, workers: int):
        self.attempt, self.executor, self.workers = attempt, executor, workers
        self.killed: dict[Run, int] = {}
        self.suspects: deque[Run] = deque()

    def rows(self, runs: Iterable[Run]) -> Iterator[list[Row]]:
        coming = iter(runs)
        flying: dict[Future[list[Row]], Run] = {}
        while True:
            # The runs that were active when a worker was killed are repeated one at a time: the
            # next one that breaks the pool is the culprit.
            while self.suspects:
                yield self._alone(self.suspects.popleft())
            while len(flying) < AHEAD * self.workers and (run := next(coming, None)) is not None:
                flying[self.executor.submit(self.attempt, run)] = run
            if not flying:
                return
            ended, _ = wait(flying, return_when=FIRST_COMPLETED)
            broken = False
            for future in ended:
                try:
                    rows = future.result()
                except BrokenExecutor:
                    broken = True
                    continue
                del flying[future]
                yield rows
            if broken:
                self.suspects.extend(flying.values())
                flying = {}
                self._renew()

    def _alone(self, run: Run) -> list[Row]:
        while True:
            try:
                return self.executor.submit(self.attempt, run).result()
            except BrokenExecutor:
                self.killed[run] = self.killed.get(run, 0) + 1
                self._renew()
            if self.killed[run] == TRIES:
                return [failed_row(run, f"killed its worker {TRIES} times")]

    def _renew(self) -> None:
        renew: Any = getattr(self.executor, "renew", None)
        if renew is None:
            raise BrokenExecutor("the workers of the executor are gone")
        renew()
