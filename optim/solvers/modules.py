"""A module as the point of a solver: its weights move, and are left at the solution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from torch import nn

from torchmanifold.optim.solvers.constraints import checked
from torchmanifold.optim.solvers.result import Result
from torchmanifold.weights import JointPoint

__all__ = ["solve_module"]

R = TypeVar("R", bound=Result)


def solve_module(
    solve: Callable[..., R],
    fun: Callable[..., Any],
    model: nn.Module,
    manifold: Any,
    constraints: Any = (),
    **given: Any,
) -> R:
    """Solve for the weights of a module.

    Args:
        solve: `minimize` or `least_squares`.
        fun: `fun(model, *args)`.
        model: the initial point; it is left at the solution, or after an error as it was.
        manifold: None, because `tm.constrain` has set the manifolds.
        constraints: constraints, whose functions take the model too.
        given: further arguments of `solve`.

    Raises:
        ValueError: if a manifold is given, or the model has no weights that can be set.
    """
    if manifold is not None:
        raise ValueError(
            f"manifold: the weights of a module lie where tm.constrain(module, name, manifold) put "
            f"them; leave it out, got {manifold!r}"
        )
    try:
        point = JointPoint(model)
    except ValueError as error:
        raise ValueError(f"x0: {error}") from None
    if constraints:
        held = [replace(c, fun=point.function(c.fun)) for c in checked(constraints)]
        given["constraints"] = held
    result = solve(point.function(fun), point.values(), point.manifolds, **given)
    point.write(result.x)
    return result
