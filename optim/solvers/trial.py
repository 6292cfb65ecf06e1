"""A trial of a model's step: its actual decrease against the predicted one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.rows import Scalar
from torchmanifold.optim.solvers.state import PRECISION, RUNNING, State

__all__ = ["Trial", "taken", "tried"]

# Values differ by rounding below this many eps of the value.
_ROUNDING = 10.0


@dataclass(frozen=True)
class Trial:
    """The end of a step.

    Args:
        point: the end of the step, with the gradient if some problem accepts the step.
        ratio: the ratio of the actual to the predicted decrease.
        finite: whether value and gradient are finite.
        good: whether the step is accepted.
        rounding: whether both decreases are too small for the digits of the value.
        fell: the decrease of the value.
    """

    point: Point
    ratio: Scalar
    finite: Scalar
    good: Scalar
    rounding: Scalar
    fell: Scalar


def tried(
    objective: Objective,
    point: Point,
    c: Tensor,
    predicted: Scalar,
    accept: float,
    active: Scalar,
) -> Trial:
    """Make the step `c`, of which a model predicts the decrease.

    If values differ only by rounding, the decrease is computed from the gradients at both ends.
    """
    rows = objective.space.rows
    x, eta = objective.moved(point, c)
    trial = objective.value(x)
    fell = point.f - trial.f
    level = _ROUNDING * torch.finfo(rows.dtype).eps * abs(point.f)
    rounding = (predicted <= level) & (abs(fell) <= level)
    numerator = fell
    if rows.some(rounding & active):
        objective.gradient(trial)
        slopes = rows.dot(point.c, eta) + rows.dot(trial.c, eta)
        numerator = rows.where(rounding, -slopes / 2, fell)
    ratio = rows.divide(numerator, predicted)
    finite = rows.finite(trial.f)
    good = finite & (ratio > accept)
    if rows.split(good, active)[0]:
        objective.gradient(trial)
        finite = finite & rows.finite(trial.norm)
        good = good & finite
    return Trial(trial, ratio, finite, good, rounding, fell)


def taken(
    objective: Objective,
    state: State,
    point: Point,
    trial: Trial,
    active: Scalar,
    *,
    memory: Any,
    length: Scalar,
    curvature: Scalar,
) -> tuple[State, Point, Scalar, Scalar]:
    """State and point after the trial, and masks of acceptance and of mere rounding.

    Args:
        objective: the function.
        state: the state before.
        point: the point before.
        trial: the trial.
        active: the running problems.
        memory: the memory of the method.
        length: the length of the step.
        curvature: the least curvature along the step.
    """
    rows, good = objective.space.rows, trial.good
    eps = torch.finfo(rows.dtype).eps
    some, fails = rows.split(good, active)
    # A step that is lost in rounding.
    size = rows.norm(objective.space.vector(point.x)) if fails else rows.full(0.0)
    lost = rows.no(good) & (length <= eps * rows.most(size, eps))
    state = replace(
        state,
        memory=memory,
        nit=state.nit + 1,
        verdict=rows.where(lost, PRECISION, RUNNING),
        curvature=curvature,
        fell=rows.where(good, trial.fell, 0.0),
    )
    if not some:
        return state, point, good, trial.rounding
    end = trial.point
    accepted = replace(state, x=end.x, f=end.f, c=end.c, norm=end.norm, step=length)
    if not fails:
        return accepted, end, good, trial.rounding
    merged = rows.merge(good, accepted, state)
    # One graph for the points of all problems.
    return merged, objective.evaluate(merged.x), good, trial.rounding
