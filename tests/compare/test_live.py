"""The report while runs end."""

import pytest

import torchmanifold as tm

OPTIONS = {"seeds": 3, "steps": 3, "workers": 1, "quiet": True, "grid": {"lr": [0.1]}}


def test_the_page_reloads_itself_until_the_last_run_ended(tmp_path):
    pages = []

    def look(run, row):
        path = tmp_path / "out" / "report.html"
        text = path.read_text("utf-8") if path.exists() else ""
        if text not in pages:
            pages.append(text)

    results = tm.compare.run(
        ["procrustes"], ["riemannian-sgd"], out=tmp_path / "out", log=look, watch=1e-9, **OPTIONS
    )
    none, first, *_ = pages
    assert none == ""
    assert "1 of 3 runs so far" in first and '<meta http-equiv="refresh" content="1">' in first
    assert not (results.folder / "report.html.partial").exists()
    last = (results.folder / "report.html").read_text("utf-8")
    assert "so far" not in last and "refresh" not in last.partition("<style>")[0]


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_a_time_that_is_none_is_refused_before_anything_is_written(tmp_path, seconds):
    with pytest.raises(ValueError, match="watch must be a positive number of seconds"):
        tm.compare.run(
            ["procrustes"], ["riemannian-sgd"], out=tmp_path / "out", watch=seconds, **OPTIONS
        )
    assert not (tmp_path / "out").exists()
