"""The lines of a figure: the median over the seeds, the smallest and the largest value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from torchmanifold.optim.compare.instance import Panel

__all__ = ["band", "label", "panels_of"]

VANISHED = 1e-12  # profiles on a log axis are drawn from this value up


def panels_of(about: dict[str, Any]) -> list[Panel]:
    """The panels that a problem has declared, from the settings of a results folder.

    Example:
        >>> panels_of({"panels": [{"y": "gap", "label": "gap", "levels": [[1, "one"]]}]})[0].levels
        ((1, 'one'),)
    """
    return [
        Panel(**{**panel, "levels": tuple(tuple(pair) for pair in panel.get("levels", ()))})
        for panel in about["panels"]
    ]


def _drawn(rows: pd.DataFrame, panel: Panel) -> pd.Series:
    values = rows[panel.y]
    if panel.y == "gap":
        # A value below zero is as wrong as one above: the point has left the manifold by that much.
        return values.abs().clip(lower=rows["floor"])
    if panel.y == "residual":
        # A log axis has no zero, so zero is drawn at a hundredth of eps.
        return values.clip(lower=np.finfo(rows["dtype"].iloc[0]).eps / 100)
    if panel.x == "place" and panel.log:
        return values.where(values > 0).clip(lower=VANISHED)
    return values


def _places(rows: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """One row for each place of the profile that was recorded first."""
    pairs = rows.loc[rows["iteration"] == 0, panel.y].dropna().explode().dropna()
    return pd.DataFrame(pairs.tolist(), columns=["place", panel.y])


def band(rows: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """Columns `x`, `median`, `min` and `max` at each recorded iteration of one method.

    Args:
        rows: rows of one method on one problem, over all seeds.
        panel: the quantities of both axes.
    """
    if panel.y not in rows:
        return pd.DataFrame(columns=["median", "min", "max", "x"])
    if panel.x == "place":
        rows = _places(rows, panel)
    by = rows.assign(drawn=_drawn(rows, panel)).groupby(
        "place" if panel.x == "place" else "iteration"
    )
    found = by["drawn"].agg(["median", "min", "max"])
    found["x"] = by[panel.x].median()
    found = found.dropna()
    if panel.log_x:
        # A log axis has no place for the initial step, nor for the first tick of the clock.
        found = found[(found["x"] > 0) & (found.index > 0)]
    return found


def label(method: str, config: str, lost: int = 0, seeds: int = 0) -> str:
    """A method in a legend, with its chosen hyperparameters.

    Example:
        >>> label("qr-sgd", "lr=0.3")
        'qr-sgd, lr 0.3'
    """
    text = f"{method}, {config.replace('=', ' ')}" if config else method
    return f"{text}\n($\\times$ diverged, {lost} of {seeds})" if lost else text
