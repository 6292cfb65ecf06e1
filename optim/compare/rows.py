"""Rows as the lines of runs.jsonl: writing, reading, checking and sorting."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torchmanifold.optim.compare.perform import Row
from torchmanifold.optim.compare.plan import config_text
from torchmanifold.optim.compare.task import DTYPES

__all__ = ["MEASURED", "Order", "is_failed", "is_row", "key_of", "line_of", "parsed"]

TEXT = ("problem", "method", "dtype", "reason")
NUMBERS = ("seed", "iteration", "seconds", "evaluations", "floor", "final", "diverged")
MEASURED = ("loss", "residual")
NAME = r"[\w-]+"


class Order:
    """The sort key of a row: problems and methods in the order of the settings."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._problems = _numbered(settings.get("problems", {}))
        self._methods = _numbered(settings.get("methods", {}))

    def __call__(self, row: Row) -> tuple[Any, ...]:
        """The sort key."""
        problem, method = row["problem"], row["method"]
        last = len(self._problems) + len(self._methods)
        values = [str(value).rjust(24) if not isinstance(value, int | float) else f"{value:024.12f}"
                  for value in row["config"].values()]  # fmt: skip
        return (
            *(self._problems.get(problem, last), problem, row["dtype"]),
            *(self._methods.get(method, last), method, values, row["seed"], row["iteration"]),
        )


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}


def key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The key of the run of a row, equal to `Run.key`."""
    config = config_text(row["config"])
    return (row["problem"], row["method"], row["dtype"], config, row["seed"])


def is_failed(row: Row) -> bool:
    """Whether its run failed."""
    reason: str = row["reason"]
    return reason.startswith("failed")


def parsed(text: str) -> Any:
    """The value of a JSON text; None if the text is not JSON."""
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None


def is_row(row: Any) -> bool:
    """Whether a row has the entries that the summary and the figures need, in the right types."""
    if not isinstance(row, dict) or not {*TEXT, *NUMBERS, *MEASURED, "config"} <= set(row):
        return False
    config, rest = row["config"], row.keys() - {*TEXT, *NUMBERS, "config"}
    return (
        all(isinstance(row[name], str) for name in TEXT)
        and all(isinstance(row[name], int | float | None) for name in NUMBERS)
        and isinstance(config, dict)
        and all(isinstance(value, bool | int | float | str | None) for value in config.values())
        and all(isinstance(row[k], int | float | None) or _is_series(row[k]) for k in rest)
        and row["dtype"] in DTYPES
        # Names of figures' files, and text that the terminal would take for markup.
        and all(re.fullmatch(NAME, row[name]) for name in ("problem", "method"))
        and None not in (row["seed"], row["iteration"])
    )


def line_of(row: Row) -> str:
    """A row as a line of runs.jsonl."""
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
