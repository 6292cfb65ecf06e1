"""The summary of a comparison: one line for each choice of hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["GROUP", "summarize"]

GROUP = ["problem", "dtype", "method", "config"]
RUN = [*GROUP, "seed"]
MEASURED = {"loss", "gap", "gradient_norm", "residual"}
ABOUT = {*RUN, "iteration", "seconds", "evaluations", "floor", "final", "diverged", "reason"}
BELOW = 1e3  # a loss may be below the exact value by this many rounding levels


def _solved(frame: pd.DataFrame, problems: Mapping[str, Any]) -> pd.Series:
    """The first recorded iteration at which the loss of a run is below its problem's level."""
    levels = frame["problem"].map(lambda name: _level(problems, name))
    under = frame[frame["loss"] < levels]
    return under.groupby(RUN, sort=False)["iteration"].min().rename("solved_at")


def _level(problems: Mapping[str, Any], name: str) -> float:
    solved = problems.get(name, {}).get("solved")
    return solved[0] if solved else -math.inf


def _with_value(frame: pd.DataFrame, problems: Mapping[str, Any]) -> pd.DataFrame:
    """Add the ranked value: the gap, or the loss if no optimum is known or the optimum is wrong.

    A loss well below the optimum, on the manifold, shows that the stated optimum is wrong. A
    ranking by the distance from it would be upside down.
    """
    if "gap" not in frame:
        frame["gap"] = np.nan
    known = frame["problem"].map(lambda name: bool(problems.get(name, {}).get("exact", True)))
    below = frame["final"] & ~frame["diverged"] & (frame["gap"] < -BELOW * frame["floor"])
    wrong = frame["problem"].isin(frame.loc[below, "problem"])
    gap = frame["gap"].abs().clip(lower=frame["floor"])
    value = frame["loss"].where(~known | wrong, gap)
    return frame.assign(value=value, below=wrong & known)


def _agrees(last: pd.DataFrame) -> pd.Series:
    """Whether a run ended at the least loss of all runs on its instance.

    The tolerance is the square root of eps, relative to the loss where that is above one.
    """
    loss = last["loss"].mask(last["diverged"])
    least = loss.groupby([last["problem"], last["dtype"], last["seed"]]).transform("min")
    near = last["dtype"].map(lambda dtype: math.sqrt(np.finfo(dtype).eps))
    return loss - least <= near * least.abs().clip(lower=1.0)


def summarize(frame: pd.DataFrame, problems: Mapping[str, Any]) -> pd.DataFrame:
    """One row for each problem, dtype, method and choice of hyperparameters, over its seeds.

    `value` is the median of the last recorded gap `|f(x) - f*|`, at least the rounding level
    `floor`, or of the loss if no optimum is known; a diverged run counts as infinite. `chosen`
    marks, for each method on each problem, the hyperparameters with the smallest value. Among
    several at the rounding level it marks those with the smaller gaps on the way. `below` marks a
    problem whose loss was found well below its stated optimum; such a problem is ranked by the
    loss. `agrees` marks runs that all ended at the least loss of their instances, up to the square
    root of eps: only their times can be compared.

    Args:
        frame: rows, from `Results.frame`.
        problems: the descriptions of the problems, from the settings.
    """
    frame = _with_value(frame.copy(), problems)
    way = frame.assign(way=np.log10(frame["value"].where(frame["value"] > 0)))
    way = way.groupby(RUN, sort=False)["way"].mean()
    last = frame[frame["final"]].join(way, on=RUN)
    last.loc[last["diverged"], ["value", "way"]] = math.inf
    last = last.join(_solved(frame, problems), on=RUN).fillna({"solved_at": math.inf})
    last["agrees"] = _agrees(last)
    last["ms_per_step"] = 1e3 * last["seconds"] / last["iteration"].clip(lower=1)
    scores = [
        name
        for name in frame.columns
        if name not in MEASURED | ABOUT | {"value", "below", "agrees"}
        and pd.api.types.is_numeric_dtype(frame[name])
    ]
    groups = last.groupby(GROUP, sort=False)
    summary = groups.agg(
        seeds=("seed", "nunique"),
        diverged=("diverged", "sum"),
        value=("value", "median"),
        value_smallest=("value", "min"),
        value_largest=("value", "max"),
        loss=("loss", "median"),
        **{name: (name, "median") for name in ("gradient_norm",) if name in last},
        residual_largest=("residual", "max"),
        iterations=("iteration", "median"),
        evaluations=("evaluations", "median"),
        seconds=("seconds", "median"),
        ms_per_step=("ms_per_step", "median"),
        **{name: (name, "median") for name in scores},
        solved_at=("solved_at", "median"),
        floor=("floor", "first"),
        below=("below", "first"),
        agrees=("agrees", "all"),
        reason=("reason", "first"),
        way=("way", "median"),
    ).reset_index()
    summary["solved_at"] = summary["solved_at"].replace(math.inf, math.nan)
    if summary["solved_at"].isna().all():
        summary = summary.drop(columns="solved_at")
    # Problems in the order of the rows, methods from the best to the worst.
    places = {name: place for place, name in enumerate(dict.fromkeys(frame["problem"]))}
    summary["place"] = summary["problem"].map(places)
    order = ["place", "dtype", "value", "diverged", "way"]
    summary = summary.sort_values(order, kind="stable").reset_index(drop=True)
    best = summary.groupby(["problem", "dtype", "method"], sort=False).head(1).index
    summary.insert(4, "chosen", summary.index.isin(best))
    return summary.drop(columns=["place", "way"])
