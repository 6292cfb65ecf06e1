"""The rows of a comparison as Parquet."""

import importlib.util

import pandas as pd
import pytest

import torchmanifold as tm
from torchmanifold.optim.compare.parquet import write_parquet


def test_the_rows_come_back_as_they_were(tmp_path):
    results = tm.compare.run(
        ["procrustes"], ["riemannian-sgd", "lbfgs"], seeds=2, steps=3, out=tmp_path / "out",
        quiet=True, workers=1,
    )  # fmt: skip
    path = results.to_parquet()
    assert path == tmp_path / "out" / "runs.parquet"
    back = pd.read_parquet(path)
    frame = results.to_pandas()
    assert list(back) == list(frame) and len(back) == len(frame) > 4
    for name in ("problem", "method", "seed", "iteration", "loss", "lr"):
        pd.testing.assert_series_equal(back[name], frame[name], check_dtype=False)


def test_mixed_hyperparameters_become_text(tmp_path):
    frame = pd.DataFrame({"a": [1, "two", None], "loss": [0.5, 0.25, 1.0]})
    back = pd.read_parquet(write_parquet(frame, tmp_path / "rows.parquet"))
    assert back["a"].tolist()[:2] == ["1", "two"] and back["a"].isna()[2]
    assert back["loss"].tolist() == [0.5, 0.25, 1.0]


def test_without_pyarrow_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'torchmanifold\[parquet\]'"):
        write_parquet(pd.DataFrame(), tmp_path / "rows.parquet")
    assert not list(tmp_path.iterdir())
