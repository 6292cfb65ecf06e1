"""The results folder: settings.json, runs.jsonl and summary.csv; written as runs end, read back."""

from __future__ import annotations

import gzip
import json
import math
import os
import platform
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from torchmanifold.optim.compare.methods import METHODS
from torchmanifold.optim.compare.problems import PROBLEMS
from torchmanifold.optim.compare.run import Row
from torchmanifold.optim.compare.settings import DTYPES, Plan

__all__ = ["Results", "environment", "summarize"]

KEY = ["problem", "method", "dtype", "lr", "seed"]
GROUP = ["problem", "dtype", "method", "lr"]
TEXT = ("problem", "title", "method", "family", "dtype")
NUMBERS = ("lr", "seed", "iteration", "seconds", "floor", "final", "diverged")
MEASURED = ("loss", "gap", "residual")
SERIES = "through_time"  # pairs of numbers, of recurrent networks alone
SOLVED = 0.1  # of what can be had without memory
PACKAGES = ("torchmanifold", "torch", "geotorch", "numpy", "scipy", "scikit-learn")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def environment(device: str) -> dict[str, str]:
    """Versions and machine, for the record."""
    about = {name: version(name) for name in PACKAGES}
    about["torch"] = torch.__version__
    about["python"] = platform.python_version()
    about["system"] = platform.platform()
    about["processor"] = f"{_processor()}, {os.cpu_count()} cores"
    if device == "cuda":
        about["gpu"] = torch.cuda.get_device_name()
    return about


@dataclass(frozen=True)
class Results:
    """A results folder.

    Args:
        folder: where it is.
    """

    folder: Path

    @property
    def _runs(self) -> Path:
        return self.folder / "runs.jsonl"

    @property
    def _settings(self) -> Path:
        return self.folder / "settings.json"

    def begin(self, settings: Plan, command: str, resume: bool) -> set[tuple[Any, ...]]:
        """Make the folder, or take up one that was interrupted.

        Args:
            settings: what is to be done; a resumed folder must have the same.
            command: the command line, for the record.
            resume: keep the runs that are there.

        Returns:
            The keys of the runs that are done.

        Raises:
            ValueError: if the folder is not empty, or was made with other settings.
            OSError: if it cannot be written.
        """
        if resume and self._settings.exists():
            return self._take_up(settings)
        if self.folder.is_dir() and any(self.folder.iterdir()):
            remedy = "give another --out" if resume else "give another --out, or --resume"
            raise ValueError(f"the folder {self.folder} is not empty; {remedy}")
        about = environment(settings.device)
        self.folder.mkdir(parents=True, exist_ok=True)
        record = {"command": command, "settings": settings.as_dict(), "environment": about}
        self._replace(self._settings, json.dumps(record, indent=2) + "\n")
        self._runs.touch()
        return set()

    def _take_up(self, settings: Plan) -> set[tuple[Any, ...]]:
        then, now = self.settings()["settings"], settings.as_dict()
        other = [name for name in now if then.get(name) != now[name]]
        if other:
            raise ValueError(
                f"the folder {self.folder} was made with other settings "
                f"({', '.join(other)}); give the same options as then, or another --out"
            )
        rows = self._rows()
        done = {_key(row) for row in rows if row["final"]}
        # A run that was cut short leaves no trace.
        kept = [row for row in rows if _key(row) in done]
        self._replace(self._runs, "".join(map(_line, kept)))
        return done

    def append(self, rows: Iterable[Row]) -> None:
        """Add the rows of one run, at once and to the disk."""
        with self._runs.open("a") as file:
            file.write("".join(map(_line, rows)))
            file.flush()
            os.fsync(file.fileno())

    def settings(self) -> dict[str, Any]:
        """What settings.json has: command, settings, environment.

        Raises:
            ValueError: if the folder has none, or not one that a comparison wrote.
        """
        if not self._settings.is_file():
            raise ValueError(f"{self.folder} is no results folder: no settings.json")
        record = _parsed(self._settings.read_text(errors="replace"))
        kinds = {"command": str, "settings": dict, "environment": dict}
        if not isinstance(record, dict) or any(
            not isinstance(record.get(name), kind) for name, kind in kinds.items()
        ):
            raise ValueError(f"{self._settings} is not what compare writes")
        return record

    def _rows(self) -> list[Row]:
        text = self._text()
        # What follows the last line break is a line that was cut short; its run is not final.
        rows = [_parsed(line) for line in text.split("\n")[:-1]]
        for number, row in enumerate(rows, 1):
            if not _is_row(row):
                raise ValueError(f"{self._runs}, line {number}: not what compare writes")
        return rows

    def _text(self) -> str:
        """What runs.jsonl has, or runs.jsonl.gz where somebody packed it."""
        packed = self.folder / "runs.jsonl.gz"
        if self._runs.exists():
            return self._runs.read_text(errors="replace")
        if not packed.exists():
            return ""
        try:
            return gzip.decompress(packed.read_bytes()).decode(errors="replace")
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{packed} is no gzip file, or cut short") from error

    def frame(self) -> pd.DataFrame:
        """The rows of all runs that are done, in an order that does not depend on the machine.

        Raises:
            ValueError: if there are none.
        """
        rows = self._rows()
        done = {_key(row) for row in rows if row["final"]}
        if not done:
            raise ValueError(f"{self.folder} has no finished run; is it a results folder?")
        # However many processes there were: the order of the command line's tables.
        frame = pd.DataFrame(sorted((row for row in rows if _key(row) in done), key=_place))
        return frame.astype({name: float for name in (*MEASURED, "gradient_norm") if name in frame})

    def save(self, summary: pd.DataFrame, page: str) -> None:
        """Write summary.csv and report.html."""
        self._replace(self.folder / "summary.csv", summary.to_csv(index=False))
        self._replace(self.folder / "report.html", page)

    @staticmethod
    def _replace(path: Path, text: str) -> None:
        # Whole or not at all.
        partial = path.with_suffix(path.suffix + ".partial")
        partial.write_text(text)
        partial.replace(path)


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def _place(row: Row) -> tuple[Any, ...]:
    problem, method = row["problem"], row["method"]
    return (
        *(_index(PROBLEMS, problem), problem, row["dtype"]),
        *(_index(METHODS, method), method, row["lr"], row["seed"], row["iteration"]),
    )


def _index(table: Iterable[str], name: str) -> int:
    names = list(table)
    return names.index(name) if name in names else len(names)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def _is_row(row: Any) -> bool:
    """Whether a row has what the summary and the figures need, in the right types."""
    if not isinstance(row, dict) or not {*TEXT, *NUMBERS, *MEASURED} <= set(row):
        return False
    return (
        all(isinstance(row[name], str) for name in TEXT)
        and all(isinstance(row[name], int | float) for name in NUMBERS)
        and all(isinstance(row[name], int | float | None) for name in row.keys() - {*TEXT, SERIES})
        and _is_series(row.get(SERIES, []))
        and row["dtype"] in DTYPES
        and re.fullmatch(r"[\w-]+", row["problem"]) is not None  # names the figures' files
    )


def _line(row: Row) -> str:
    # JSON has no NaN.
    clean = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }
    return json.dumps(clean) + "\n"


def _is_series(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(x, int | float) for x in pair)
        for pair in value
    )


def _solved(frame: pd.DataFrame) -> pd.Series:
    """The first recorded iteration at which a run is under a tenth of its baseline."""
    under = frame[frame["gap"] < SOLVED * frame["baseline"]]
    return under.groupby([*GROUP, "seed"])["iteration"].min().rename("solved_at")


def summarize(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each problem, dtype, method and learning rate, over its seeds.

    The gap is the median of the last recorded `|f(x) - f*|`, at least the rounding level `floor`;
    a diverged run counts as infinite.
    `chosen` marks, for each method on each problem, the learning rate with the smallest of these;
    of several at the rounding level, the one that was lower on the way (mean of the log gap).
    """
    scores = [name for name in ("heldout_rmse", "accuracy") if name in frame]
    gap = frame["gap"].abs().clip(lower=frame["floor"])
    frame = frame.assign(gap=gap, way=np.log10(gap))
    keyed = [*GROUP, "seed"]
    way = frame.groupby(keyed, sort=False)["way"].mean()
    last = frame[frame["final"]].drop(columns="way").join(way, on=keyed)
    last.loc[last["diverged"], ["gap", "way"]] = math.inf
    if "baseline" in frame:
        last = last.join(_solved(frame), on=keyed).fillna({"solved_at": math.inf})
    last["ms_per_step"] = 1e3 * last["seconds"] / last["iteration"].clip(lower=1)
    groups = last.groupby(GROUP, sort=False)
    summary = groups.agg(
        seeds=("seed", "size"),
        diverged=("diverged", "sum"),
        gap=("gap", "median"),
        gap_smallest=("gap", "min"),
        gap_largest=("gap", "max"),
        **{name: (name, "median") for name in ("gradient_norm",) if name in last},
        residual_largest=("residual", "max"),
        seconds=("seconds", "median"),
        ms_per_step=("ms_per_step", "median"),
        **{name: (name, "median") for name in scores},
        **{name: (name, "median") for name in ("baseline", "solved_at") if name in last},
        floor=("floor", "first"),
        way=("way", "median"),
    ).reset_index()
    if "solved_at" in summary:
        summary["solved_at"] = summary["solved_at"].replace(math.inf, math.nan)
    summary = summary.sort_values(["gap", "diverged", "way"], kind="stable")
    best = summary.groupby(["problem", "dtype", "method"], sort=False).head(1).index
    summary.insert(4, "chosen", summary.index.isin(best))
    # Problems in the order of the rows, methods from the best to the worst.
    places = {name: place for place, name in enumerate(dict.fromkeys(frame["problem"]))}
    summary["place"] = summary["problem"].map(places)
    summary = summary.sort_values(["place", "dtype"], kind="stable")
    return summary.drop(columns=["place", "way"]).reset_index(drop=True)
