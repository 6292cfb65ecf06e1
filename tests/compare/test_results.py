"""The results folder: interruption and resumption, damage, and the summary of the rows."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from torchmanifold.optim.compare import Results, perform, plan_of, run
from torchmanifold.optim.compare.engine import carry
from torchmanifold.optim.compare.environment import environment
from torchmanifold.optim.compare.perform import failed_row
from torchmanifold.optim.compare.summary import summarize

SMALL = plan_of(
    ["pca", "brockett"], ["riemannian-sgd", "qr-sgd"], seeds=2, steps=4, grid={"lr": [0.01, 0.1]}
)
RUNS = list(SMALL.runs())


def fill(folder, runs, resume=False):
    results = Results(folder)
    done = results.begin(SMALL, "a command", resume)
    for rows in carry((one for one in runs if one.key not in done), perform, None):
        results.append(rows)
    return results


def untimed(folder):
    rows = map(json.loads, (folder / "runs.jsonl").read_text().splitlines())
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_an_interrupted_run_is_finished(tmp_path):
    whole = fill(tmp_path / "whole", RUNS)
    cut = fill(tmp_path / "cut", RUNS[:5])
    # Killed while it was writing: a run without its last row, and an incomplete line.
    rows = perform(RUNS[5])
    with (cut.folder / "runs.jsonl").open("a") as file:
        file.write(json.dumps(rows[0]) + "\n" + json.dumps(rows[1])[:40])
    assert len(cut.frame().query("final")) == 5
    fill(tmp_path / "cut", RUNS, resume=True)
    assert untimed(whole.folder) == untimed(cut.folder)


def test_ten_kills_in_the_midst_of_writing_lose_nothing(tmp_path):
    """Each kill leaves a file cut at another byte."""
    fill(tmp_path / "whole", RUNS[:4])
    text = (tmp_path / "whole" / "runs.jsonl").read_bytes()
    for part in range(10):
        folder = tmp_path / str(part)
        folder.mkdir()
        (folder / "settings.json").write_bytes((tmp_path / "whole/settings.json").read_bytes())
        (folder / "runs.jsonl").write_bytes(text[: len(text) * (2 * part + 1) // 20])
        fill(folder, RUNS[:4], resume=True)
        assert untimed(folder) == untimed(tmp_path / "whole")


def test_resume_keeps_what_is_done_and_does_failed_runs_again(tmp_path):
    results = fill(tmp_path, RUNS)
    before = (tmp_path / "runs.jsonl").read_text()
    assert len(results.begin(SMALL, "again", resume=True)) == len(RUNS)
    assert (tmp_path / "runs.jsonl").read_text() == before
    lines = [line for line in before.splitlines(keepends=True) if '"seed": 0' in line]
    (tmp_path / "runs.jsonl").write_text("".join(lines))
    results.append([failed_row(RUNS[1], "killed its worker 3 times")])
    assert [row["reason"] for row in results.failures()] == ["failed: killed its worker 3 times"]
    assert len(results.begin(SMALL, "again", resume=True)) == len(RUNS) // 2


def test_resume_refuses_other_settings_and_nothing(tmp_path):
    Results(tmp_path / "a").begin(SMALL, "a command", resume=False)
    other = plan_of(["pca"], ["qr-sgd"], seeds=3, steps=4)
    with pytest.raises(ValueError, match=r"other settings \(problems, methods, grids, seeds\)"):
        Results(tmp_path / "a").begin(other, "a command", resume=True)
    with pytest.raises(ValueError, match="there is nothing to resume in"):
        Results(tmp_path / "b").begin(SMALL, "a command", resume=True)
    assert not (tmp_path / "b").exists()


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(ValueError, match="not empty"):
            Results(tmp_path).begin(SMALL, "a command", resume)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_rows_come_in_an_order_that_does_not_depend_on_the_machine(tmp_path):
    ordered, shuffled = (
        fill(tmp_path / name, some).frame() for name, some in (("a", RUNS), ("b", RUNS[::-1]))
    )
    keys = ["problem", "method", "lr", "seed", "iteration"]
    assert ordered[keys].equals(shuffled[keys])
    assert list(dict.fromkeys(ordered["method"])) == ["riemannian-sgd", "qr-sgd"]
    assert list(dict.fromkeys(ordered["lr"])) == [0.01, 0.1]


def test_another_version_and_a_column_that_is_not_there_are_refused(tmp_path):
    results = fill(tmp_path, RUNS[:1])
    with pytest.raises(ValueError, match="y: no column 'gap2'; there are"):
        results.plot("gap2")
    record = json.loads((tmp_path / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps({**record, "format": 1}))
    with pytest.raises(ValueError, match=r"another version of torchmanifold \(format 1, not 2\)"):
        results.report()


def rows_of(gaps, diverged=(), **columns):
    """Rows of one method with two recorded steps each: gaps by learning rate and seed."""
    rows = [
        {
            "problem": "p", "method": "m", "dtype": "float64", "config": f"lr={lr:g}", "lr": lr,
            "seed": seed, "iteration": it, "seconds": 0.01 * it, "evaluations": it, "loss": gap,
            "gap": gap if it else 1.0, "gradient_norm": gap, "residual": 1e-16, "floor": 1e-15,
            "final": it == 1, "diverged": (lr, seed) in diverged, "reason": "", **columns,
        }
        for lr, values in gaps.items()
        for seed, gap in enumerate(values)
        for it in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def summary_of(frame, **about):
    return summarize(frame, {"p": {"exact": True, "solved": None, **about}}).set_index("config")


def test_the_rate_with_the_best_median_is_chosen():
    summary = summary_of(rows_of({0.1: [1e-3, 1e-3, 5.0], 0.3: [1e-2, 1e-2, 1e-9]}))
    assert summary["chosen"].to_dict() == {"lr=0.1": True, "lr=0.3": False}
    assert summary["value"].to_dict() == {"lr=0.1": 1e-3, "lr=0.3": 1e-2}
    assert summary["ms_per_step"].tolist() == pytest.approx([10.0, 10.0])


def test_a_diverged_run_counts_as_infinite():
    gaps = {0.1: [1e-9, 1e-9, 1e-9], 0.3: [1e-2, 1e-2, 1e-2]}
    summary = summary_of(rows_of(gaps, diverged={(0.1, 0), (0.1, 1)}))
    assert summary["chosen"].to_dict() == {"lr=0.3": True, "lr=0.1": False}
    assert summary.loc["lr=0.1", "value"] == math.inf and summary.loc["lr=0.1", "diverged"] == 2


def test_a_loss_below_the_stated_optimum_is_flagged_and_ranked_by_the_loss():
    """The distance from a wrong optimum would turn the ranking around."""
    summary = summary_of(rows_of({0.1: [-1e-3] * 3, 0.3: [1e-4] * 3}))
    assert summary["chosen"].to_dict() == {"lr=0.1": True, "lr=0.3": False}
    assert summary["below"].all() and summary.loc["lr=0.1", "value"] == -1e-3
    rounding = summary_of(rows_of({0.1: [-1e-15] * 3}))
    assert not rounding["below"].any() and rounding["value"].tolist() == [1e-15]


def test_without_an_optimum_the_loss_decides():
    frame = rows_of({0.1: [-3.0] * 3, 0.3: [-2.0] * 3}).drop(columns="gap")
    summary = summary_of(frame, exact=False)
    assert summary["chosen"].to_dict() == {"lr=0.1": True, "lr=0.3": False}
    assert not summary["below"].any()


def test_a_problem_is_solved_by_the_median_seed_or_not_at_all():
    """The first recorded step below the level; a seed that never gets there comes last."""
    frame = rows_of({0.1: [1e-3, 1e-3, 5.0], 0.3: [1e-3, 5.0, 5.0]})
    frame.loc[frame["iteration"] == 0, "loss"] = 1.0
    summary = summary_of(frame, solved=[5e-3, "a tenth"])
    assert summary.loc["lr=0.1", "solved_at"] == 1
    assert np.isnan(summary.loc["lr=0.3", "solved_at"])


def test_environment_names_versions_and_machine():
    about = environment("cpu")
    assert about["torch"] == torch.__version__
    assert "cores" in about["processor"]


def test_a_time_is_shown_beside_agreement_only(tmp_path):
    results = run(["brockett"], ["trust-region", "lbfgs", "riemannian-sgd"], seeds=2, steps=60,
                  dtypes=["float64"], grid={"lr": [1e-3]}, out=tmp_path / "r", workers=1,
                  quiet=True)  # fmt: skip
    agrees = results.summary().set_index("method")["agrees"]
    assert agrees.to_dict() == {"trust-region": True, "lbfgs": True, "riemannian-sgd": False}
    lines = {
        line.split()[0]: line.split() for line in str(results.table()).splitlines() if line.strip()
    }
    assert lines["riemannian-sgd"][-1] == "-" and float(lines["trust-region"][-1]) > 0
