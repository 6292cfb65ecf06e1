"""The report: a page that needs no network, with toggles for methods, axes and sorted tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jinja2
import pandas as pd
import plotly.offline

from torchmanifold.optim.compare.instance import Panel
from torchmanifold.optim.compare.report.bands import band, panels_of
from torchmanifold.optim.compare.report.style import DASHES, facets, styles
from torchmanifold.optim.compare.report.table import LEFT, sections

__all__ = ["page"]

AXES = ("iteration", "seconds", "evaluations")
# Labels are written for matplotlib; the page has no mathematics.
SYMBOLS = {r"\|": "‖", r"\partial": "∂", "_t": "ₜ", "^*": "*", "$": ""}
DIGITS = 4


def _plain(label: str) -> str:
    for symbol, text in SYMBOLS.items():
        label = label.replace(symbol, text)
    return label


def _numbers(values: pd.Series) -> list[float | None]:
    """Numbers with four digits, which is enough for a screen and keeps the page small."""
    return [None if pd.isna(value) else float(f"{value:.{DIGITS}g}") for value in values]


def _line(rows: pd.DataFrame, panel: Panel) -> dict[str, Any]:
    """The median and the extremes over the seeds, against each possible axis."""
    found = band(rows, panel)
    line = {name: _numbers(found[name]) for name in ("median", "min", "max")}
    if panel.x == "place":
        return line | {"place": _numbers(found["x"])}
    along = rows.groupby("iteration")[list(AXES[1:])].median().reindex(found.index)
    return line | {
        "iteration": [int(i) for i in found.index],
        **{name: _numbers(along[name]) for name in AXES[1:]},
    }


def _chart(rows: pd.DataFrame, panel: Panel) -> dict[str, Any]:
    return {
        "y": _plain(panel.label),
        "x": _plain(panel.x_label),
        "axis": panel.x,
        "log": panel.log,
        "log_x": panel.log_x,
        "levels": [[level, words] for level, words in panel.levels],
        "lines": {str(m): _line(mine, panel) for m, mine in rows.groupby("method", sort=False)},
    }


def _charts(frame: pd.DataFrame, settings: dict[str, Any]) -> list[dict[str, Any]]:
    charts = []
    for (problem, dtype), rows in frame.groupby(["problem", "dtype"], sort=False):
        about = settings["problems"][problem]
        # One chart for each quantity; the reader chooses the horizontal axis.
        wanted = {panel.y: panel for panel in reversed(panels_of(about)) if panel.y in rows}
        seeds = rows.groupby("method")["seed"].nunique()
        lost = rows[rows["diverged"]].groupby("method")["seed"].nunique()
        chosen = rows.groupby("method", sort=False)["config"].first()
        charts.append(
            {
                "problem": problem,
                "title": f"{about['title']}, {dtype}",
                "runs": {
                    str(method): f"{config.replace('=', ' ')}, {seeds[method]} seeds"
                    + (f", {lost[method]} diverged" if method in lost else "")
                    for method, config in chosen.items()
                },
                "panels": [_chart(rows, panel) for panel in reversed(wanted.values())],
            }
        )
    return charts


def _looks(methods: list[str], families: dict[str, str]) -> dict[str, dict[str, str]]:
    """Colour and dash of each method; methods of one family differ."""
    return {
        method: {"color": look["color"], "dash": DASHES[look["linestyle"]]}
        for group in facets(methods, families)
        for method, look in styles(group).items()
    }


def _own(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def page(
    record: dict[str, Any],
    frame: pd.DataFrame,
    summary: pd.DataFrame,
    live: Mapping[str, Any] | None = None,
) -> str:
    """The report as HTML.

    Args:
        record: the content of settings.json.
        frame: rows, from `Results.frame`.
        summary: the summary, from `summarize`.
        live: while runs end, `done`, `total`, and the seconds `every` after which it reloads.
    """
    settings = record["settings"]
    chosen = summary[summary["chosen"]]
    rows = frame.merge(chosen[["problem", "dtype", "method", "config"]])
    methods = list(dict.fromkeys(rows["method"]))
    families = {name: about["family"] for name, about in settings["methods"].items()}
    data = {"charts": _charts(rows, settings), "looks": _looks(methods, families)}
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("torchmanifold.optim.compare.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        record=record,
        live=live,
        settings=settings,
        methods=methods,
        looks=data["looks"],
        families=families,
        sections=list(sections(summary, settings["problems"])),
        left=LEFT,
        problems=list(dict.fromkeys(frame["problem"])),
        # "</" would end the script.
        data=json.dumps(data, separators=(",", ":")).replace("</", "<\\/"),
        plotly=plotly.offline.get_plotlyjs(),
        script=_own("page.js"),
        style=_own("page.css"),
    )
