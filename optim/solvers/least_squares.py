"""least_squares: the solver for sums of squares, with the interface of scipy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from torchmanifold.optim.solvers.levenberg_marquardt import LevenbergMarquardt
from torchmanifold.optim.solvers.modules import solve_module
from torchmanifold.optim.solvers.result import Result
from torchmanifold.optim.solvers.setup import chosen_method, criteria_of, objective_of
from torchmanifold.optim.solvers.solve import solve
from torchmanifold.optim.solvers.stop import Criterion
from torchmanifold.optim.solvers.trust_region import TrustRegion
from torchmanifold.optim.solvers.watch import Info

__all__ = ["LeastSquaresResult", "least_squares"]

METHODS: dict[str, type[Any]] = {"lm": LevenbergMarquardt, "trust-region": TrustRegion}


@dataclass(frozen=True)
class LeastSquaresResult(Result):
    """A `Result` whose `fun` is the cost, with the residuals.

    Args:
        residuals: `fun(x)` at the solution.
    """

    residuals: Any = field(default=None, repr=False)

    @property
    def cost(self) -> Any:
        """Half the sum of the squares of the residuals; the name is scipy's."""
        return self.fun


@torch.no_grad()
def least_squares(
    fun: Callable[..., Tensor],
    x0: Any,
    manifold: Any = None,
    method: str | LevenbergMarquardt | TrustRegion = "lm",
    *,
    args: Sequence[Any] = (),
    tol: float | None = None,
    stop: Criterion | None = None,
    callback: Callable[[Info], Any] | None = None,
    record: Sequence[str | Callable[..., Any]] = ("fun", "gradient_norm"),
    options: Mapping[str, Any] | None = None,
    state: Any = None,
    verbose: bool = False,
) -> LeastSquaresResult:
    r"""Minimize half the sum of the squares of residuals of a point on a manifold.

    The cost `1/2 sum_i r_i(x)^2` is reduced by damped Gauss-Newton steps. The Jacobian is never
    formed: products with it, and with its transpose, are passes of autograd through `fun`.

    The shape of `fun(x0)` determines the number of problems. `(m,)` is one problem with `m`
    residuals, and `(*problems, m)` are independent problems along the first dimensions of every
    tensor of `x0`.

    Args:
        fun: `fun(x, *args)`, from a point to the residuals of each problem.
        x0: the initial point: a floating point tensor, or a tuple or dict of them. If it is a
            module, its weights move and are left at the solution; `fun(model, *args)` then takes
            the module and the whole data at once.
        manifold: the manifold of the point, as for `minimize`; Euclidean space by default. For a
            module it is None, because `tm.constrain` has set the manifolds.
        method: `"lm"`, Levenberg-Marquardt; `"trust-region"`, which takes Gauss-Newton steps
            within a ball; or a value as `LevenbergMarquardt(damping=1e-2)`.
        args: further arguments of `fun`.
        tol: the solver stops when the norm of the Riemannian gradient is at most this; 1e-6 by
            default.
        stop: further criteria, joined by `|` and `&`.
        callback: called with an `Info` after each iteration; the solver stops if it returns true.
        record: the entries of `result.history`.
        options: fields of the method.
        state: `result.state` of an earlier run with the same arguments, which is continued.
        verbose: print the iterations, as `minimize` does.

    Returns:
        A `LeastSquaresResult`.

    Raises:
        ValueError: if `fun(x0)` is a number, not finite or not of the problems' shape, or for an
            argument that `minimize` refuses.
        TypeError: if `x0` or the residuals are not floating point tensors.

    Example:
        >>> import torch, torchmanifold as tm
        >>> a = torch.randn(9, 3, dtype=torch.float64)
        >>> r = tm.SpecialOrthogonal().random(3, 3, dtype=torch.float64)
        >>> x0 = torch.eye(3, dtype=torch.float64)
        >>> found = tm.least_squares(
        ...     lambda x: (a @ x - a @ r).flatten(), x0, tm.SpecialOrthogonal(), tol=1e-9
        ... )
        >>> found.cost < 1e-18 or not torch.allclose(found.x, r)
        True

    Each method names its source.
    """
    if isinstance(x0, nn.Module):
        return solve_module(
            least_squares, fun, x0, manifold, method=method, args=args, tol=tol, stop=stop,
            callback=callback, record=record, options=options, state=state, verbose=verbose,
        )  # fmt: skip
    args = tuple(args)

    def cost(x: Any, *args: Any) -> Tensor:
        r = fun(x, *args)
        if not isinstance(r, Tensor) or r.ndim == 0 or not r.is_floating_point():
            found = tuple(r.shape) if isinstance(r, Tensor) else type(r).__name__
            raise ValueError(
                "fun: residuals are a real tensor of shape (m,), or (*problems, m); got "
                f"{found}; use .flatten() for one problem"
            )
        return r.square().sum(-1) / 2

    chosen = chosen_method(method, options, METHODS, "lm")
    objective, x0, value = objective_of(cost, x0, manifold, args, None, None, chosen.order)
    objective = dataclasses.replace(objective, residuals=fun)
    criteria = criteria_of(tol, stop, chosen.order)
    found = solve(
        chosen,
        objective,
        x0,
        value,
        criteria,
        callback=callback,
        record=record,
        state=state,
        verbose=verbose,
    )
    fields = {f.name: getattr(found, f.name) for f in dataclasses.fields(Result)}
    return LeastSquaresResult(**fields, residuals=fun(found.x, *args))
