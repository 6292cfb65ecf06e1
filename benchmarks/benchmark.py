"""A named benchmark: settings, pieces of work one after another, and a table."""

from __future__ import annotations

import fnmatch
import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from .peers import versions
from .table import Row, Table
from .timing import Work, measure

__all__ = ["Benchmark", "Piece", "Settings"]

REPEATS, BUDGET = 30, 15.0
QUICK_REPEATS, QUICK_BUDGET = 2, 5.0


@dataclass(frozen=True)
class Settings:
    """The settings of a piece of work: its device, its seed, and whether it is a quick trial."""

    device: torch.device
    seed: int
    quick: bool


@dataclass(frozen=True)
class Piece:
    """A piece of work that is prepared when its turn comes.

    Args:
        name: the name that `only` matches.
        prepare: makes the contenders.
    """

    name: str
    prepare: Callable[[], Work]


@dataclass(frozen=True)
class Benchmark:
    """A benchmark of the table `BENCHMARKS`; calling it runs it.

    Args:
        name: its name.
        summary: one line.
        pieces: its pieces of work for given settings.
    """

    name: str
    summary: str
    pieces: Callable[[Settings], Iterable[Piece]]

    def __call__(
        self,
        *,
        threads: int | None = None,
        repeats: int | None = None,
        seed: int = 0,
        device: str = "cpu",
        quick: bool = False,
        budget: float | None = None,
        only: str = "*",
        progress: Callable[[list[Row]], None] | None = None,
    ) -> Table:
        """Run it.

        Args:
            threads: threads of torch; unchanged if not given.
            repeats: rounds of each piece of work.
            seed: seed of all random inputs.
            device: `"cpu"` or `"cuda"`.
            quick: tiny sizes and two rounds, to test that everything runs; times mean nothing.
            budget: seconds for each contender of each piece of work.
            only: a glob for the names of pieces of work.
            progress: called with the rows of each finished piece of work.

        Raises:
            ValueError: for numbers out of range, an absent device, or a glob that matches nothing.
        """
        for option, value in (("threads", threads), ("repeats", repeats), ("budget", budget)):
            if value is not None and value <= 0:
                raise ValueError(f"{self.name}: {option} must be positive, got {value}")
        if torch.device(device).type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"{self.name}: PyTorch finds no CUDA device here, got {device!r}")
        repeats = repeats or (QUICK_REPEATS if quick else REPEATS)
        budget = budget or (QUICK_BUDGET if quick else BUDGET)
        settings = Settings(torch.device(device), seed, quick)
        pieces = [p for p in self.pieces(settings) if fnmatch.fnmatch(p.name, only)]
        if not pieces:
            names = [p.name for p in self.pieces(settings)]
            raise ValueError(f"{self.name}: no piece of work matches {only!r}; it has {names}")
        with _threads(threads), torch.random.fork_rng():
            table = Table(self.name, _described(settings, repeats), _environment(settings.device))
            for piece in pieces:
                torch.manual_seed(seed)
                rows = measure(piece.prepare(), repeats, budget, _waits(settings.device), not quick)
                table.rows += rows
                if progress is not None:
                    progress(rows)
        return table


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        # The BLAS of NumPy, in which peers compute, has threads of its own.
        with threadpool_limits(torch.get_num_threads()):
            yield
    finally:
        torch.set_num_threads(before)


def _waits(device: torch.device) -> Callable[[], None]:
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None


def _described(settings: Settings, repeats: int) -> dict[str, object]:
    return {
        "threads": torch.get_num_threads(),
        "repeats": repeats,
        "seed": settings.seed,
        "device": str(settings.device),
        "quick": settings.quick,
    }


def _environment(device: torch.device) -> dict[str, object]:
    if device.type == "cuda":
        machine = torch.cuda.get_device_name(device)
    else:
        cpuinfo = Path("/proc/cpuinfo")
        lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        machine = names[0] if names else platform.processor()
    return {**versions(), "machine": machine}
