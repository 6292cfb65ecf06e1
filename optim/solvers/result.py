"""The result of a solver."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = ["Result", "SolverError"]


class SolverError(RuntimeError):
    """A solver stopped without convergence: raised by `Result.raise_if_failed`."""


@dataclass(frozen=True)
class Result:
    """What a solver found. Names are those of `scipy.optimize.OptimizeResult`, where it has them.

    Of one problem, numbers are numbers; of many, tensors in the shape of the problems.

    Args:
        x: the point, as the user wrote `x0`; of a module, its weights by name.
        fun: the value there.
        gradient_norm: the norm of the Riemannian gradient there.
        success: whether it is a solution, by the criterion that stopped it.
        status: 0 where it is one, 1 where a limit was reached, 2 where rounding stopped it, 3
            where no step made the value smaller, 4 where the callback stopped it.
        message: why it stopped, in words; of many problems, how many stopped for which reason.
        nit: iterations.
        nfev: evaluations of the function; one for all problems counts once.
        njev: evaluations of the gradient.
        nhev: Hessian-vector products.
        residual: the distance from satisfying the constraint of the manifold.
        curvature: the least curvature along a direction of the last trust region step; negative at
            a saddle, infinite if none was looked at.
        history: what was recorded, by name: tensors with one entry an iteration in front.
        time: seconds.
        method: what made the steps, and `derivatives` how its derivatives were found.
        state: to continue: `minimize(..., state=result.state)`.
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
            SolverError: if one has not, with the reason.
        """
        if not bool(torch.as_tensor(self.success).all()):
            raise SolverError(f"not solved: {self.message}")
        return self

    def __str__(self) -> str:
        """One line a field."""
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
