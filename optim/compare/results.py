"""The results folder, written as runs end: settings.json, runs.jsonl and summary.csv."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from torchmanifold.optim.compare.environment import environment
from torchmanifold.optim.compare.instance import Panel
from torchmanifold.optim.compare.parquet import write_parquet
from torchmanifold.optim.compare.perform import Row
from torchmanifold.optim.compare.plan import Plan, config_text
from torchmanifold.optim.compare.report import (
    SummaryTable,
    costs,
    draw,
    page,
    profile_figure,
    save,
    table,
)
from torchmanifold.optim.compare.rows import (
    MEASURED,
    Order,
    is_failed,
    is_row,
    key_of,
    line_of,
    parsed,
)
from torchmanifold.optim.compare.summary import summarize

__all__ = ["FORMAT", "Results"]

FORMAT = 2  # the format of the files; any other is refused


@dataclass(frozen=True)
class Results:
    """A results folder.

    Args:
        folder: its path.
    """

    folder: Path

    @property
    def _runs(self) -> Path:
        return self.folder / "runs.jsonl"

    @property
    def _settings(self) -> Path:
        return self.folder / "settings.json"

    def begin(self, plan: Plan, command: str, resume: bool) -> set[tuple[Any, ...]]:
        """Make the folder, or resume an interrupted one.

        Args:
            plan: the plan; a resumed folder must have the same plan.
            command: the command line, for the record.
            resume: keep the finished runs of the folder.

        Returns:
            The keys of the finished runs. Failed runs are repeated.

        Raises:
            ValueError: if the folder is not empty, or was made with other settings, or there is
                nothing to resume.
            OSError: if it cannot be written.
        """
        if resume and self._settings.exists():
            return self._take_up(plan)
        if self.folder.is_dir() and any(self.folder.iterdir()):
            remedy = "give another --out" if resume else "give another --out, or --resume"
            raise ValueError(f"the folder {self.folder} is not empty; {remedy}")
        if resume:
            raise ValueError(f"there is nothing to resume in {self.folder}; leave out --resume")
        about = environment(plan.device)
        self.folder.mkdir(parents=True, exist_ok=True)
        record = {
            "format": FORMAT,
            "command": command,
            "settings": plan.description,
            "environment": about,
        }
        self._replace(self._settings, json.dumps(record, indent=2) + "\n")
        self._runs.touch()
        return set()

    def _take_up(self, plan: Plan) -> set[tuple[Any, ...]]:
        then, now = self.settings()["settings"], json.loads(json.dumps(plan.description))
        other = [name for name in now if then.get(name) != now[name]]
        if other:
            raise ValueError(
                f"the folder {self.folder} was made with other settings "
                f"({', '.join(other)}); give the same options as then, or another --out"
            )
        rows = self._rows()
        done = {key_of(row) for row in rows if row["final"] and not is_failed(row)}
        # The rows of an interrupted run are dropped.
        kept = [row for row in rows if key_of(row) in done]
        self._replace(self._runs, "".join(map(line_of, kept)))
        return done

    def append(self, rows: Iterable[Row]) -> None:
        """Add the rows of one run, in one write that reaches the disk."""
        with self._runs.open("a") as file:
            file.write("".join(map(line_of, rows)))
            file.flush()
            os.fsync(file.fileno())

    def settings(self) -> dict[str, Any]:
        """The content of settings.json: command, settings, environment.

        Raises:
            ValueError: if the folder has no such file, or no comparison wrote it.
        """
        if not self._settings.is_file():
            raise ValueError(f"{self.folder} is not a results folder: no settings.json")
        record = parsed(self._settings.read_text(errors="replace"))
        ours = isinstance(record, dict) and isinstance(record.get("command"), str)
        if ours and record.get("format", 1) != FORMAT:
            raise ValueError(
                f"{self.folder} was written by another version of torchmanifold (format "
                f"{record.get('format', 1)}, not {FORMAT}); run the comparison again"
            )
        kinds = {"command": str, "settings": dict, "environment": dict}
        if not isinstance(record, dict) or any(
            not isinstance(record.get(name), kind) for name, kind in kinds.items()
        ):
            raise ValueError(f"{self._settings} was not written by compare")
        return record

    def _rows(self) -> list[Row]:
        # Text after the last line break is an incomplete line of an unfinished run.
        rows = [parsed(line) for line in self._text().split("\n")[:-1]]
        seen: set[tuple[Any, ...]] = set()
        for number, row in enumerate(rows, 1):
            if not is_row(row):
                raise ValueError(f"{self._runs}, line {number}: not written by compare")
            place = (*key_of(row), row["iteration"])
            if place in seen:
                raise ValueError(f"{self._runs}, line {number}: this row occurs twice")
            seen.add(place)
        return rows

    def _text(self) -> str:
        """The text of runs.jsonl, or of runs.jsonl.gz if it was compressed."""
        packed = self.folder / "runs.jsonl.gz"
        if self._runs.exists():
            return self._runs.read_text(errors="replace")
        if not packed.exists():
            return ""
        try:
            return gzip.decompress(packed.read_bytes()).decode(errors="replace")
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{packed} is not a gzip file, or is cut short") from error

    def frame(self) -> pd.DataFrame:
        """The rows of all finished runs, in an order that does not depend on the machine.

        The frame also has a column for each hyperparameter, and `config` has all hyperparameters in
        one line.

        Raises:
            ValueError: if there are no finished runs.
        """
        rows, settings = self._rows(), self.settings()["settings"]
        done = {key_of(row) for row in rows if row["final"]}
        if not done:
            raise ValueError(f"{self.folder} has no finished run; is it a results folder?")
        order = Order(settings)
        flat = [
            {**row["config"], **row, "config": config_text(row["config"])}
            for row in sorted((r for r in rows if key_of(r) in done), key=order)
        ]
        frame = pd.DataFrame(flat)
        numbers = [*MEASURED, "gap", "gradient_norm", "seconds", "floor"]
        return frame.astype({name: float for name in numbers if name in frame})

    to_pandas = frame

    def to_parquet(self, path: Path | str | None = None) -> Path:
        """Write the rows of `frame` as Parquet, by default to `runs.parquet` in the folder.

        Raises:
            ValueError: if pyarrow is not installed.
        """
        return write_parquet(self.frame(), Path(path) if path else self.folder / "runs.parquet")

    def failures(self) -> list[Row]:
        """The rows of failed runs, with the reason."""
        return [row for row in self._rows() if is_failed(row)]

    def summary(self) -> pd.DataFrame:
        """One row for each problem, dtype, method and choice of hyperparameters."""
        return summarize(self.frame(), self.settings()["settings"]["problems"])

    def table(self) -> SummaryTable:
        """The chosen hyperparameters of each method on each problem; `print` shows it."""
        return table(self.summary(), self.settings()["settings"]["problems"])

    def plot(self, y: str | None = None, against: str = "iteration") -> list[Path]:
        """Draw a figure for each problem and precision, as SVG and PNG.

        Args:
            y: a column, such as "gap" or "loss"; by default all panels of the problems.
            against: "iteration", "seconds" or "evaluations".

        Returns:
            The paths of the SVG files, under `figures` of the folder.

        Raises:
            ValueError: for an unknown column.
        """
        settings = self.settings()["settings"]
        frame = self.frame()
        folder = self.folder / "figures"
        if y is not None:
            settings = _with_one_panel(settings, frame, y, against)
            folder = folder / f"{y}-{against}"
        summary = summarize(frame, settings["problems"])
        figures = draw(frame, summary[summary["chosen"]], settings, folder)
        return [path for _, path in figures]

    def profile(self, tol: float = 1e-6, against: str = "evaluations") -> Path:
        """Draw performance and data profiles over all problems with a known optimum.

        Args:
            tol: the fraction of the first gap at which a problem counts as solved.
            against: "evaluations", "seconds" or "iteration".

        Returns:
            The path of the SVG file, under `figures` of the folder.

        Raises:
            ValueError: if no problem has a known optimum, or for another `against`.

        Source: Dolan & More 2002; More & Wild 2009.
        """
        if against not in ("evaluations", "seconds", "iteration"):
            raise ValueError(f"against must be evaluations, seconds or iteration; got {against!r}")
        summary = self.summary()
        table = costs(self.frame(), summary[summary["chosen"]], tol, against)
        figure = profile_figure(table, tol, against)
        return save(figure, self.folder / "figures" / f"profile-{against}.svg")

    def report(self, path: Path | str | None = None, live: Mapping[str, Any] | None = None) -> Path:
        """Write summary.csv, the figures and the report, a page that needs no network.

        Args:
            path: the path of the page; by default `report.html` in the folder.
            live: the numbers `done` and `total` of runs, and the seconds `every` after which the
                page reloads itself. The page is then written alone, without figures.

        Returns:
            The path of the page.

        Raises:
            ValueError: if the folder has no finished run, or files that a comparison did not write.
            OSError: if it cannot be written.
        """
        record, frame = self.settings(), self.frame()
        settings = record["settings"]
        summary = summarize(frame, settings["problems"])
        if live is None:
            draw(frame, summary[summary["chosen"]], settings, self.folder / "figures")
            self._replace(self.folder / "summary.csv", summary.to_csv(index=False))
        text = page(record, frame, summary, live)
        return self._replace(Path(path) if path else self.folder / "report.html", text)

    @staticmethod
    def _replace(path: Path, text: str) -> Path:
        # Completely or not at all.
        partial = path.with_suffix(path.suffix + ".partial")
        partial.write_text(text)
        return partial.replace(path)


def _with_one_panel(
    settings: dict[str, Any], frame: pd.DataFrame, y: str, against: str
) -> dict[str, Any]:
    for what, name in (("y", y), ("against", against)):
        if name not in frame or not pd.api.types.is_numeric_dtype(frame[name]):
            numbers = [c for c in frame if pd.api.types.is_numeric_dtype(frame[c])]
            raise ValueError(f"{what}: no column {name!r}; there are {', '.join(numbers)}")
    log = y in ("gap", "residual", "gradient_norm")
    x_label = "seconds of steps" if against == "seconds" else against
    panel = asdict(Panel(y, y.replace("_", " "), against, x_label, log=log))
    problems = {k: {**about, "panels": [panel]} for k, about in settings["problems"].items()}
    return {**settings, "problems": problems}
