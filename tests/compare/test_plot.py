"""Figures from rows alone, and the page made of them."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest

from torchmanifold.optim.compare import plot
from torchmanifold.optim.compare.plot import draw

FAMILIES = {"exp": 3, "others": 2}


def made_up_rows(methods, scores=(), diverged=()):
    """Rows as no run has made them: the figures must not need the library."""
    rows = [
        {
            "problem": "p", "title": "A problem", "method": method, "family": family,
            "dtype": dtype, "lr": 0.1, "seed": seed, "iteration": it, "seconds": 1e-3 * it,
            "loss": 1.0, "gap": 10.0 ** -(it / 5 + seed), "gradient_norm": 1.0,
            "residual": 1e-7, "floor": 1e-7, "final": it == 20, "diverged": method in diverged,
            **dict.fromkeys(scores, 0.5),
        }
        for (method, family), dtype, seed, it in itertools.product(
            methods.items(), ("float32", "float64"), range(3), (0, 1, 5, 20)
        )
    ]  # fmt: skip
    return pd.DataFrame(rows)


def choice(rows):
    return rows[["problem", "dtype", "method", "lr"]].drop_duplicates()


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn, to look into."""
    kept = []
    original = plot._figure
    monkeypatch.setattr(plot, "_figure", lambda *a: kept.append(original(*a)) or kept[-1])
    return kept


def test_one_figure_for_each_problem_and_precision(tmp_path, figures):
    rows = made_up_rows({"a": "exp", "b": "others"})
    found = draw(rows, choice(rows), tmp_path)
    assert [path.name for _, path in found] == ["p-float32.svg", "p-float64.svg"]
    for _, path in found:
        assert path.stat().st_size > 1000 and path.with_suffix(".png").stat().st_size > 1000
    axes = figures[0].axes
    assert [ax.get_xlabel() for ax in axes] == ["iteration", "seconds of steps", "iteration"]
    assert all(ax.get_xscale() == "log" and ax.get_yscale() == "log" for ax in axes)


def test_lines_are_medians_and_bands_reach_the_extremes(tmp_path, figures):
    rows = made_up_rows({"a": "exp"})
    draw(rows, choice(rows), tmp_path)
    ax = figures[0].axes[0]
    x, y = ax.lines[0].get_data()
    assert x.tolist() == [1, 5, 20]
    assert np.allclose(y, [10 ** -(it / 5 + 1) for it in (1, 5, 20)])
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert np.isclose(band.max(), 10**-0.2)
    assert np.isclose(band.min(), 10**-6.0)


def test_accuracy_is_drawn_where_it_is_recorded(tmp_path, figures):
    rows = made_up_rows({"a": "exp"}, scores=("accuracy",))
    draw(rows, choice(rows), tmp_path)
    assert figures[0].axes[-1].get_ylabel() == "test accuracy"
    assert figures[0].axes[-1].get_yscale() == "linear"


def test_a_diverged_method_is_named_and_marked(tmp_path, figures):
    rows = made_up_rows({"a": "exp", "b": "others"}, diverged=("b",))
    draw(rows, choice(rows), tmp_path)
    labels = [text.get_text() for text in figures[0].axes[-1].get_legend().get_texts()]
    assert labels[0] == "a, lr 0.1"
    assert "diverged, 3 of 3" in labels[1]
    assert [line.get_marker() for line in figures[0].axes[0].lines].count("x") == 1


def test_many_methods_are_drawn_a_family_a_row(tmp_path, figures):
    methods = {f"exp-{i}": "exp" for i in range(7)} | {f"other-{i}": "others" for i in range(5)}
    rows = made_up_rows(methods)
    draw(rows, choice(rows), tmp_path)
    assert len(figures[0].axes) == 2 * 3


def test_no_two_methods_of_a_row_look_alike():
    styles = plot._styles([str(i) for i in range(plot.TOGETHER)]).values()
    looks = {(s["color"], str(s["linestyle"]), s["marker"]) for s in styles}
    assert len(looks) == plot.TOGETHER


def test_the_same_rows_give_the_same_picture(tmp_path):
    rows = made_up_rows({"a": "exp"})
    first, second = (draw(rows, choice(rows), tmp_path / name)[0][1] for name in "xy")
    assert first.read_bytes() == second.read_bytes()


def test_only_the_chosen_rate_is_drawn(tmp_path, figures):
    rows = made_up_rows({"a": "exp"})
    both = pd.concat([rows, rows.assign(lr=0.3)])
    draw(both, choice(rows), tmp_path)
    assert len([line for line in figures[0].axes[0].lines if len(line.get_xdata()) == 3]) == 1


def test_figures_are_svg(tmp_path):
    rows = made_up_rows({"a": "exp"})
    text = draw(rows, choice(rows), tmp_path)[0][1].read_text()
    assert re.search(r"<svg[^>]*>", text)


def test_shared_axes_show_every_row(tmp_path, figures):
    methods = {f"exp-{i}": "exp" for i in range(7)} | {f"other-{i}": "others" for i in range(5)}
    rows = made_up_rows(methods)
    rows.loc[rows["family"] == "others", "residual"] = 1.0
    draw(rows, choice(rows), tmp_path)
    low, high = figures[0].axes[-1].get_ylim()
    assert low < 1e-7 and high >= 1.0
