"""Rows: the records of a run, its divergence, and the state that it must not change."""

import itertools
import json
import math
import sys

import pytest
import torch

from torchmanifold.optim.compare import Run, perform
from torchmanifold.optim.compare.engine import Attempt
from torchmanifold.optim.compare.marks import marks

# The package has a function of the same name.
perform_module = sys.modules["torchmanifold.optim.compare.perform"]
marks_module = sys.modules["torchmanifold.optim.compare.marks"]


def run(problem, method, steps, seed=0, dtype="float32", **config):
    return Run(problem, method, tuple(config.items()), seed, steps, dtype)


@pytest.mark.parametrize("steps", [1, 2, 5, 30, 1000])
@pytest.mark.parametrize("spacing", ["log", "linear"])
def test_marks_are_increasing_and_end_with_the_last_step(steps, spacing):
    found = marks(steps, spacing)
    assert found[0] == 0 and found[-1] == steps
    assert found == sorted(set(found))
    assert len(found) <= 52


@pytest.mark.parametrize("method", ["qr-sgd", "trust-region"])
def test_rows_of_a_run(method):
    config = {"lr": 0.1} if method == "qr-sgd" else {}
    rows = perform(run("pca", method, 9, seed=3, **config))
    assert [row["iteration"] for row in rows] == marks(9)
    assert rows[0]["seconds"] < 1e-3
    for key in ("seconds", "evaluations"):
        assert all(a[key] < b[key] for a, b in itertools.pairwise(rows))
    assert [row["final"] for row in rows] == [False] * (len(rows) - 1) + [True]
    for row in rows:
        assert row["gap"] == pytest.approx(row["loss"] - rows[0]["loss"] + rows[0]["gap"])
        assert row["residual"] < 1e-5
        assert (row["problem"], row["method"], row["seed"]) == ("pca", method, 3)
        json.dumps(row)


def test_the_seed_decides():
    first, again, other = (
        perform(run("digits-rnn", "riemannian-adam", 2, seed, lr=0.01)) for seed in (0, 0, 1)
    )
    assert [row["loss"] for row in first] == [row["loss"] for row in again]
    assert first[0]["loss"] != other[0]["loss"]


def test_threads_and_random_state_are_left_alone():
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    job = Run("pca", "torch-orthogonal-sgd", (("lr", 0.1),), 0, 2, threads=threads + 1)
    perform(job)
    assert torch.equal(state, torch.get_rng_state()) and torch.get_num_threads() == threads


def test_divergence_is_recorded_with_its_reason():
    end = perform(run("completion", "riemannian-sgd", 60, lr=1e4))[-1]
    assert end["final"] and end["diverged"] and end["reason"]


def test_a_failing_factorization_is_divergence(monkeypatch):
    def fail(*args):
        raise torch.linalg.LinAlgError("did not converge")

    monkeypatch.setattr(marks_module, "_step", fail)
    perform_module._warm_up.cache_clear()
    rows = perform(run("pca", "qr-sgd", 5, lr=0.1))
    perform_module._warm_up.cache_clear()
    assert rows[-1]["diverged"] and math.isnan(rows[-1]["loss"])


def test_an_error_becomes_a_row_that_says_so():
    (row,) = Attempt()(run("pca", "no-such-method", 3))
    assert row["diverged"] and row["final"]
    assert row["reason"].startswith("failed: ValueError: unknown method 'no-such-method'")


def test_a_time_limit_ends_a_run():
    job = Run("pca", "qr-sgd", (("lr", 1e-3),), 0, 10**7, time_limit=0.3)
    (row,) = Attempt()(job)
    assert row["reason"] == "failed: took longer than 0.3 s"
