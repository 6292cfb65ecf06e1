"""Checks of a plan, before anything runs or is written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from torchmanifold.optim.compare.method import Loop, Method, Solver
from torchmanifold.optim.compare.plan import Plan, Run
from torchmanifold.optim.compare.problem import Problem
from torchmanifold.optim.compare.registry import is_ours
from torchmanifold.optim.compare.task import DTYPES, Task

__all__ = ["check", "check_findable"]


def check(plan: Plan) -> list[Run]:
    """Try every problem and method of a plan, before anything is written.

    Returns:
        The runs.

    Raises:
        ValueError: for a problem whose loss is not a finite number or whose first point is off its
            manifold, for a method that cannot be built, for a hyperparameter that no method has, or
            if nothing is left to run.
    """
    for problem in plan.problems:
        task = _checked(problem, plan)
        for method in plan.methods_of(problem):
            if not is_ours(method):
                grid = plan.grid(problem, method)
                _try(problem, method, {name: values[0] for name, values in grid.items()}, plan)
        del task
    known = {name for p in plan.problems for m in plan.methods_of(p) for name in plan.grid(p, m)}
    for wanted in plan.grids.values():
        if unknown := [name for name in wanted if name not in known]:
            raise ValueError(
                f"grid: no method here has a hyperparameter {unknown[0]!r}; they have "
                f"{', '.join(sorted(known)) or 'none'}"
            )
    runs = list(plan.runs())
    if not runs:
        raise ValueError(
            "nothing to run: none of these methods applies to these problems in this precision "
            "(see: torchmanifold list)"
        )
    return runs


def _checked(problem: Problem, plan: Plan) -> Task | None:
    if is_ours(problem):
        assert problem.probe is not None  # its parameters are checked as it is made
        return None
    dtype = next((dtype for dtype in plan.dtypes if dtype in problem.dtypes), "float64")
    with torch.random.fork_rng():
        try:
            task = Task(problem, plan.seeds[0], dtype, plan.device)
            loss = task.objective(0)()
        except ValueError:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            raise ValueError(f"problem {problem.name} cannot be evaluated: {text}") from error
    if not isinstance(loss, torch.Tensor) or loss.shape != () or loss.is_complex():
        found = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise ValueError(
            f"problem {problem.name}: its loss must be one real number, a tensor of shape (); got "
            f"{found}"
        )
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ValueError(
            f"problem {problem.name}: its loss is {value} at the initial point; give another one"
        )
    if not loss.requires_grad:
        raise ValueError(f"problem {problem.name}: its loss does not depend on the point")
    _on_manifold(problem, task, dtype)
    return task


def _on_manifold(problem: Problem, task: Task, dtype: str) -> None:
    bound = math.sqrt(torch.finfo(DTYPES[dtype]).eps)
    parts = dict(task.model.named_parameters())
    for name, manifold in task.weights.items():
        weight = parts.get(name)
        if weight is None:
            raise ValueError(f"problem {problem.name}: its network has no weight {name!r}")
        manifold.check_shape(tuple(weight.shape))
        residual = float(manifold.residual(weight.detach()).max())
        if not residual <= bound:
            raise ValueError(
                f"problem {problem.name}: the initial {name} is not on {manifold} (residual "
                f"{residual:.1e}); take manifold.project(value)"
            )


def _try(problem: Problem, method: Method, values: Mapping[str, Any], plan: Plan) -> None:
    with torch.random.fork_rng():
        task = Task(problem, plan.seeds[0], problem.dtypes[0], plan.device)
        try:
            stepper = task.prepare(method, values, plan.steps_of(problem))
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            raise ValueError(
                f"method {method.name} cannot be built on {problem.name}: {text}"
            ) from error
    kinds = "an optimizer, a tm.compare.Solver or Loop, or a function of one step"
    if not callable(getattr(stepper, "step", stepper)) and not isinstance(stepper, Solver | Loop):
        raise ValueError(f"method {method.name} must return {kinds}; got {stepper!r}")


def check_findable(plan: Plan) -> None:
    """Refuse problems and methods that another process could not find by their references."""
    values: list[Problem | Method] = [*plan.problems, *plan.methods]
    for value in values:
        if not is_ours(value) and not value.reference:
            word = type(value).__name__.lower()
            raise ValueError(
                f"{word} {value.name} is in no file in which another process could find it; put "
                "it at the top level of a .py file, or give workers=1"
            )
