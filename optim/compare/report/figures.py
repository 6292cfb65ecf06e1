"""Figures for papers, from rows and the panels of the problems: medians and bands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from torchmanifold.optim.compare.instance import Panel
from torchmanifold.optim.compare.report.bands import band, label, panels_of
from torchmanifold.optim.compare.report.style import STYLE, facets, styles

__all__ = ["draw", "figure_of", "save"]

ACROSS = 4  # panels in a row; with more panels the legend takes the free place
Styles = dict[str, dict[str, Any]]


def _draw_method(ax: Axes, rows: pd.DataFrame, panel: Panel, style: dict[str, Any]) -> None:
    found = band(rows, panel)
    if found.empty:  # diverged before the first record: only in the legend
        return
    # Many bands would hide the lines, so on plain axes only the most useful ones are drawn.
    if (panel.log_x or panel.x == "iteration") and (found["min"] < found["max"]).any():
        ax.fill_between(
            found["x"], found["min"], found["max"], color=style["color"], alpha=0.15, lw=0
        )
    every = 3 if panel.log_x else max(1, len(found) // 4)
    ax.plot(found["x"], found["median"], markevery=every, **style)
    if rows["diverged"].any():
        # The last record of a diverged method.
        end = found.iloc[-1]
        ax.plot(end["x"], end["median"], marker="x", color=style["color"], ms=7, mew=2)


def _mark(ax: Axes, level: float, words: str, below: bool = False) -> None:
    ax.axhline(level, color="0.35", lw=0.8, ls=":")
    ax.annotate(words, (1, level), xycoords=("axes fraction", "data"), ha="right",
                va="top" if below else "bottom", xytext=(0, -2 if below else 1),
                textcoords="offset points", fontsize=6.5, color="0.35", zorder=1.5,
                bbox={"fc": "white", "ec": "none", "alpha": 0.7, "pad": 0.5})  # fmt: skip


def _references(ax: Axes, rows: pd.DataFrame, panel: Panel) -> None:
    if panel.y == "residual":
        dtype = rows["dtype"].iloc[0]
        eps = np.finfo(dtype).eps
        low, high = ax.get_ylim()
        ax.set_ylim(min(low, eps / 10), max(high, eps * 100))
        _mark(ax, eps, f"eps of {dtype}", below=True)
    if panel.x == "place" and panel.log:
        # A constant norm should look constant, so an axis has at least two decades.
        low, high = ax.get_ylim()
        ax.set_ylim(min(low, high / 100), high)
    if panel.y == "gap" and panel.log:
        ax.axhline(rows["floor"].iloc[0], color="0.35", lw=0.8, ls=":")
    for level, words in panel.levels:
        _mark(ax, level, words)


def _plain_numbers(axis: Axis) -> None:
    """Write the ticks of a log axis of less than two decades as 0.6, not as 6 x 10^-1."""
    low, high = axis.get_view_interval()
    if axis.get_scale() == "log" and high < 100 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")


def _legend(ax: Axes, rows: pd.DataFrame, looks: Styles, place: tuple[float, float]) -> None:
    """A legend of methods with their chosen hyperparameters, outside the panels."""
    handles = []
    for method, runs in rows.groupby("method", sort=False):
        seeds, lost = runs["seed"].nunique(), runs.loc[runs["diverged"], "seed"].nunique()
        text = label(str(method), runs["config"].iloc[0], lost, seeds)
        handles.append(Line2D([], [], label=text, **looks[str(method)]))
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=place, handlelength=3.2)


def _finish(ax: Axes, rows: pd.DataFrame, panel: Panel) -> None:
    _references(ax, rows, panel)
    _plain_numbers(ax.xaxis)
    _plain_numbers(ax.yaxis)


def _scales(ax: Axes, panel: Panel) -> None:
    if panel.log_x:
        ax.set_xscale("log")
    if panel.log:
        ax.set_yscale("log")
    ax.set_ylabel(panel.label)


def _in_rows(
    rows: pd.DataFrame, panels: list[Panel], groups: list[list[str]], looks: Styles
) -> Figure:
    """One row of panels for each group of methods, and a legend beside each."""
    height = 2.5 * len(groups) + 0.5
    figure = Figure(figsize=(2.75 * len(panels) + 2.3, height), layout="constrained")
    axes = figure.subplots(len(groups), len(panels), squeeze=False, sharex="col", sharey="col")
    for line, group in zip(axes, groups, strict=True):
        mine = rows[rows["method"].isin(group)]
        for ax, panel in zip(line, panels, strict=True):
            for method in group:
                _draw_method(ax, mine[mine["method"] == method], panel, looks[method])
            _scales(ax, panel)
        order = pd.Categorical(mine["method"], group)
        ordered = mine.assign(method=order).sort_values("method", kind="stable")
        _legend(line[-1], ordered, looks, (1.02, 0.5))
    # Last, because the rows share their axes and a set limit no longer grows.
    for line in axes:
        for ax, panel in zip(line, panels, strict=True):
            _finish(ax, rows, panel)
    for ax, panel in zip(axes[-1], panels, strict=True):
        ax.set_xlabel(panel.x_label)
    return figure


def _in_two_rows(
    rows: pd.DataFrame, panels: list[Panel], methods: list[str], looks: Styles
) -> Figure:
    """Panels in two rows, and the legend in the free place."""
    across = -(-(len(panels) + 1) // 2)
    figure = Figure(figsize=(3.1 * across, 5.4), layout="constrained")
    *axes, rest = figure.subplots(2, across).flat[: len(panels) + 1]
    for ax, panel in zip(axes, panels, strict=True):
        for method in methods:
            _draw_method(ax, rows[rows["method"] == method], panel, looks[method])
        _scales(ax, panel)
        ax.set_xlabel(panel.x_label)
        _finish(ax, rows, panel)
        if not panel.log_x:
            ax.minorticks_off()
    rest.set_axis_off()
    _legend(rest, rows, looks, (0, 0.5))
    return figure


def figure_of(
    rows: pd.DataFrame, panels: list[Panel], title: str, families: dict[str, str]
) -> Figure:
    """The figure of one problem in one precision.

    Args:
        rows: rows at the chosen hyperparameters of each method.
        panels: the panels.
        title: heading.
        families: the families of the methods; if there are many methods, each family has a row of
            panels.
    """
    methods = list(dict.fromkeys(rows["method"]))
    groups = facets(methods, families)
    panels = [panel for panel in panels if panel.y in rows]
    with matplotlib.rc_context(STYLE):
        if len(panels) > ACROSS and len(groups) == 1:
            figure = _in_two_rows(rows, panels, methods, styles(methods))
        else:
            looks = {name: look for group in groups for name, look in styles(group).items()}
            figure = _in_rows(rows, panels, groups, looks)
        figure.suptitle(title, fontsize=9, fontweight="bold")
    return figure


def _short(svg: str) -> str:
    """The same drawing in half the bytes: coordinates to a tenth of a point, no indentation."""

    def rounded(match: re.Match[str]) -> str:
        path = re.sub(r"(\d+\.\d)\d+", r"\1", match[0].replace("\n", ""))
        # After a move or a line, a pair of numbers without a letter means a line.
        return path if re.search("[CQ]", path) else path.replace(" L ", " ")

    svg = re.sub(r' (?:d|x|y)="[^"]*"|translate\([^)]*\)', rounded, svg)
    return re.sub(r"\n +", "\n", svg)


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as SVG and PNG.

    Args:
        figure: the figure.
        path: the path of the SVG file; that of the PNG file has another suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        figure.savefig(path, metadata={"Date": None})
        path.write_text(_short(path.read_text()))
        figure.savefig(path.with_suffix(".png"))
    return path


def draw(
    frame: pd.DataFrame, chosen: pd.DataFrame, settings: dict[str, Any], folder: Path
) -> list[tuple[str, Path]]:
    """Draw one figure for each problem and dtype, as SVG and PNG.

    Lines are medians over the seeds at the chosen hyperparameters, and bands reach from the
    smallest to the largest value. A cross marks the last record of a diverged method.

    Args:
        frame: rows, from `Results.frame`.
        chosen: the rows of the summary to draw.
        settings: the settings of the results folder.
        folder: the folder for the files, made if needed.

    Returns:
        A caption and the path of the SVG file, for each figure.
    """
    rows = frame.merge(chosen[["problem", "dtype", "method", "config"]])
    families = {name: about["family"] for name, about in settings["methods"].items()}
    figures = []
    for (problem, dtype), mine in rows.groupby(["problem", "dtype"], sort=False):
        about = settings["problems"][problem]
        title = f"{about['title']}, {dtype}"
        figure = figure_of(mine, panels_of(about), title, families)
        figures.append((title, save(figure, folder / f"{problem}-{dtype}.svg")))
    return figures
