"""Differences of values at the end of a run that went wrong: do they agree with the derivatives?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.state import State

__all__ = ["doubt"]

# A derivative is wrong if a difference denies it by more than this part of it.
_APART = 0.1
# Values have a rounding error of this many eps.
_ROUNDING = 10.0

_GRADIENT = (
    "; a difference of values along the gradient does not agree with it, so the derivative may be "
    "wrong: tm.check_gradient compares them"
)
_HESSIAN = (
    "; a second difference of values does not agree with a Hessian-vector product, so the second "
    "derivative may be wrong: tm.check_hessian compares them"
)


def doubt(objective: Objective, state: State, doubtful: Tensor) -> str:
    """The derivative that is wrong in one of the problems `doubtful`, as the end of a message.

    A difference along the gradient checks its norm. If it agrees, and the method takes second
    derivatives, second differences along the gradient and one more direction check them.
    """
    if objective.order == 0 or not bool(doubtful.any()):
        return ""
    rows, space = objective.space.rows, objective.space
    point = Point(state.x, state.f, space.frames(state.x))
    unit = rows.scale(rows.divide(rows.full(1.0), state.norm), state.c)
    value = _values(objective, point)
    eps, f, norm = torch.finfo(rows.dtype).eps, rows.tensor(state.f), rows.tensor(state.norm)
    size = 1 + rows.tensor(rows.norm(space.vector(state.x)))

    h = eps ** (1 / 3) * size
    slope = (value(unit, h) - value(unit, -h)) / (2 * h)
    off = (slope - norm).abs() > _APART * norm + _ROUNDING * eps * f.abs() / h
    if bool((off.reshape(-1) & doubtful).any()):
        return _GRADIENT
    if objective.order < 2 or not _second(objective):
        return ""
    here = objective.evaluate(state.x)
    other, _ = objective.step(here, space.generic(state.c))
    other = rows.scale(rows.divide(rows.full(1.0), rows.norm(other)), other)
    h = eps**0.25 * size
    for u in (unit, other):
        product = rows.tensor(rows.dot(u, objective.product(here, u)))
        bend = (value(u, h) - 2 * f + value(u, -h)) / h**2
        # The step is long, so a third derivative of the size of the second has its part, too.
        error = 4 * _ROUNDING * eps * f.abs() / h**2 + h * norm
        off = (bend - product).abs() > _APART * (product.abs() + bend.abs()) + error
        if bool((off.reshape(-1) & doubtful).any()):
            return _HESSIAN
    return ""


def _values(objective: Objective, point: Point) -> Callable[[Tensor, Tensor], Tensor]:
    rows, plain = objective.space.rows, replace(objective, order=0)

    def value(u: Tensor, t: Tensor) -> Tensor:
        x, _ = objective.moved(point, rows.scale(rows.scalar(t), u))
        return rows.tensor(plain.value(x).f)

    return value


def _second(objective: Objective) -> bool:
    """Whether products are those of second derivatives of the value along the retraction."""
    if objective.residuals is not None or objective.differences:
        return False
    if objective.bends:
        return True
    rules = (
        (part.manifold.retraction_rule, part.manifold.metric) for part in objective.space.parts
    )
    return all(rule.order[type(metric)] >= 2 for rule, metric in rules)
