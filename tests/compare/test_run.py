"""Rows, results folders, interruption and resumption."""

import dataclasses
import json
import math
import signal
import subprocess
import sys

import pytest
import torch

from torchmanifold.optim.compare import results as results_module
from torchmanifold.optim.compare import run as run_module
from torchmanifold.optim.compare.results import Results, summarize
from torchmanifold.optim.compare.run import execute, marks, perform
from torchmanifold.optim.compare.settings import Run, Settings

SMALL = Settings(
    problems=("pca", "brockett"),
    methods=("riemannian-sgd", "qr-sgd", "unconstrained-adam"),
    rates=(0.01, 0.1),
    steps={"pca": 4, "brockett": 6},
    seeds=(0, 1),
)


def fill(folder, runs, resume=False):
    results = Results(folder)
    done = results.begin(SMALL, "a command", resume)
    for rows in execute(run for run in runs if run.key not in done):
        results.append(rows)
    return results


def untimed(folder):
    rows = map(json.loads, (folder / "runs.jsonl").read_text().splitlines())
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.mark.parametrize("steps", [1, 2, 5, 30, 1000])
def test_marks_are_increasing_and_end_with_the_last_step(steps):
    found = marks(steps)
    assert found[0] == 0 and found[-1] == steps
    assert found == sorted(set(found))
    assert len(found) <= 32


def test_rows_of_a_run():
    rows = perform(Run("pca", "qr-sgd", "float32", 0.1, seed=3, steps=9, device="cpu"))
    assert [row["iteration"] for row in rows] == marks(9)
    assert rows[0]["seconds"] < 1e-3
    assert all(a["seconds"] < b["seconds"] for a, b in zip(rows, rows[1:], strict=False))
    assert [row["final"] for row in rows] == [False] * (len(rows) - 1) + [True]
    for row in rows:
        assert row["gap"] == pytest.approx(row["loss"] - rows[0]["loss"] + rows[0]["gap"])
        assert row["residual"] < 1e-5
        assert (row["problem"], row["method"], row["seed"]) == ("pca", "qr-sgd", 3)


def test_the_seed_decides():
    first, again, other = (
        perform(Run("digits-rnn", "riemannian-adam", "float32", 0.01, seed, 2, "cpu"))
        for seed in (0, 0, 1)
    )
    assert [row["loss"] for row in first] == [row["loss"] for row in again]
    assert first[0]["loss"] != other[0]["loss"]


def test_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    perform(Run("pca", "torch-orthogonal-sgd", "float32", 0.1, 0, steps=2, device="cpu"))
    assert torch.equal(before, torch.get_rng_state())


def test_divergence_is_recorded():
    end = perform(Run("completion", "riemannian-sgd", "float32", 1e4, 0, 60, "cpu"))[-1]
    assert end["final"] and end["diverged"]


def test_a_failing_factorization_is_divergence(monkeypatch):
    def fail(*args):
        raise torch.linalg.LinAlgError("did not converge")

    monkeypatch.setattr(run_module, "advance", fail)
    run_module._warm_up.cache_clear()
    rows = perform(Run("pca", "qr-sgd", "float32", 0.1, 0, steps=5, device="cpu"))
    run_module._warm_up.cache_clear()
    assert rows[-1]["diverged"] and math.isnan(rows[-1]["gap"])


def test_settings_refuse():
    with pytest.raises(ValueError, match="positive and finite"):
        dataclasses.replace(SMALL, rates=(0.1, -1.0))
    with pytest.raises(ValueError, match="methods: at least one"):
        dataclasses.replace(SMALL, methods=())
    with pytest.raises(ValueError, match="steps: at least 1"):
        dataclasses.replace(SMALL, steps={"pca": 0, "brockett": 1})


def test_runs_cross_what_applies():
    runs = list(SMALL.runs())
    assert len(runs) == 2 * 2 * 2 * 2  # the unconstrained method applies to neither problem
    assert {run.steps for run in runs if run.problem == "pca"} == {4}
    assert len({run.key for run in runs}) == len(runs)


def test_an_interrupted_run_is_finished(tmp_path):
    runs = list(SMALL.runs())
    whole = fill(tmp_path / "whole", runs)
    cut = fill(tmp_path / "cut", runs[:5])
    # Killed while it wrote: a run without its last row, and a torn line.
    rows = perform(runs[5])
    with (cut.folder / "runs.jsonl").open("a") as file:
        file.write(json.dumps(rows[0]) + "\n" + json.dumps(rows[1])[:40])
    assert len(cut.frame().query("final")) == 5
    fill(tmp_path / "cut", runs, resume=True)
    assert untimed(whole.folder) == untimed(cut.folder)


def test_resume_keeps_what_is_done(tmp_path):
    fill(tmp_path, SMALL.runs())
    before = (tmp_path / "runs.jsonl").read_text()
    assert len(Results(tmp_path).begin(SMALL, "again", resume=True)) == 16
    assert (tmp_path / "runs.jsonl").read_text() == before


def test_resume_refuses_other_settings(tmp_path):
    Results(tmp_path).begin(SMALL, "a command", resume=False)
    other = dataclasses.replace(SMALL, seeds=(0, 1, 2))
    with pytest.raises(ValueError, match=r"other settings \(seeds\)"):
        Results(tmp_path).begin(other, "a command", resume=True)


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(ValueError, match="not empty"):
            Results(tmp_path).begin(SMALL, "a command", resume)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_processes_give_the_same_rows():
    runs = [run for run in SMALL.runs() if run.problem == "brockett"][:3]
    alone = {rows[0]["lr"]: rows[-1]["loss"] for rows in execute(runs[::2])}
    shared = {rows[0]["lr"]: rows[-1]["loss"] for rows in execute(runs[::2], workers=2)}
    assert shared == pytest.approx(alone, rel=1e-5)


PARENT = """
import os, signal
from torchmanifold.optim.compare.run import execute
from torchmanifold.optim.compare.settings import Run

if __name__ == "__main__":
    steps = [1, 10**6, 10**6]
    runs = [Run("pca", "qr-sgd", "float32", 0.1, 0, n, "cpu") for n in steps]
    for rows in execute(runs, workers=2):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    # The processes hold the pipe open for as long as one of them lives.
    done = subprocess.run(
        [sys.executable, "parent.py"], cwd=tmp_path, capture_output=True, timeout=60
    )
    assert done.returncode == -signal.SIGKILL


def test_rows_come_in_an_order_that_does_not_depend_on_the_machine(tmp_path):
    runs = [run for run in SMALL.runs() if run.problem == "brockett"]
    ordered, shuffled = (
        fill(tmp_path / name, some).frame() for name, some in (("a", runs), ("b", runs[::-1]))
    )
    keys = ["problem", "method", "lr", "seed", "iteration"]
    assert ordered[keys].equals(shuffled[keys])
    assert list(dict.fromkeys(ordered["method"])) == ["qr-sgd", "riemannian-sgd"]


def frame(gaps, diverged=()):
    """Rows of one method with two recorded steps each: gaps by learning rate and seed."""
    import pandas as pd

    rows = [
        {
            "problem": "p", "title": "P", "method": "m", "family": "f", "dtype": "float64",
            "lr": lr, "seed": seed, "iteration": it, "seconds": 0.01 * it, "loss": gap,
            "gap": gap if it else 1.0, "gradient_norm": gap, "residual": 1e-16,
            "floor": 1e-15, "final": it == 1, "diverged": (lr, seed) in diverged,
        }
        for lr, values in gaps.items()
        for seed, gap in enumerate(values)
        for it in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_rate_with_the_best_median_is_chosen():
    summary = summarize(frame({0.1: [1e-3, 1e-3, 5.0], 0.3: [1e-2, 1e-2, 1e-9]}))
    assert summary.set_index("lr")["chosen"].to_dict() == {0.1: True, 0.3: False}
    assert summary.set_index("lr")["gap"].to_dict() == {0.1: 1e-3, 0.3: 1e-2}
    assert summary["ms_per_step"].tolist() == pytest.approx([10.0, 10.0])


def test_a_diverged_run_counts_as_infinite():
    gaps = {0.1: [1e-9, 1e-9, 1e-9], 0.3: [1e-2, 1e-2, 1e-2]}
    summary = summarize(frame(gaps, diverged={(0.1, 0), (0.1, 1)})).set_index("lr")
    assert summary["chosen"].to_dict() == {0.1: False, 0.3: True}
    assert summary.loc[0.1, "gap"] == math.inf and summary.loc[0.1, "diverged"] == 2


def test_a_gap_below_zero_is_an_error_too():
    summary = summarize(frame({0.1: [-1e-3] * 3, 0.3: [1e-4] * 3})).set_index("lr")
    assert summary["chosen"].to_dict() == {0.1: False, 0.3: True}


def test_a_tenth_of_the_baseline_is_reached_by_the_median_seed_or_not_at_all():
    """The first recorded step under it; a seed that is never there counts as the last of all."""
    rows = frame({0.1: [1e-3, 1e-3, 5.0], 0.3: [1e-3, 5.0, 5.0]}).assign(baseline=0.05)
    summary = summarize(rows).set_index("lr")
    assert summary.loc[0.1, "solved_at"] == 1
    assert math.isnan(summary.loc[0.3, "solved_at"])


def test_environment_names_versions_and_machine():
    about = results_module.environment("cpu")
    assert about["torch"] == torch.__version__
    assert "cores" in about["processor"]
