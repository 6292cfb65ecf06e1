"""The result of a solver."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = ["Result", "SolverError"]


class SolverError(RuntimeError):
    """A solver stopped without convergence; `Result.raise_if_failed` raises this."""


@dataclass(frozen=True)
class Result:
    """The result of a solver, with the names of `scipy.optimize.OptimizeResult` where it has them.

    For one problem, numbers are Python numbers; for many, tensors in the shape of the problems.

    Args:
        x: the point, in the form of `x0`; for a module, its weights by name.
        fun: the value at `x`.
        gradient_norm: the norm of the Riemannian gradient at `x`; infinite if the method has none.
        success: whether `x` is a solution, by the criterion that stopped the solver.
        status: 0 if `x` is a solution, 1 if a limit was reached, 2 if rounding stopped the solver,
            3 if no step made the value smaller, 4 if the callback stopped the solver.
        message: the reason of the stop, in words; for many problems the count of each reason.
        nit: iterations.
        nfev: evaluations of the function; an evaluation for all problems counts once.
        njev: evaluations of the gradient.
        nhev: Hessian-vector products.
        residual: the distance from satisfying the constraint of the manifold.
        curvature: the least curvature along a direction of the last trust region step; negative at
            a saddle, infinite if none was computed.
        history: the recorded values by name: tensors whose first dimension is the iteration.
        time: seconds.
        method: the method; `derivatives` describes the origin of the derivatives.
        state: the state with which `minimize(..., state=result.state)` continues.
    """

    x: Any
    fun: Any
    gradient_norm: Any
    success: Any
    status: Any
    message: str
    nit: Any
    nfev: int
    njev: int
    nhev: int
    residual: Any
    curvature: Any
    time: float
    method: Any
    derivatives: str
    history: dict[str, Tensor] = field(default_factory=dict, repr=False)
    state: Any = field(default=None, repr=False)

    def raise_if_failed(self) -> Result:
        """The result itself, if every problem has been solved.

        Raises:
            SolverError: if a problem has not been solved, with the reason.
        """
        if not bool(torch.as_tensor(self.success).all()):
            raise SolverError(f"not solved: {self.message}")
        return self

    def __str__(self) -> str:
        """One line for each field."""
        names = ("message", "success", "status", "fun", "gradient_norm", "residual", "nit", "nfev",
                 "njev", "nhev", "time", "method", "derivatives", "x")  # fmt: skip
        lines = []
        for name in names:
            value = getattr(self, name)
            if isinstance(value, Tensor):
                text = _short(value)
            elif isinstance(value, float):
                text = f"{value:.6g}"
            else:
                text = str(value)
            lines.append(f"{name:>13}: {text}")
        return "\n".join(lines)


def _short(value: Tensor) -> str:
    if value.numel() == 1:
        return f"{value.item():.6g}"
    shape = "x".join(map(str, value.shape))
    if value.numel() > 8:
        return f"{value.dtype} of shape {shape}"
    return str(value)
