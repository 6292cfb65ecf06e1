"""Perform one run: make steps, stop the clock, measure, record."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

from torchmanifold.optim.compare.checkpoint import Checkpoint
from torchmanifold.optim.compare.marks import Mark, looped, marks, solved, stepped
from torchmanifold.optim.compare.method import Loop, Method, Solver
from torchmanifold.optim.compare.plan import Run
from torchmanifold.optim.compare.problem import Problem
from torchmanifold.optim.compare.registry import find_method, find_problem
from torchmanifold.optim.compare.task import DTYPES, Task

__all__ = ["Row", "failed_row", "perform"]

Row = dict[str, Any]
Log = Callable[[Run, Row], None]


def _trace(run: Run, problem: Problem, method: Method, kept: Checkpoint) -> Iterator[Mark]:
    """The measurements at each mark, up to the first that is not finite."""
    task = Task(problem, run.seed, run.dtype, run.device)
    places = marks(run.steps, problem.spacing, task.instance.record)
    stepper = task.prepare(method, dict(run.config), run.steps)
    task.evaluations = kept.restore(task.model, stepper)
    if isinstance(stepper, Solver):
        found = solved(task, stepper, run, places)
    elif isinstance(stepper, Loop):
        found = looped(task, stepper, run, places)
    else:
        found = stepped(task, stepper, run, places, kept)
    first = not kept.rows
    while True:
        try:
            place, seconds, evaluations, values = next(found)
        except StopIteration:
            return
        except torch.linalg.LinAlgError:
            # In some methods a factorization fails at a point that is not finite.
            nan = dict.fromkeys(("loss", "gap", "residual"), math.nan)
            yield places[-1], math.nan, task.evaluations, nan
            return
        ended = place >= places[-1] or not math.isfinite(values["loss"])
        if task.instance.profile is not None and (first or ended):
            values |= task.instance.profile(task.model)
        first = False
        yield place, seconds, evaluations, values
        kept.save(task.model, stepper, task.evaluations)
        if ended:
            return


@cache
def _warm_up(run: Run) -> None:
    """A few unrecorded steps, because the first ones load libraries and fill caches."""
    problem, method = _found(run)
    if not problem.is_network:
        for _ in _trace(run, problem, method, Checkpoint()):
            pass


def _found(run: Run) -> tuple[Problem, Method]:
    problem = find_problem(run.problem)
    given = dict(run.parameters)
    return problem.configured(**given) if given else problem, find_method(run.method)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def perform(run: Run, folder: Path | None = None, log: Log | None = None) -> list[Row]:
    """Carry out one run: a row for each recorded step, the last one marked `final`.

    Seconds count the steps without measurements. They are processor time with one thread on the
    CPU, and otherwise time on the wall clock, on a GPU after synchronising. The loss of a point is
    measured in float64. A run has diverged if it met a value that is not finite, if its last loss
    is larger than its first, or if a method that promises the constraint ends off the manifold,
    with a residual above the square root of eps.

    Args:
        run: the run.
        folder: the folder for checkpoints of networks; a run with a checkpoint continues from it.
        log: called with the run and each new row.

    Raises:
        ValueError: if the problem or the method is not found, or the checkpoint is damaged or of
            another run.

    Example:
        >>> rows = perform(Run("brockett", "qr-sgd", (("lr", 0.1),), 0, steps=20, dtype="float64"))
        >>> rows[-1]["gap"] < rows[0]["gap"]
        True
    """
    problem, method = _found(run)
    kept = Checkpoint.of(run, folder if problem.is_network else None)
    about = _about(run, problem, method)
    rows: list[Row] = list(kept.rows)
    deadline = None if run.time_limit is None else time.monotonic() + run.time_limit
    with torch.random.fork_rng(), _threads(run.threads):
        _warm_up(dataclasses.replace(run, seed=0, steps=2, time_limit=None))
        for place, seconds, evaluations, values in _trace(run, problem, method, kept):
            row = about | {
                "iteration": place, "seconds": seconds, "evaluations": evaluations, **values,
            }  # fmt: skip
            rows.append(row)
            kept.rows.append(row)
            if log is not None:
                log(run, row)
            if deadline is not None and time.monotonic() > deadline and place < run.steps:
                return [failed_row(run, f"took longer than {run.time_limit:g} s")]
    reason = _diverged(rows, method, run.dtype)
    end = {"diverged": bool(reason), "reason": reason}
    return [row | {"final": row is rows[-1]} | end for row in rows]


def _about(run: Run, problem: Problem, method: Method) -> Row:
    exact = problem.probe.exact
    eps = torch.finfo(DTYPES[run.dtype]).eps
    return {
        "problem": run.name or problem.name,
        "method": run.method_name or method.name,
        "dtype": run.dtype,
        "config": dict(run.config),
        "seed": run.seed,
        # The constraint holds up to rounding, so a gap below the rounding of f* has no meaning.
        "floor": eps * max(1.0, abs(exact or 0.0)),
    }


def _diverged(rows: list[Row], method: Method, dtype: str) -> str:
    """The reason why a run has diverged; empty if it has not."""
    first, last = rows[0]["loss"], rows[-1]["loss"]
    residual, bound = rows[-1]["residual"], math.sqrt(torch.finfo(DTYPES[dtype]).eps)
    if not math.isfinite(last):
        return "not finite"
    if method.constrained and not residual <= bound:
        return f"left the manifold (residual {residual:.0e})"
    return "ended above its initial value" if last > first else ""


def failed_row(run: Run, reason: str) -> Row:
    """The one row of a run that could not be carried out."""
    problem, method, dtype, _, seed = run.key
    return {
        "problem": problem, "method": method, "dtype": dtype, "config": dict(run.config),
        "seed": seed, "floor": math.nan, "iteration": 0, "seconds": math.nan, "evaluations": 0,
        "loss": math.nan, "residual": math.nan, "final": True, "diverged": True,
        "reason": f"failed: {reason}",
    }  # fmt: skip
