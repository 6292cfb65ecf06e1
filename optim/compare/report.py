"""The table and the self-contained HTML page of a comparison, from its results folder."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from rich.table import Table

from torchmanifold.optim.compare.plot import draw
from torchmanifold.optim.compare.results import Results, summarize

__all__ = ["redraw", "table"]

SCORES = {"heldout_rmse": "RMSE", "accuracy": "acc."}


def _gap(value: float, floor: float) -> str:
    if value == float("inf"):
        return "diverged"
    return f"< {floor:.0e}" if value <= floor else f"{value:.1e}"


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.1e}"


def _note(row: Any) -> str:
    """Diverged runs, and the problem's own score."""
    notes = [f"{row.diverged} of {row.seeds} diverged"] if row.diverged else []
    for name, words in SCORES.items():
        value = getattr(row, name, float("nan"))
        if not pd.isna(value):
            notes.append(f"{words} {value:.3f}")
    if not pd.isna(at := getattr(row, "solved_at", float("nan"))):
        notes.append(f"a tenth at {at:.0f}")
    return ", ".join(notes)


def _cells(row: Any) -> dict[str, str]:
    """The text of one line of the table."""
    recurrent = hasattr(row, "baseline")
    return {
        "method": row.method,
        "lr": f"{row.lr:g}",
        "loss" if recurrent else "gap": _gap(row.gap, row.floor),
        **({} if recurrent else {"gradient": _number(row.gradient_norm)}),
        "residual": _number(row.residual_largest),
        "ms/step": f"{row.ms_per_step:.2f}",
        "note": _note(row),
    }


def _sections(summary: pd.DataFrame) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Problem and precision with their lines, best gap first."""
    chosen = summary[summary["chosen"]]
    for (problem, dtype), rows in chosen.groupby(["problem", "dtype"], sort=False):
        yield f"{problem}, {dtype}", [_cells(row) for row in rows.itertuples()]


def table(summary: pd.DataFrame) -> Table:
    """The chosen learning rate of each method on each problem; fits a terminal of 80 columns."""
    what = "loss" if "baseline" in summary else "gap"
    title = f"Medians over the seeds at the chosen rate; best {what} first"
    view = Table(title=title, title_style="bold", title_justify="left", box=None)
    sections = list(_sections(summary))
    for name in sections[0][1][0]:
        left = name in ("method", "note")
        view.add_column(name, justify="left" if left else "right", no_wrap=name != "note")
    for heading, lines in sections:
        view.add_row()
        view.add_row(f"[bold]{heading}[/bold]")
        for line in lines:
            view.add_row(*line.values())
    return view


def _embedded(path: Path) -> str:
    """An image as a data URL: in an `img`, the ids of one figure cannot clash with another's."""
    return "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()


def redraw(results: Results) -> pd.DataFrame:
    """Write summary.csv, the figures and report.html from settings.json and runs.jsonl.

    Args:
        results: a folder with at least one finished run.

    Returns:
        The summary.

    Raises:
        ValueError: if the folder has no finished run, or files that a comparison did not write.
        OSError: if it cannot be written.
    """
    record, frame = results.settings(), results.frame()
    summary = summarize(frame)
    figures = draw(frame, summary[summary["chosen"]], results.folder / "figures")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("torchmanifold.optim.compare", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        command=record["command"],
        settings=record["settings"],
        environment=record["environment"],
        sections=list(_sections(summary)),
        figures=[(caption, _embedded(path)) for caption, path in figures],
    )
    results.save(summary, page)
    return summary
