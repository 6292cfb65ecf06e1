"""Figures and page from only rows and declarations."""

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest

from torchmanifold.optim.compare.report import costs, draw, page, profile_figure
from torchmanifold.optim.compare.report import figures as figures_module
from torchmanifold.optim.compare.report.style import TOGETHER, styles
from torchmanifold.optim.compare.summary import summarize

GAP = {"y": "gap", "label": r"gap $|f(x) - f^*|$"}
PANELS = [GAP, {**GAP, "x": "seconds", "x_label": "seconds of steps"},
          {"y": "residual", "label": "residual"}]  # fmt: skip


def rows_of(methods, diverged=(), **columns):
    """Invented rows, because the figures must not need the library."""
    rows = [
        {
            "problem": "p", "method": method, "dtype": dtype, "config": "lr=0.1", "lr": 0.1,
            "seed": seed, "iteration": it, "seconds": 1e-3 * it, "evaluations": it, "loss": 1.0,
            "gap": 10.0 ** -(it / 5 + seed), "gradient_norm": 1.0, "residual": 1e-7,
            "floor": 1e-7, "final": it == 20, "diverged": method in diverged, "reason": "",
            **columns,
        }
        for method, dtype, seed, it in itertools.product(
            methods, ("float32", "float64"), range(3), (0, 1, 5, 20)
        )
    ]  # fmt: skip
    return pd.DataFrame(rows)


def settings_of(methods, panels=PANELS):
    about = {"title": "A problem", "panels": panels, "exact": True, "network": False, "steps": 20,
             "solved": None, "parameters": {}, "optimum": "known"}  # fmt: skip
    return {
        "problems": {"p": about},
        "methods": {name: {"family": family} for name, family in methods.items()},
        "grids": {"p": {name: {"lr": [0.1]} for name in methods}},
        "seeds": [0, 1, 2], "dtypes": ["float32", "float64"], "device": "cpu", "threads": 1,
    }  # fmt: skip


def choice(rows):
    return rows[["problem", "dtype", "method", "config"]].drop_duplicates()


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn, to look into."""
    kept = []
    original = figures_module.figure_of
    monkeypatch.setattr(
        figures_module, "figure_of", lambda *a: kept.append(original(*a)) or kept[-1]
    )
    return kept


METHODS = {"a": "exp", "b": "others"}


def test_one_figure_for_each_problem_and_precision(tmp_path, figures):
    rows = rows_of(METHODS)
    found = draw(rows, choice(rows), settings_of(METHODS), tmp_path)
    assert [path.name for _, path in found] == ["p-float32.svg", "p-float64.svg"]
    for _, path in found:
        assert path.stat().st_size > 1000 and path.with_suffix(".png").stat().st_size > 1000
    axes = figures[0].axes
    assert [ax.get_xlabel() for ax in axes] == ["iteration", "seconds of steps", "iteration"]
    assert all(ax.get_xscale() == "log" and ax.get_yscale() == "log" for ax in axes)
    assert re.search(r"<svg[^>]*>", found[0][1].read_text())


def test_lines_are_medians_and_bands_reach_the_extremes(tmp_path, figures):
    rows = rows_of(["a"])
    draw(rows, choice(rows), settings_of({"a": "exp"}), tmp_path)
    ax = figures[0].axes[0]
    x, y = ax.lines[0].get_data()
    assert x.tolist() == [1, 5, 20]
    assert np.allclose(y, [10 ** -(it / 5 + 1) for it in (1, 5, 20)])
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert np.isclose(band.max(), 10**-0.2)
    assert np.isclose(band.min(), 10**-6.0)


def test_what_a_problem_declares_is_drawn(tmp_path, figures):
    panel = {"y": "accuracy", "label": "test accuracy", "log": False, "log_x": False,
             "levels": [[0.9, "wanted"]]}  # fmt: skip
    rows = rows_of(["a"], accuracy=0.5)
    draw(rows, choice(rows), settings_of({"a": "exp"}, [panel]), tmp_path)
    (ax,) = figures[0].axes
    assert (ax.get_ylabel(), ax.get_yscale(), ax.get_xscale()) == (
        "test accuracy", "linear", "linear",
    )  # fmt: skip
    assert [text.get_text() for text in ax.texts] == ["wanted"]


def test_a_diverged_method_is_named_and_marked(tmp_path, figures):
    rows = rows_of(METHODS, diverged=("b",))
    draw(rows, choice(rows), settings_of(METHODS), tmp_path)
    labels = [text.get_text() for text in figures[0].axes[-1].get_legend().get_texts()]
    assert labels[0] == "a, lr 0.1"
    assert "diverged, 3 of 3" in labels[1]
    assert [line.get_marker() for line in figures[0].axes[0].lines].count("x") == 1


MANY = {f"exp-{i}": "exp" for i in range(7)} | {f"other-{i}": "others" for i in range(5)}


def test_many_methods_are_drawn_a_family_a_row_on_shared_axes(tmp_path, figures):
    rows = rows_of(MANY)
    rows.loc[rows["method"].str.startswith("other"), "residual"] = 1.0
    draw(rows, choice(rows), settings_of(MANY), tmp_path)
    assert len(figures[0].axes) == 2 * 3
    low, high = figures[0].axes[-1].get_ylim()
    assert low < 1e-7 and high >= 1.0


def test_no_two_methods_of_a_row_look_alike():
    looks = {
        (s["color"], str(s["linestyle"]), s["marker"])
        for s in styles(map(str, range(TOGETHER))).values()
    }
    assert len(looks) == TOGETHER


def test_the_same_rows_give_the_same_picture_and_only_the_chosen_are_drawn(tmp_path, figures):
    rows = rows_of(["a"])
    both = pd.concat([rows, rows.assign(config="lr=0.3")])
    settings = settings_of({"a": "exp"})
    first, second = (draw(both, choice(rows), settings, tmp_path / name)[0][1] for name in "xy")
    assert first.read_bytes() == second.read_bytes()
    assert len([line for line in figures[0].axes[0].lines if len(line.get_xdata()) == 3]) == 1


def test_the_page_has_all_lines_and_needs_no_network():
    rows = rows_of(MANY, diverged=("exp-0",))
    rows["title"] = "</script><b>"
    settings = settings_of(MANY)
    settings["problems"]["p"]["title"] = "</script><b>"
    record = {
        "command": "torchmanifold compare <x>",
        "settings": settings,
        "environment": {"a": "b"},
    }
    text = page(record, rows, summarize(rows, settings["problems"]))
    assert not re.search(
        r"""(src|href)\s*=\s*["']?(https?:)?//""",
        re.sub(r"<script>.*?</script>", "", text, flags=re.S),
    )
    assert "compare &lt;x&gt;" in text and "<b>" not in text.split("<style>")[0]
    data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', text, re.S)[1])
    assert [chart["problem"] for chart in data["charts"]] == ["p", "p"]
    first = data["charts"][0]["panels"]
    assert [panel["y"] for panel in first] == ["gap |f(x) - f*|", "residual"]
    line = first[0]["lines"]["exp-1"]
    assert line["iteration"] == [1, 5, 20] and line["seconds"] == [0.001, 0.005, 0.02]
    assert set(data["looks"]) == set(MANY) == set(re.findall(r'data-toggle="([^"]+)"', text))
    assert "3 diverged" in data["charts"][0]["runs"]["exp-0"]


def test_a_profile_counts_who_is_solved_within_which_factor_of_the_best(tmp_path):
    """Method a needs one evaluation, b five, and c never solves the problem."""
    rows = rows_of(["a", "b", "c"])
    reach = {"a": 1, "b": 5, "c": 99}
    rows["gap"] = [
        1e-9 if it >= reach[m] else 1.0
        for m, it in zip(rows["method"], rows["iteration"], strict=True)
    ]
    table = costs(rows, choice(rows), 1e-6, "evaluations")
    assert len(table) == 2 * 3  # precisions and seeds
    assert (table["a"] == 1).all() and (table["b"] == 5).all() and np.isinf(table["c"]).all()
    figure = profile_figure(table, 1e-6, "evaluations")
    ratio, budget = figure.axes
    assert [line.get_label() for line in ratio.lines] == ["a", "b"]
    assert ratio.lines[1].get_xdata()[0] == 5 and budget.lines[1].get_ydata()[-1] == 1
    with pytest.raises(ValueError, match="known optimum"):
        costs(rows.drop(columns="gap"), choice(rows), 1e-6, "seconds")
