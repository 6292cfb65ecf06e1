"""Figures from rows alone: for each problem and precision, gap and residual, medians and bands."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from torchmanifold.optim.compare.results import SOLVED

__all__ = ["draw"]

# Okabe & Ito 2008, with grey for the yellow that vanishes on white, and two dark ones of Tol.
COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000",
    "#56B4E9", "#E69F00", "#999999", "#882255", "#332288",
)  # fmt: skip
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
TOGETHER = 10  # more methods than this are drawn one family a row

STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 8,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "savefig.dpi": 200,
    "svg.hashsalt": "torchmanifold",
}


@dataclass(frozen=True)
class Panel:
    """One quantity against another.

    Args:
        x: column of the horizontal axis.
        y: column of the vertical axis.
        xlabel: with its unit.
        ylabel: with its unit.
        log: whether the vertical axis is logarithmic.
        log_x: whether the horizontal axis is.
    """

    x: str
    y: str
    xlabel: str
    ylabel: str
    log: bool = True
    log_x: bool = True


GAP = Panel("iteration", "gap", "iteration", r"gap $|f(x) - f^*|$")
TIME = Panel("seconds", "gap", "seconds of steps", r"gap $|f(x) - f^*|$")
LOSS = Panel("iteration", "gap", "iteration", "training loss (nats)")
LOSS_TIME = Panel("seconds", "gap", "seconds of steps", "training loss (nats)")
RESIDUAL = Panel("iteration", "residual", "iteration", "residual")
HELDOUT = Panel("iteration", "heldout_rmse", "iteration", "held-out RMSE (grey level)")
ACCURACY = Panel("iteration", "accuracy", "iteration", "test accuracy", log=False)

# Of recurrent networks. They spend their time on a plateau, which a logarithm would shrink.
TRAINED = [
    Panel("iteration", "gap", "training step", "held-out loss", log_x=False),
    Panel("seconds", "gap", "seconds of steps", "held-out loss", log_x=False),
    Panel("iteration", "accuracy", "training step", "held-out accuracy", log=False, log_x=False),
    Panel("iteration", "residual", "training step", "residual of the kernel", log_x=False),
    Panel("t", "gradient", "step $t$ of the sequence",
          r"$\|\partial L / \partial s_t\|$ at the start", log_x=False),
]  # fmt: skip
VANISHED = 1e-12  # gradients below are drawn there
ACROSS = 3  # panels of a recurrent figure in a row


def _panels(rows: pd.DataFrame) -> list[Panel]:
    if "baseline" in rows:
        return TRAINED
    if "accuracy" in rows and rows["accuracy"].notna().any():
        return [LOSS, LOSS_TIME, RESIDUAL, ACCURACY]
    if "heldout_rmse" in rows and rows["heldout_rmse"].notna().any():
        return [GAP, TIME, RESIDUAL, HELDOUT]
    return [GAP, TIME, RESIDUAL]


def _styles(methods: Iterable[str]) -> dict[str, dict[str, object]]:
    """Color, dash and marker for each method; each of them alone already tells most apart."""
    return {
        method: {
            "color": COLORS[i % len(COLORS)],
            "linestyle": DASHES[i % len(DASHES)],
            "marker": MARKERS[i % len(MARKERS)],
        }
        for i, method in enumerate(methods)
    }


def _median_and_band(rows: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """Median, smallest and largest over the seeds, at each recorded iteration."""
    if panel.y == "gradient":
        rows = _through_time(rows)
    values = rows[panel.y]
    if panel.y == "gap":
        # Below zero is as wrong as above: the point has left the manifold by that much.
        values = values.abs().clip(lower=rows["floor"])
    elif panel.y == "residual":
        # Zero has no place on a log axis: it is drawn at a hundredth of eps.
        values = values.clip(lower=np.finfo(rows["dtype"].iloc[0]).eps / 100)
    elif panel.y == "gradient":
        values = values.where(values > 0).clip(lower=VANISHED)
    by = rows.assign(value=values).groupby("t" if panel.x == "t" else "iteration")
    band = by["value"].agg(["median", "min", "max"])
    band["x"] = by[panel.x].median()
    return band.dropna()


def _through_time(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each step of the sequence at which the first network's gradient is known."""
    pairs = rows.loc[rows["iteration"] == 0, "through_time"].explode()
    return pd.DataFrame(pairs.tolist(), columns=["t", "gradient"])


def _draw_method(ax: Axes, rows: pd.DataFrame, panel: Panel, style: dict[str, object]) -> None:
    diverged = bool(rows["diverged"].any())
    band = _median_and_band(rows, panel)
    if panel.log_x:
        band = band[band.index > 0]  # the start has no place on a log axis
    if band.empty:  # diverged before it was first seen: it stands in the legend alone
        return
    # Many bands hide the lines: of recurrent networks they are drawn where they say most.
    banded = panel.log_x or (panel.x, panel.y) in (("iteration", "gap"), ("iteration", "accuracy"))
    if banded and (band["min"] < band["max"]).any():
        ax.fill_between(band["x"], band["min"], band["max"], color=style["color"], alpha=0.15, lw=0)
    every = 3 if panel.log_x else max(1, len(band) // 4)
    ax.plot(band["x"], band["median"], markevery=every, **style)
    if diverged:
        # Where a diverged method was last seen.
        end = band.iloc[-1]
        ax.plot(end["x"], end["median"], marker="x", color=style["color"], ms=7, mew=2)


def _references(ax: Axes, rows: pd.DataFrame, panel: Panel) -> None:
    if panel.y == "residual":
        dtype = rows["dtype"].iloc[0]
        eps = np.finfo(dtype).eps
        low, high = ax.get_ylim()
        ax.set_ylim(min(low, eps / 10), max(high, eps * 100))
        ax.axhline(eps, color="0.35", lw=0.8, ls=":")
        ax.annotate(
            f"eps of {dtype}",
            (1, eps),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="top",
            xytext=(0, -2),
            textcoords="offset points",
            fontsize=6.5,
            color="0.35",
        )
    if panel.y == "gradient":
        # A norm that stays is to look like one: never less than two decades.
        low, high = ax.get_ylim()
        ax.set_ylim(min(low, high / 100), high)
    if "baseline" in rows and panel.y == "gap":
        baseline = rows["baseline"].iloc[0]
        for level, words in ((baseline, "without memory"), (SOLVED * baseline, "a tenth")):
            ax.axhline(level, color="0.35", lw=0.8, ls=":")
            ax.annotate(words, (1, level), xycoords=("axes fraction", "data"), ha="right",
                        va="bottom", fontsize=6.5, color="0.35", zorder=1.5,
                        bbox={"fc": "white", "ec": "none", "alpha": 0.7, "pad": 0.5})  # fmt: skip
    if panel in (GAP, TIME):
        ax.axhline(rows["floor"].iloc[0], color="0.35", lw=0.8, ls=":")


def _plain_numbers(axis: Axis) -> None:
    """On a log axis of less than two decades the ticks read 0.6, not 6 x 10^-1."""
    low, high = axis.get_view_interval()
    if axis.get_scale() == "log" and high < 100 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")


def _legend(
    ax: Axes,
    rows: pd.DataFrame,
    styles: dict[str, dict[str, object]],
    place: tuple[float, float] = (1.02, 0.5),
) -> None:
    """Methods with the learning rate that was chosen; by itself, to the right of the panel."""
    handles = []
    for method, runs in rows.groupby("method", sort=False):
        seeds, lost = runs["seed"].nunique(), runs.loc[runs["diverged"], "seed"].nunique()
        label = f"{method}, lr {runs['lr'].iloc[0]:g}"
        if lost:
            label += f"\n($\\times$ diverged, {lost} of {seeds})"
        handles.append(Line2D([], [], label=label, **styles[str(method)]))
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=place, handlelength=3.2)


def _figure(rows: pd.DataFrame, facets: list[list[str]], styles: dict) -> Figure:
    """One row of panels for each facet, a list of methods."""
    panels = _panels(rows)
    present = set(rows["method"])
    facets = [[m for m in facet if m in present] for facet in facets]
    facets = [facet for facet in facets if facet]
    height = 2.5 * len(facets) + 0.5
    figure = Figure(figsize=(2.75 * len(panels) + 2.3, height), layout="constrained")
    axes = figure.subplots(len(facets), len(panels), squeeze=False, sharex="col", sharey="col")
    for line, facet in zip(axes, facets, strict=True):
        chosen = rows[rows["method"].isin(facet)]
        for ax, panel in zip(line, panels, strict=True):
            for method in facet:
                mine = chosen[chosen["method"] == method]
                _draw_method(ax, mine, panel, styles[method])
            _scales(ax, panel)
        order = pd.Categorical(chosen["method"], facet)
        _legend(line[-1], chosen.assign(method=order).sort_values("method", kind="stable"), styles)
    # Only now: the rows share their axes, and setting limits ends their growth.
    for line in axes:
        for ax, panel in zip(line, panels, strict=True):
            _references(ax, rows, panel)
            _plain_numbers(ax.xaxis)
            _plain_numbers(ax.yaxis)
    for ax, panel in zip(axes[-1], panels, strict=True):
        ax.set_xlabel(panel.xlabel)
    return figure


def _scales(ax: Axes, panel: Panel) -> None:
    if panel.log_x:
        ax.set_xscale("log")
    if panel.log:
        ax.set_yscale("log")
    ax.set_ylabel(panel.ylabel)


def _recurrent_figure(rows: pd.DataFrame, methods: list[str], styles: dict) -> Figure:
    """Panels in two rows, and the legend in the place that they leave."""
    down = -(-(len(TRAINED) + 1) // ACROSS)
    figure = Figure(figsize=(3.1 * ACROSS, 2.5 * down + 0.4), layout="constrained")
    *axes, rest = figure.subplots(down, ACROSS).flat
    for ax, panel in zip(axes, TRAINED, strict=True):
        for method in methods:
            _draw_method(ax, rows[rows["method"] == method], panel, styles[method])
        _scales(ax, panel)
        ax.set_xlabel(panel.xlabel)
        _references(ax, rows, panel)
        ax.minorticks_off()
    rest.set_axis_off()
    _legend(rest, rows, styles, place=(0, 0.5))
    return figure


def _short(svg: str) -> str:
    """The same drawing in half the bytes: coordinates to a tenth of a point, no indentation."""

    def rounded(match: re.Match[str]) -> str:
        path = re.sub(r"(\d+\.\d)\d+", r"\1", match[0].replace("\n", ""))
        # After a move, and between straight lines, a line is what pairs of numbers mean.
        return path if re.search("[CQ]", path) else path.replace(" L ", " ")

    svg = re.sub(r' (?:d|x|y)="[^"]*"|translate\([^)]*\)', rounded, svg)
    return re.sub(r"\n +", "\n", svg)


def draw(rows: pd.DataFrame, chosen: pd.DataFrame, folder: Path) -> list[tuple[str, Path]]:
    """Draw one figure for each problem and dtype, as SVG and PNG.

    Lines are medians over the seeds at the chosen learning rate, bands reach from the smallest to
    the largest, a cross marks where a diverged method was last seen.

    Args:
        rows: one a run and recorded step.
        chosen: the pairs of problem, dtype, method and learning rate to draw.
        folder: where the files go; made if need be.

    Returns:
        A caption and the path of the SVG file, for each figure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = rows.merge(chosen[["problem", "dtype", "method", "lr"]])
    methods = list(dict.fromkeys(rows["method"]))
    families = rows.drop_duplicates("method").groupby("family", sort=False)["method"]
    facets = [methods] if len(methods) <= TOGETHER else [list(group) for _, group in families]
    styles = {name: style for facet in facets for name, style in _styles(facet).items()}
    figures = []
    for (problem, dtype), mine in rows.groupby(["problem", "dtype"], sort=False):
        with matplotlib.rc_context(STYLE):
            if "baseline" in mine:
                figure = _recurrent_figure(mine, methods, _styles(methods))
            else:
                figure = _figure(mine, facets, styles)
            title = f"{mine['title'].iloc[0]}, {dtype}"
            figure.suptitle(title, fontsize=9, fontweight="bold")
            path = folder / f"{problem}-{dtype}.svg"
            figure.savefig(path, metadata={"Date": None})
            path.write_text(_short(path.read_text()))
            figure.savefig(path.with_suffix(".png"))
        figures.append((title, path))
    return figures
