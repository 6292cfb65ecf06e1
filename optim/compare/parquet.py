"""Results as Parquet, where pyarrow is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pandas as pd

__all__ = ["write_parquet"]


def write_parquet(frame: pd.DataFrame, path: Path) -> Path:
    """Write rows as one Parquet file, completely or not at all.

    A hyperparameter with values of several types becomes a column of text, and the column `config`
    has all of them anyway.

    Raises:
        ValueError: if pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError("Parquet needs pyarrow: pip install 'torchmanifold[parquet]'")
    mixed = [
        name
        for name in frame
        if frame[name].dtype == object and frame[name].dropna().map(type).nunique() > 1
    ]
    frame = frame.assign(**{name: frame[name].map(str, na_action="ignore") for name in mixed})
    partial = path.with_suffix(path.suffix + ".partial")
    frame.to_parquet(partial, engine="pyarrow", index=False)
    return partial.replace(path)
