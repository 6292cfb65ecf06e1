"""From a finished run to the result for the user."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchmanifold.optim.solvers.doubt import doubt
from torchmanifold.optim.solvers.loop import CALLBACK, CRITERIA, Run
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.result import Result
from torchmanifold.optim.solvers.saved import SolverState
from torchmanifold.optim.solvers.state import FAILED, PRECISION
from torchmanifold.optim.solvers.stop import Criterion

__all__ = ["result_of"]

# Iterations after which a run without success has its derivatives checked.
_LONG = 50


def result_of(objective: Objective, method: Any, ended: Run, criteria: Criterion) -> Result:
    """The result of the run, in the user's form."""
    space, state = objective.space, ended.state
    rows = space.rows
    problems = space.problems
    verdict = rows.tensor(state.verdict).reshape(-1)
    listed = list(criteria.alternatives())
    eps = torch.finfo(rows.dtype).eps
    norm, first = rows.tensor(state.norm), rows.tensor(state.first)
    # At rounding level, half of the digits of the gradient are lost; the dtype allows no more.
    precise = (verdict == PRECISION) & (norm.reshape(-1) <= eps**0.5 * first.reshape(-1))
    sure = torch.tensor([False] * CRITERIA + [c.sure for c in listed], device=verdict.device)
    success = sure[verdict] | precise
    codes = [0, 2, 3, 4] + [0 if c.sure else 1 for c in listed]
    status = torch.tensor(codes, device=verdict.device)[verdict]
    status = torch.where(precise, 0, status)
    reasons = {
        PRECISION: "values and gradients differ only by rounding",
        FAILED: "no step along the gradient makes the value smaller; is the derivative right? "
        "tm.check_gradient compares it with differences",
        CALLBACK: "the callback stopped it",
        **{CRITERIA + n: str(c) for n, c in enumerate(listed)},
    }
    found = verdict.tolist()
    kinds = sorted(set(found))
    if len(found) == 1:
        message = reasons[found[0]]
    else:
        message = "; ".join(
            f"{found.count(kind)} of {len(found)}: {reasons[kind]}" for kind in kinds
        )
    long = rows.tensor(state.nit).reshape(-1) >= _LONG
    doubtful = ~success & (verdict != FAILED) & (long | (verdict == PRECISION))
    message += doubt(objective, state, doubtful)

    def shaped(value: Any) -> Any:
        if problems == ():
            return value.item() if isinstance(value, Tensor) else value
        return rows.tensor(value).reshape(problems)

    return Result(
        x=space.give_out(state.x),
        fun=shaped(state.f),
        gradient_norm=shaped(state.norm),
        success=shaped(success),
        status=shaped(status),
        message=message,
        nit=shaped(state.nit),
        nfev=ended.counts[0],
        njev=ended.counts[1],
        nhev=ended.counts[2],
        residual=shaped(space.residual(state.x)),
        curvature=shaped(state.curvature),
        time=ended.seconds,
        method=method,
        derivatives=objective.sources,
        history=_history(rows, problems, ended),
        state=SolverState.of(method, ended),
    )


def _history(rows: Any, problems: tuple[int, ...], ended: Run) -> dict[str, Tensor]:
    if not ended.entries:
        return {}
    columns = {}
    for name in ended.entries[0][1]:
        column: list[Tensor] = []
        for kept, entry in ended.entries:
            value = torch.as_tensor(entry[name]).detach()
            if value.dtype == torch.float32 and rows.count == 1:
                value = torch.as_tensor(entry[name], dtype=torch.float64)
            if kept is not None:  # finished problems stay as they were
                value = column[-1].reshape(rows.count, *value.shape[1:]).index_copy(0, kept, value)
            column.append(value)
        whole = torch.stack(column)
        if len(problems) != 1 and rows.count > 1:
            whole = whole.reshape(len(column), *problems, *whole.shape[2:])
        columns[name] = whole
    return columns
