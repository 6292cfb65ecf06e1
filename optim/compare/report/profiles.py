"""Performance profiles: over all problems, how often a method is within a factor of the best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from torchmanifold.optim.compare.report.style import STYLE, styles

__all__ = ["costs", "profile_figure"]

UNIT = {"seconds": "seconds of steps", "evaluations": "evaluations", "iteration": "iterations"}


def costs(frame: pd.DataFrame, chosen: pd.DataFrame, tol: float, against: str) -> pd.DataFrame:
    """The cost of each method on each problem until its gap is small; infinite if it never is.

    The gap is relative to the first gap, so problems of any scale can be compared.

    Args:
        frame: rows, from `Results.frame`.
        chosen: the rows of the summary whose hyperparameters count.
        tol: the fraction of the first gap at which a problem counts as solved.
        against: "seconds", "evaluations" or "iteration".

    Returns:
        One row for each problem, precision and seed, and one column for each method.

    Raises:
        ValueError: if no problem has a known optimum.

    Source: Dolan & More, Benchmarking optimization software with performance profiles, Math.
    Program. 91 (2002), section 2; More & Wild, SIAM J. Optim. 20 (2009), for the test of
    convergence.
    """
    rows = frame.merge(chosen[["problem", "dtype", "method", "config"]])
    if "gap" not in rows or rows["gap"].notna().sum() == 0:
        raise ValueError("a profile needs problems with a known optimum; these have none")
    rows = rows[rows.groupby("problem")["gap"].transform("count") > 0]
    instance = ["problem", "dtype", "seed"]
    first = rows[rows["iteration"] == 0].groupby(instance)["gap"].max().rename("first")
    rows = rows.join(first, on=instance)
    solved = rows["gap"].abs() <= np.maximum(tol * rows["first"], rows["floor"])
    reached = rows[solved & ~rows["diverged"]].groupby([*instance, "method"])[against].min()
    names = list(dict.fromkeys(rows["method"]))
    table = reached.unstack("method").reindex(columns=names)
    table = table.reindex(pd.MultiIndex.from_frame(rows[instance].drop_duplicates()))
    return table.fillna(np.inf)


def profile_figure(table: pd.DataFrame, tol: float, against: str) -> Figure:
    """Two panels: within a factor of the best method, and within a budget.

    Args:
        table: the costs, from `costs`.
        tol: the fraction of the first gap at which a problem counts as solved.
        against: the unit of the costs.
    """
    values = table.to_numpy()
    best = values.min(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        ratios = np.where(np.isfinite(best), values / np.maximum(best, 1e-300), np.inf)
    looks: Mapping[str, dict[str, Any]] = styles(table.columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.6, 2.9), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        for ax, data, label in zip(
            axes,
            (ratios, values),
            (f"{UNIT[against]}, in units of the best method's", UNIT[against]),
            strict=True,
        ):
            right = 1.5 * data[np.isfinite(data)].max(initial=1.0)
            for number, method in enumerate(table.columns):
                spent = np.sort(data[:, number][np.isfinite(data[:, number])])
                if len(spent) == 0:
                    continue
                share = np.arange(1, len(spent) + 1) / len(data)
                spent, share = np.append(spent, right), np.append(share, share[-1])
                look = {k: v for k, v in looks[method].items() if k != "marker"}
                ax.step(np.maximum(spent, 1e-9), share, where="post", label=str(method), **look)
            ax.set_xscale("log")
            ax.set_xlabel(label)
            ax.set_ylim(0, 1.02)
        axes[0].set_ylabel("share of problems solved")
        axes[1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), handlelength=3.2)
        count = len(table.index.get_level_values("problem").unique())
        figure.suptitle(
            f"Profiles over {count} problems, solved at {tol:g} of the first gap",
            fontsize=9, fontweight="bold",
        )  # fmt: skip
    return figure
