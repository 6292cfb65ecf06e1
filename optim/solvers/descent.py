"""Descent along a line: one trial for each iteration, of all problems at once.

A problem with a good trial gets its next direction; any other problem tries a shorter step along
the same line. So no problem waits for the line search of another, and each iteration evaluates
once.

A method is a rule for the next direction; the search is here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchmanifold.optim.solvers.method import Context
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.rows import Rows, Scalar
from torchmanifold.optim.solvers.state import FAILED, PRECISION, RUNNING, State

__all__ = ["Descent", "Line", "first_trial"]

_ARMIJO = 1e-4
_LONGEST_SEARCH = 25
# Values differ by rounding below this many eps of the value.
_ROUNDING = 10.0
# A second trial follows if the first is further than this from the least value of the parabola.
_NEAR = 1.5
# A slope of this fraction of the first one is flat enough if values differ only by rounding.
_FLAT = 0.3


@dataclass(frozen=True)
class Line:
    """The state of descent: the line of the search.

    Args:
        d: the direction; `slope` is the derivative of the value along it.
        t: the next trial is at `t d`.
        tries: the number of trials on this line so far.
        fresh: whether the direction is steepest descent, without memory.
        window: the last values.
        seen: the last trial `(t, value)`, if a second one follows.
        rule: the memory of the rule.
    """

    d: Tensor
    slope: Scalar
    t: Scalar
    tries: Scalar
    fresh: Scalar
    window: Any
    seen: tuple[Scalar, Scalar]
    rule: Any


@dataclass(frozen=True)
class Descent(ABC):
    """A rule for directions, from the gradient and a memory, with a line search."""

    #: the order of the derivatives that it needs
    order: ClassVar[int] = 1
    #: whether the rule profits from the least value on the line, so that a second trial pays
    exact: ClassVar[bool] = False

    @property
    def window(self) -> int:
        """The number of earlier values with which the search compares; 1 is monotone."""
        return 1

    @abstractmethod
    def empty(self, rows: Rows, c: Tensor) -> Any:
        """An empty memory."""

    @abstractmethod
    def next(
        self,
        objective: Objective,
        memory: Any,
        old: Point,
        new: Point,
        line: Line,
        s: Tensor,
        good: Scalar,
    ) -> tuple[Tensor, Scalar, Any]:
        """The next direction, the first trial along it, and the memory, after the step `s`."""

    def begin(self, objective: Objective, point: Point) -> Line:
        """Steepest descent from a point, with an empty memory."""
        rows = objective.space.rows
        return Line(
            d=-point.c,
            slope=-(point.norm**2),
            t=first_trial(rows, point.norm),
            tries=rows.full(0),
            fresh=rows.full(True),
            window=rows.window(point.f, self.window),
            seen=(rows.full(0.0), rows.full(0.0)),
            rule=self.empty(rows, point.c),
        )

    def step(
        self, objective: Objective, state: State, point: Point, active: Scalar, context: Context
    ) -> tuple[State, Point, Scalar, Scalar]:
        """One trial."""
        return descend(self, objective, state, point, active)


def first_trial(rows: Rows, norm: Scalar) -> Scalar:
    """A step of length at most 1 along steepest descent."""
    return rows.least(rows.divide(rows.full(1.0), norm), 1.0)


def descend(
    method: Descent, objective: Objective, state: State, point: Point, active: Scalar
) -> tuple[State, Point, Scalar, Scalar]:
    """One trial: the state and point after it, and masks of acceptance and of mere rounding."""
    rows, line = objective.space.rows, state.memory
    eps = torch.finfo(rows.dtype).eps
    x, s = objective.moved(point, rows.scale(line.t, line.d))
    trial = objective.value(x)

    predicted = line.t * line.slope
    change = trial.f - point.f
    level = eps * abs(point.f)
    allowed = rows.peak(line.window) + _ARMIJO * predicted + _ROUNDING * level
    finite = rows.finite(trial.f)
    # A step that is lost in rounding gives no information; the next one is not longer.
    length = rows.norm(s)
    lost = length <= eps * rows.norm(objective.space.vector(point.x))
    good = finite & (trial.f <= allowed) & active & rows.no(lost)
    rounding = (abs(change) <= _ROUNDING * level) & (abs(predicted) <= _ROUNDING * level)
    # The parabola through value and slope at 0 and the value of the trial is least there.
    bend = change - predicted
    best = rows.where(bend > 0, rows.divide(-predicted, 2 * bend), 10.0)

    seen, tries = line.seen, line.tries
    again = rows.full(False)
    if method.exact:
        # A second trial at the least value; the first one counts if it was better.
        clear = abs(predicted) > 1e3 * level
        far = (best > _NEAR) | (best < 1 / _NEAR)
        ahead = good & (tries == 0) & far & clear
        back = good & (tries == 1) & (seen[1] < trial.f) & (seen[0] > 0) & rows.no(rounding)
        again = ahead | back
        good = good & rows.no(again)

    some, fails = rows.split(good, active)
    if some:
        objective.gradient(trial)
        finite = finite & rows.finite(trial.norm)
        good = good & finite
        if method.exact and rows.some(rounding & good):
            # Values no longer show where the line is least, but the slope of the trial does.
            after = rows.dot(trial.c, line.d)
            flat = abs(after) <= _FLAT * abs(line.slope)
            steep = rounding & good & (tries == 0) & rows.no(flat)
            secant = rows.divide(line.slope, line.slope - after)
            best = rows.where(steep, rows.where(secant > 0, secant, 10.0), best)
            again, good = again | steep, good & rows.no(steep)
        some, fails = rows.split(good, active)
    if fails:
        shrink = rows.where(finite, rows.least(rows.most(best, 0.1), 0.5), 0.1)
        t = line.t * shrink
        if method.exact:
            longer = line.t * rows.least(rows.most(best, 0.1), 10.0)
            t = rows.where(again, rows.where(tries == 0, longer, seen[0]), t)
            seen = (
                rows.where(again & (tries == 0), line.t, rows.full(0.0)),
                rows.where(again & (tries == 0), trial.f, rows.full(0.0)),
            )
        worse = replace(line, t=t, tries=tries + 1, seen=seen)
        stuck = (worse.tries >= _LONGEST_SEARCH) | lost
        ended = rows.where(lost, PRECISION, FAILED)
        verdict = rows.where(stuck & line.fresh, ended, RUNNING)
        if rows.some(stuck):
            worse = rows.merge(stuck & rows.no(line.fresh), method.begin(objective, point), worse)
        rejected = replace(
            state, memory=worse, verdict=state.verdict | verdict, fell=rows.full(0.0)
        )
        if not some:
            return rejected, point, good, rounding
    d, t, rule = method.next(objective, line.rule, point, trial, line, s, good)
    slope = rows.dot(trial.c, d)
    steep = rows.no(slope < 0)
    if rows.some(steep):
        d = rows.where(steep, -trial.c, d)
        slope = rows.where(steep, -(trial.norm**2), slope)
        t = rows.where(steep, first_trial(rows, trial.norm), t)
    zero = rows.full(0.0)
    better = Line(
        d, slope, t, rows.full(0), steep, rows.push(line.window, trial.f), (zero, zero), rule
    )
    accepted = replace(
        state,
        x=trial.x,
        f=trial.f,
        c=trial.c,
        norm=trial.norm,
        memory=better,
        nit=state.nit + 1,
        step=length,
        fell=-change,
    )
    if not fails:
        return accepted, trial, good, rounding
    merged = rows.merge(good, accepted, rejected)
    whole = Point(merged.x, merged.f, objective.space.frames(merged.x), merged.c, merged.norm)
    whole.egrad = rows.merge(good, trial.egrad, point.egrad)
    return merged, whole, good, rounding
