"""The loop that all methods share: step, check of precision, stop, removal of finished problems."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from torchmanifold.optim.solvers.method import Context, Method
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.rows import Many, Scalar, tree_map
from torchmanifold.optim.solvers.state import PRECISION, RUNNING, Best, State
from torchmanifold.optim.solvers.stop import Criterion, GradientNorm, Progress

__all__ = ["CALLBACK", "CRITERIA", "Run", "first_state", "run"]

# Further verdicts after those of `state`: one for the callback, then one for each criterion.
CALLBACK, CRITERIA = 3, 4

# Iterations at rounding level without a halved gradient, counted in halves of an accepted one.
_PATIENCE = 20


@dataclass
class Run:
    """The progress of a solver: the content of `result.state`, as tensors and numbers."""

    state: State
    kept: Tensor | None = None  # the problems that are still computed; None stands for all
    counts: tuple[int, int, int] = (0, 0, 0)
    seconds: float = 0.0
    entries: list[tuple[Tensor | None, dict[str, Any]]] = field(default_factory=list)


def first_state(method: Method, objective: Objective, point: Point) -> State:
    """The state before the first step."""
    rows = objective.space.rows
    infinity = rows.full(float("inf"))
    norm = infinity if point.norm is None else point.norm
    best = Best(point.x, point.f, point.c, norm, norm, rows.full(0))
    return State(
        x=point.x,
        f=point.f,
        c=point.c,
        norm=norm,
        first=norm,
        memory=method.begin(objective, point),
        best=best,
        nit=rows.full(0),
        step=infinity,
        fell=infinity,
        verdict=rows.full(RUNNING),
        curvature=infinity,
    )


def _guarded(rows: Any, state: State, good: Scalar, rounding: Scalar) -> State:
    """Stop problems whose gradient no longer halves while values differ only by rounding.

    Such a problem ends at its best point, which has the least gradient since then.
    """
    old = state.best
    if not rows.some(rounding) and not rows.some(old.waits > 0):
        # Nothing to keep, because the point itself is the best one.
        return replace(
            state, best=Best(state.x, state.f, state.c, state.norm, state.norm, old.waits)
        )
    better = rows.no(rounding) | (state.norm < old.norm)
    here = Best(state.x, state.f, state.c, state.norm, old.half, old.waits)
    best = rows.merge(better, here, old)
    halved = rows.no(rounding) | (state.norm <= old.half / 2)
    waits = rows.where(halved, 0, old.waits + rows.where(good, 2, 1))
    best = replace(best, half=rows.where(halved, state.norm, old.half), waits=waits)
    running = state.verdict == RUNNING
    over = (waits >= _PATIENCE) | rows.no(running)
    state = replace(state, best=best)
    if not rows.some(over):
        return state
    verdict = rows.where(running, PRECISION, state.verdict)
    back = replace(state, x=best.x, f=best.f, c=best.c, norm=best.norm, verdict=verdict)
    return rows.merge(over, back, state)


def _judged(rows: Any, state: State, criteria: list[Criterion], progress: Progress) -> Scalar:
    """The verdict of each running problem: the first criterion that it meets."""
    verdict = state.verdict
    for number, criterion in enumerate(criteria):
        met = criterion.met(progress) & (verdict == RUNNING)
        verdict = rows.where(met, CRITERIA + number, verdict)
    return verdict


def _goal(criteria: list[Criterion]) -> float:
    return max((c.tol for c in criteria if isinstance(c, GradientNorm)), default=0.0)


def run(
    method: Method,
    objective: Objective,
    whole: Run,
    point: Point,
    stop: Criterion,
    *,
    precondition: Callable[[Point, Tensor], Tensor] | None = None,
    watch: Callable[[Objective, State, Point, Scalar, float], Any] | None = None,
    record: Callable[[Objective, State, Point], dict[str, Any]] | None = None,
) -> Run:
    """Step until every problem has stopped.

    Args:
        method: the method that makes the steps.
        objective: the function, of all problems.
        whole: the progress so far, which is continued.
        point: the point of `whole.state`, evaluated.
        stop: the criteria.
        precondition: for methods that use one.
        watch: called after each iteration; a problem stops if it returns true for it.
        record: a function that returns the entries of the history.
    """
    clock = time.perf_counter() - whole.seconds
    criteria = list(stop.alternatives())
    context = Context(_goal(criteria), precondition)
    every = objective
    state, kept = whole.state, whole.kept
    if kept is not None:
        objective, state = every.taken(kept), _take(state, kept)
        point = objective.evaluate(state.x)
    decreases: list[Scalar] = []
    entries = whole.entries
    if record and not entries:
        entries.append((kept, record(objective, state, point)))
    while True:
        rows = objective.space.rows
        progress = Progress(
            rows, state.f, state.norm, state.first, state.step, decreases, state.nit,
            every.counts.nfev, time.perf_counter() - clock,
        )  # fmt: skip
        state = replace(state, verdict=_judged(rows, state, criteria, progress))
        active = state.verdict == RUNNING
        if isinstance(rows, Many):
            running = int(active.sum())
            if running == 0:
                break
            if 2 * running <= rows.count and objective.cuttable:
                rest = active.nonzero()[:, 0]
                fewer = _fewer(objective, state, rest)
                if fewer is not None:
                    whole.state = _put(whole.state, kept, state)
                    kept = rest if kept is None else kept[rest]
                    objective, state = fewer, _take(state, rest)
                    point = objective.evaluate(state.x)
                    rows, active = objective.space.rows, active[rest]
                    decreases = [d[rest] for d in decreases]
        elif not active:
            break
        new, point, good, rounding = method.step(objective, state, point, active, context)
        new = _guarded(rows, new, good, rounding)
        decreases = [*decreases[-31:], new.fell]
        if isinstance(rows, Many):
            new = rows.merge(active, new, state)
        state = new
        if record:
            entries.append((kept, record(objective, state, point)))
        if watch:
            told = watch(objective, state, point, good, time.perf_counter() - clock)
            if told is not None:
                verdict = rows.where(told & (state.verdict == RUNNING), CALLBACK, state.verdict)
                state = replace(state, verdict=verdict)
    counts = (every.counts.nfev, every.counts.njev, every.counts.nhev)
    full = _put(whole.state, kept, state)
    return Run(full, kept, counts, time.perf_counter() - clock, entries)


def _take(state: State, kept: Tensor) -> State:
    return tree_map(lambda rows: rows[kept], state)


def _put(full: State, kept: Tensor | None, state: State) -> State:
    """The state of all problems, in which the problems `kept` have their values from `state`."""
    if kept is None:
        return state
    return tree_map(lambda all_, some: all_.index_copy(0, kept, some), full, state)


def _fewer(objective: Objective, state: State, rest: Tensor) -> Objective | None:
    """The function of the problems `rest`, or None if the arguments cannot be cut.

    The size of an argument may equal the number of problems by chance. If such an argument is cut,
    the function gives other values, or raises.
    """
    fewer = objective.taken(rest)
    x = tuple(leaf[rest] for leaf in state.x)
    try:
        f = replace(fewer, order=0).value(x).f
    except (RuntimeError, IndexError, ValueError):
        return None
    same = (f - state.f[rest]).abs() <= 1e3 * torch.finfo(f.dtype).eps * state.f[rest].abs()
    return fewer if bool(same.all()) else None
