"""The table and the self-contained HTML page of a comparison, from its results folder."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from rich import box
from rich.table import Table

from torchmanifold.optim.compare.plot import draw
from torchmanifold.optim.compare.results import Results, summarize

__all__ = ["redraw", "table"]

SCORES = {"heldout_rmse": "held-out RMSE", "accuracy": "accuracy"}


def _gap(value: float, floor: float) -> str:
    if value == float("inf"):
        return "diverged"
    return f"< {floor:.0e}" if value <= floor else f"{value:.1e}"


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.1e}"


def _cells(row: Any) -> dict[str, str]:
    """The text of one line of the table."""
    score = next((n for n in SCORES if not pd.isna(getattr(row, n, float("nan")))), None)
    return {
        "method": row.method,
        "lr": f"{row.lr:g}",
        "gap": _gap(row.gap, row.floor),
        "gradient": _number(row.gradient_norm),
        "residual": _number(row.residual_largest),
        "ms a step": f"{row.ms_per_step:.2f}",
        "diverged": f"{row.diverged} of {row.seeds}" if row.diverged else "",
        "score": f"{SCORES[score]} {getattr(row, score):.3f}" if score else "",
    }


def _sections(summary: pd.DataFrame) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Problem and precision with their lines, best gap first."""
    chosen = summary[summary["chosen"]]
    for (problem, dtype), rows in chosen.groupby(["problem", "dtype"], sort=False):
        yield f"{problem}, {dtype}", [_cells(row) for row in rows.itertuples()]


def table(summary: pd.DataFrame) -> Table:
    """The chosen learning rate of each method on each problem, for a terminal."""
    title = "Medians over the seeds at the chosen learning rate; best gap first"
    view = Table(title=title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD)
    columns = ["problem", "method", "lr", "gap", "gradient", "residual", "ms a step", "diverged"]
    for name in [*columns, "score"]:
        right = name in ("lr", "gap", "gradient", "residual", "ms a step")
        view.add_column(name, justify="right" if right else "left", no_wrap=True)
    for heading, lines in _sections(summary):
        for index, line in enumerate(lines):
            view.add_row(heading if index == 0 else "", *line.values())
        view.add_section()
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
        ValueError: if the folder has no finished run.
        OSError: if it cannot be written.
    """
    record, frame = results.settings(), results.frame()
    summary = summarize(frame)
    results.save_summary(summary)
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
    (results.folder / "report.html").write_text(page)
    return summary
