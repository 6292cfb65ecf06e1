"""The table of a comparison, for a terminal and for the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["LEFT", "SummaryTable", "sections", "table"]

WIDTH = 140  # the width of a printed table
LEFT = ("method", "chosen", "note")
# Columns of the summary that are not scores of a problem.
COMMON = {
    "problem", "dtype", "method", "config", "chosen", "seeds", "diverged", "value",
    "value_smallest", "value_largest", "loss", "gradient_norm", "residual_largest", "iterations",
    "evaluations", "seconds", "ms_per_step", "solved_at", "floor", "below", "agrees",
    "reason",
}  # fmt: skip
WORDS = {"heldout_rmse": "RMSE", "accuracy": "acc."}


class SummaryTable(Table):
    """A table that `print` can show."""

    def __str__(self) -> str:
        """The table as text."""
        console = Console(width=WIDTH, highlight=False)
        with console.capture() as capture:
            console.print(self)
        return capture.get()


def _value(row: Any) -> str:
    if row.value == float("inf"):
        return "failed" if row.reason.startswith("failed") else "diverged"
    if row.exact and not row.below and row.value <= row.floor:
        return f"< {row.floor:.0e}"
    return f"{row.value:.1e}" if row.exact and not row.below else f"{row.value:.5g}"


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.1e}"


def _seconds(row: Any) -> str:
    """The time; a dash if the method ended elsewhere than the best, since it means nothing then."""
    return f"{row.seconds:.2g}" if row.agrees else "-"


def _note(row: Any, scores: list[str]) -> str:
    """Diverged runs with the reason, a contradiction to the problem, and the problem's scores."""
    notes = []
    if row.below:
        notes.append("loss below the stated optimum")
    if row.diverged:
        words = row.reason if row.reason.startswith("failed") else f"diverged: {row.reason}"
        notes.append(f"{row.diverged} of {row.seeds} {words}")
    for name in scores:
        value = getattr(row, name)
        if not pd.isna(value):
            notes.append(f"{WORDS.get(name, name)} {value:.3f}")
    if not pd.isna(at := getattr(row, "solved_at", float("nan"))):
        notes.append(f"a tenth at {at:.0f}")
    return ", ".join(notes)


def _cells(row: Any, scores: list[str]) -> dict[str, str]:
    """The text of one line of the table."""
    return {
        "method": row.method,
        "chosen": row.config.replace("=", " "),
        "gap or loss": _value(row),
        "gradient": _number(getattr(row, "gradient_norm", float("nan"))),
        "residual": _number(row.residual_largest),
        "evals": f"{row.evaluations:.0f}",
        "seconds": "" if row.network else _seconds(row),
        "ms/step": f"{row.ms_per_step:.2f}" if row.network and row.ms_per_step >= 0 else "",
        "note": _note(row, scores),
    }


def sections(
    summary: pd.DataFrame, problems: dict[str, Any]
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Problem and precision with their lines, best first.

    Args:
        summary: the summary, from `summarize`.
        problems: the descriptions of the problems, from the settings.
    """
    exact = summary["problem"].map(lambda name: problems[name]["exact"])
    network = summary["problem"].map(lambda name: problems[name]["network"])
    rows = summary.assign(exact=exact, network=network)[summary["chosen"]]
    scores = [name for name in summary.columns if name not in COMMON]
    scores = [name for name in scores if pd.api.types.is_numeric_dtype(summary[name])]
    hyper = {part.partition("=")[0] for text in summary["config"] for part in text.split(", ")}
    scores = [name for name in scores if name not in hyper]
    for (problem, dtype), mine in rows.groupby(["problem", "dtype"], sort=False):
        lines = [_cells(row, scores) for row in mine.itertuples()]
        name = "loss" if problems[problem]["network"] or not mine["exact"].iloc[0] else "gap"
        used = [
            key for key in lines[0] if key in ("method", "note") or any(li[key] for li in lines)
        ]
        yield (
            f"{problem}, {dtype}",
            [
                {(name if key == "gap or loss" else key): line[key] for key in used}
                for line in lines
            ],
        )


def table(summary: pd.DataFrame, problems: dict[str, Any]) -> SummaryTable:
    """The chosen hyperparameters of each method on each problem; fits a terminal of 100 columns.

    Args:
        summary: the summary, from `summarize`.
        problems: the descriptions of the problems, from the settings.
    """
    title = "Medians over the seeds at the chosen hyperparameters; the best come first"
    view = SummaryTable(title=title, title_style="bold", title_justify="left", box=None)
    found = list(sections(summary, problems))
    names = list(dict.fromkeys(name for _, lines in found for name in lines[0]))
    if {"gap", "loss"} <= set(names):  # one column for problems of both kinds
        names.remove("loss")
        names[names.index("gap")] = "gap or loss"
    names.sort(key=lambda name: name == "note")
    for name in names:
        view.add_column(name, justify="left" if name in LEFT else "right", no_wrap=name != "note")
    for heading, lines in found:
        view.add_row()
        view.add_row(Text(heading, style="bold"))
        for line in lines:
            value = line.get("gap", line.get("loss", ""))
            view.add_row(*(Text(line.get(name, value if "gap" in name else "")) for name in names))
    return view
