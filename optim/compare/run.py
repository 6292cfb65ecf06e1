"""Perform runs: step, stop the clock, measure, record; one after another or in processes."""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from torchmanifold.optim.compare.methods import METHODS
from torchmanifold.optim.compare.settings import DTYPES, Run, task

__all__ = ["Row", "advance", "execute", "marks", "perform"]

Row = dict[str, Any]

RECORDS = 16


def marks(steps: int) -> list[int]:
    """The steps after which a run is recorded: 0, then evenly spaced on a log axis.

    Example:
        >>> marks(5)
        [0, 1, 2, 3, 4, 5]
    """
    spaced = np.geomspace(1, steps, min(RECORDS, steps)).round().astype(int)
    return sorted({0, *spaced.tolist(), *range(1, min(steps, 5) + 1), steps})


def _synchronise(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def advance(optimizer: Optimizer, objectives: Iterable[Callable[[], Tensor]], device: str) -> float:
    """Take a step on each objective; the seconds that took.

    With one thread on the CPU these are of processor time, which other work on the machine does
    not lengthen.
    """
    alone = torch.device(device).type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    _synchronise(device)
    begin = clock()
    for objective in objectives:
        optimizer.zero_grad(set_to_none=True)
        objective().backward()
        optimizer.step()
    _synchronise(device)
    return clock() - begin


def _trace(run: Run) -> Iterator[tuple[int, float, dict[str, float]]]:
    """Iteration, seconds and measurements at each mark, up to the first that is not finite."""
    reference = task(run.problem).to(torch.float64, run.device)
    problem = reference.to(DTYPES[run.dtype], run.device)
    generator = torch.Generator().manual_seed(run.seed)
    model = problem.model(generator)
    optimizer = METHODS[run.method].prepare(model, problem.weight, problem.manifold, run.lr)
    objectives = iter(problem.objectives(model, generator))
    done, seconds = 0, 0.0
    for mark in marks(run.steps):
        try:
            seconds += advance(optimizer, islice(objectives, mark - done), run.device)
            values = reference.measure(model)
        except torch.linalg.LinAlgError:
            # A factorization that fails is how some methods meet a point that is not finite.
            values = dict.fromkeys(("loss", "gap", "gradient_norm", "residual"), math.nan)
        done = mark
        yield done, seconds, values
        if not math.isfinite(values["gap"]):
            return


@cache
def _warm_up(run: Run) -> None:
    """A few steps that are not recorded: the first ones load libraries and fill caches."""
    for _ in _trace(run):
        pass


def perform(run: Run) -> list[Row]:
    """Carry out one run: a row for each recorded step, the last one marked `final`.

    Seconds are those of the steps alone: processor time with one thread on the CPU, else time on
    the wall clock, on a GPU after synchronising. Measurements are made in float64. A run has
    diverged if it met a value that is not finite, if it ends with a larger gap than it began with,
    or if a method that promises the constraint ends off the manifold, by a residual above the
    square root of eps.

    Example:
        >>> rows = perform(Run("brockett", "qr-sgd", "float64", 0.1, 0, steps=20, device="cpu"))
        >>> rows[-1]["gap"] < rows[0]["gap"]
        True
    """
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        _warm_up(dataclasses.replace(run, lr=1e-3, seed=0, steps=2))
        torch.manual_seed(run.seed)
        trace = list(_trace(run))
    start, end = trace[0][2]["gap"], trace[-1][2]["gap"]
    eps = torch.finfo(DTYPES[run.dtype]).eps
    lost = METHODS[run.method].constrained and trace[-1][2]["residual"] > math.sqrt(eps)
    diverged = lost or not (math.isfinite(end) and end <= start)
    exact = task(run.problem).exact
    about = {
        "problem": run.problem,
        "title": task(run.problem).title,
        "method": run.method,
        "family": METHODS[run.method].family,
        "dtype": run.dtype,
        "lr": run.lr,
        "seed": run.seed,
        # The constraint holds to rounding, so the gap means nothing below the rounding of f*.
        "floor": eps * max(1.0, abs(exact)),
    }
    return [
        {
            **about,
            "iteration": iteration,
            "seconds": seconds,
            **values,
            "final": index == len(trace) - 1,
            "diverged": diverged,
        }
        for index, (iteration, seconds, values) in enumerate(trace)
    ]


def _begin_worker() -> None:
    # One thread each: matrices are small and cores are shared. Ctrl-C is the parent's to answer.
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A parent that is killed tells its pool nothing: the workers would wait for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def execute(
    runs: Iterable[Any], workers: int = 1, perform: Callable[[Any], list[Row]] = perform
) -> Iterator[list[Row]]:
    """Perform runs and yield the rows of each as it ends.

    Args:
        runs: what to do.
        workers: number of processes, with one thread each; 1 stays in this process.
        perform: carries out one run, in whatever process.
    """
    if workers == 1:
        yield from map(perform, runs)
        return
    # Not forked: a forked process inherits thread pools that do not work in it.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)
    try:
        for future in as_completed([pool.submit(perform, run) for run in runs]):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
