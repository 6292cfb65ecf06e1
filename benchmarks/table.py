"""The results of a benchmark: rows that print as an aligned table and are written as JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

__all__ = ["FIGURES", "Row", "Spread", "Table", "Target", "Verdict"]

WIDTH = 200  # where the table is turned into text

# The figures that a target can bound, and their units in print.
FIGURES = {
    "ratio": " times ours",
    "products": " products",
    "milliseconds": " ms",
    "megabytes": " MB",
    "weights": " times the weight's memory",
    "behind": " us behind",
}


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of the samples."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Iterable[float]) -> Spread:
        """Median and quartiles, by linear interpolation.

        Example:
            >>> from torchmanifold.benchmarks.table import Spread
            >>> Spread.of([3.0, 1.0, 2.0])
            Spread(median=2.0, low=1.5, high=2.5)
        """
        ordered = sorted(samples)

        def quantile(q: float) -> float:
            place = q * (len(ordered) - 1)
            below = int(place)
            above = min(below + 1, len(ordered) - 1)
            return ordered[below] + (place - below) * (ordered[above] - ordered[below])

        return cls(quantile(0.5), quantile(0.25), quantile(0.75))

    def __str__(self) -> str:
        """Median and, in brackets, the quartiles."""
        return f"{_number(self.median)} [{_number(self.low)}, {_number(self.high)}]"


@dataclass(frozen=True)
class Target:
    """A bound on one figure of a row.

    Args:
        figure: one of `FIGURES`.
        bound: its bound.
        at_least: whether it is a lower bound; otherwise it is an upper one.
        what: its text, if it does not follow from the bound.
    """

    figure: str
    bound: float
    at_least: bool = False
    what: str = ""

    def __post_init__(self) -> None:
        """Refuse a figure that no row has."""
        if self.figure not in FIGURES:
            raise ValueError(f"Target: figure must be in {list(FIGURES)}, got {self.figure!r}")

    @classmethod
    def faster(cls, times: float) -> Target:
        """Ours takes at most `1 / times` of this contender's time."""
        return cls("ratio", times, at_least=True)

    @classmethod
    def at_most_times(cls, times: float) -> Target:
        """Ours takes at most `times` this contender's time."""
        return cls("ratio", 1 / times, at_least=True, what=f"ours <= {times:g} times this")

    def reached(self, figures: Mapping[str, float | None]) -> bool:
        """Whether the row keeps the bound; a figure that was not measured does not."""
        value = figures[self.figure]
        if value is None:
            return False
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        """The bound with its unit."""
        sign = ">=" if self.at_least else "<="
        return self.what or f"{sign} {self.bound:g}{FIGURES[self.figure]}"


@dataclass(frozen=True)
class Verdict:
    """A target and whether it was reached; None if the target is for other sizes."""

    target: str
    reached: bool | None

    def __str__(self) -> str:
        """The target, and "reached" or "NOT REACHED"."""
        words = {True: "reached", False: "NOT REACHED", None: "not judged"}
        return f"{self.target}: {words[self.reached]}"


@dataclass(frozen=True)
class Row:
    """One contender at one piece of work.

    Attributes:
        work: the piece of work, with its size.
        method: the contender.
        ours: whether it is this library.
        samples: the number of samples.
        milliseconds: the time of one call.
        ratio: its time over that of ours in the same round.
        products: its median time over that of a product of the same size, if there is one.
        residual: the error of the result, evaluated in float64.
        megabytes: peak of memory beyond the memory before, if it is measured.
        verdicts: the targets of this row.
        note: words about the result, such as counts.
    """

    work: str
    method: str
    ours: bool
    samples: int
    milliseconds: Spread
    ratio: Spread
    products: float | None
    residual: float
    megabytes: float | None = None
    verdicts: tuple[Verdict, ...] = ()
    note: str = ""


@dataclass
class Table:
    """The rows of one benchmark; prints as an aligned table and is written as JSON.

    Args:
        name: name of the benchmark.
        settings: threads, repeats, seed, device, whether it was quick.
        environment: versions and machine.
        rows: the rows.
    """

    name: str
    settings: dict[str, Any]
    environment: dict[str, Any]
    rows: list[Row] = field(default_factory=list)

    def __iter__(self) -> Iterator[Row]:
        """Iterate over the rows."""
        return iter(self.rows)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def __rich__(self) -> RichTable:
        """The aligned table."""
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        table = RichTable(
            title=f"{self.name}: {settings}",
            caption=", ".join(f"{name} {value}" for name, value in self.environment.items()),
            title_justify="left",
            caption_justify="left",
        )
        for head in ("work", "method", "ms [quartiles]", "time / ours", "products", "residual"):
            right = head not in ("work", "method")
            table.add_column(head, justify="right" if right else "left", no_wrap=right)
        table.add_column("MB", justify="right")
        table.add_column("note", justify="right", no_wrap=True)
        table.add_column("target")
        before = ""
        for row in self.rows:
            if before not in ("", row.work):
                table.add_section()
            table.add_row(
                "" if row.work == before else row.work,
                row.method,
                str(row.milliseconds),
                "1" if row.ratio == Spread(1, 1, 1) else str(row.ratio),
                "" if row.products is None else _number(row.products),
                f"{row.residual:.1e}",
                "" if row.megabytes is None else _number(row.megabytes),
                row.note,
                "\n".join(map(str, row.verdicts)),
                style="bold" if row.ours else "",
            )
            before = row.work
        return table

    def __str__(self) -> str:
        """The aligned table as text."""
        console = Console(width=WIDTH, file=io.StringIO(), color_system=None)
        console.print(self)
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    def missed(self) -> list[Row]:
        """The rows that miss one of their targets."""
        return [row for row in self.rows if any(v.reached is False for v in row.verdicts)]

    def as_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and strings."""
        return asdict(self)

    def write_json(self, path: str | Path) -> None:
        """Write `as_dict` to a file."""
        Path(path).write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")


def _number(x: float) -> str:
    """Three digits, without powers of ten in the usual range of times and ratios."""
    return f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}" if abs(x) >= 1e-4 else f"{x:.1e}"
