"""Engines: killed workers, killed drivers, and executors of a user."""

import os
import signal
import subprocess
import sys
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from torchmanifold.optim.compare import perform, plan_of
from torchmanifold.optim.compare.engine import Attempt, LocalPool, carry, executor_of

RUNS = list(plan_of(["brockett"], ["riemannian-sgd", "qr-sgd"], seeds=2, steps=4,
                    grid={"lr": [0.01]}).runs())  # fmt: skip


def untimed(found):
    rows = [row for rows in found for row in rows]
    rows.sort(key=lambda row: (row["method"], row["seed"], row["iteration"]))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@dataclass(frozen=True)
class Killed:
    """Kills its worker on the run of one method and seed, as long as the file does not exist."""

    folder: Path
    times: int

    def __call__(self, run):
        marks = [self.folder / str(i) for i in range(self.times)]
        mine = run.method_name == "qr-sgd" and run.seed == 0
        if mine and (left := [mark for mark in marks if not mark.exists()]):
            left[0].touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Attempt()(run)


@pytest.fixture(scope="module")
def serial():
    return untimed(carry(RUNS, perform, None))


@pytest.mark.parametrize("times", [0, 2])
def test_rows_equal_those_of_a_serial_run_whoever_is_killed(serial, tmp_path, times):
    pool = LocalPool(2)
    found = untimed(carry(RUNS, Killed(tmp_path, times), pool, 2))
    pool.shutdown()
    assert found == serial
    assert len(list(tmp_path.iterdir())) == times


def test_a_run_that_kills_its_worker_again_and_again_becomes_a_failed_row(serial, tmp_path):
    pool = LocalPool(2)
    found = untimed(carry(RUNS, Killed(tmp_path, 9), pool, 2))
    pool.shutdown()
    failed = [row for row in found if row["reason"]]
    assert [row["reason"] for row in failed] == ["failed: killed its worker 3 times"]
    rest = [row for row in serial if (row["method"], row["seed"]) != ("qr-sgd", 0)]
    assert [row for row in found if not row["reason"]] == rest


def test_any_executor_will_do(serial):
    with ThreadPoolExecutor(1) as executor:
        engine, workers = executor_of(executor, None, "cpu")
        assert untimed(carry(RUNS, Attempt(), engine, workers)) == serial


class Gone(ThreadPoolExecutor):
    """An executor that has lost its workers and cannot be renewed."""

    def submit(self, *args):
        future = super().submit(int)
        future.result = lambda: (_ for _ in ()).throw(BrokenExecutor())
        return future


def test_an_executor_that_cannot_be_renewed_says_so():
    with Gone(1) as executor, pytest.raises(BrokenExecutor, match="workers of the executor"):
        list(carry(RUNS, Attempt(), executor, 1))


PARENT = """
import os, signal
from torchmanifold.optim.compare import Run
from torchmanifold.optim.compare.engine import Attempt, LocalPool, carry

runs = [Run("pca", "qr-sgd", (("lr", 0.1),), 0, n) for n in (1, 10**6, 10**6)]
for rows in carry(runs, Attempt(), LocalPool(2), 2):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_end_with_a_parent_that_is_killed(tmp_path):
    # Without a guard of the main module, as in many scripts.
    (tmp_path / "parent.py").write_text(PARENT)
    # The processes hold the pipe open for as long as one of them lives.
    done = subprocess.run(
        [sys.executable, "parent.py"], cwd=tmp_path, capture_output=True, timeout=120
    )
    assert done.returncode == -signal.SIGKILL


@pytest.mark.filterwarnings("default")  # those of dask, of its own calls
def test_a_cluster_of_dask_gives_the_rows_of_a_serial_run(serial):
    executor, workers = executor_of("dask", 2, "cpu")
    assert workers == 2
    found = untimed(carry(RUNS, Attempt(), executor, workers))
    executor.shutdown()
    assert found == serial


def test_an_unknown_engine_or_one_that_is_not_installed_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="engine must be one of local, dask, slurm; got 'spark'"):
        executor_of("spark", None, "cpu")
    with pytest.raises(ValueError, match="engine local takes no address"):
        executor_of("local=here", None, "cpu")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"needs distributed: pip install 'torchmanifold\[dask\]'"):
        executor_of("dask", None, "cpu")
