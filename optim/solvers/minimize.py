"""minimize: the interface to the solvers, after that of scipy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchmanifold.optim.solvers.adaptive_cubic import AdaptiveCubic
from torchmanifold.optim.solvers.barzilai_borwein import BarzilaiBorwein
from torchmanifold.optim.solvers.conjugate_gradient import ConjugateGradient
from torchmanifold.optim.solvers.constraints import augmented_lagrangian
from torchmanifold.optim.solvers.gradient_descent import GradientDescent
from torchmanifold.optim.solvers.lbfgs import LBFGS
from torchmanifold.optim.solvers.method import Method
from torchmanifold.optim.solvers.modules import solve_module
from torchmanifold.optim.solvers.nelder_mead import NelderMead
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.result import Result
from torchmanifold.optim.solvers.setup import chosen_method, criteria_of, objective_of
from torchmanifold.optim.solvers.solve import solve
from torchmanifold.optim.solvers.stop import Criterion
from torchmanifold.optim.solvers.trust_region import TrustRegion
from torchmanifold.optim.solvers.watch import Info

__all__ = ["METHODS", "minimize"]

METHODS: dict[str, type[Any]] = {
    "trust-region": TrustRegion,
    "arc": AdaptiveCubic,
    "lbfgs": LBFGS,
    "cg": ConjugateGradient,
    "barzilai-borwein": BarzilaiBorwein,
    "gradient-descent": GradientDescent,
    "nelder-mead": NelderMead,
}


@torch.no_grad()
def minimize(
    fun: Callable[..., Any],
    x0: Any,
    manifold: Any = None,
    method: str | Method | None = None,
    *,
    args: Sequence[Any] = (),
    jac: Callable[..., Any] | bool | None = None,
    hessp: Callable[..., Any] | str | None = None,
    precondition: Callable[..., Any] | None = None,
    constraints: Any = (),
    tol: float | None = None,
    stop: Criterion | None = None,
    callback: Callable[[Info], Any] | None = None,
    record: Sequence[str | Callable[..., Any]] = ("fun", "gradient_norm"),
    options: Mapping[str, Any] | None = None,
    state: Any = None,
    verbose: bool = False,
) -> Result:
    r"""Minimize a function of a point on a manifold.

    The shape of `fun(x0)` determines the number of problems. A number is one problem, whatever the
    shape of `x0`. Values of shape `(*problems,)`, which must be the first dimensions of every
    tensor of `x0`, are independent problems: each has its own step, trust region and stop, and the
    value of one must not depend on the points of the others.

    Args:
        fun: `fun(x, *args)`, from a point to the value of each problem.
        x0: the initial point: a floating point tensor, or a tuple or dict of them. If it is a
            module, its weights move and are left at the solution; `fun(model, *args)` then takes
            the module and the whole data at once.
        manifold: the manifold of the point; for tuples and dicts a `Product`, or a tuple or dict of
            manifolds. Euclidean space by default. For a module it is None, because `tm.constrain`
            has set the manifolds.
        method: `"trust-region"`, `"arc"`, `"lbfgs"`, `"cg"`, `"barzilai-borwein"`,
            `"gradient-descent"`, `"nelder-mead"` for a function without a gradient, or a value such
            as `LBFGS(memory=20)`. By default the trust region if Hessian-vector products are
            available, and L-BFGS if `jac` is given without `hessp`.
        args: further arguments of `fun`, `jac`, `hessp`. Tensors that begin with the dimensions of
            the problems are cut as problems finish.
        jac: the Euclidean gradient, `jac(x, *args)`, by default from autograd; True if `fun`
            returns `(value, gradient)`; `Riemannian(jac)` for a Riemannian one.
        hessp: the Euclidean Hessian along `v`, `hessp(x, v, *args)`, or `"differences"` of
            gradients; by default from autograd, and from differences if `jac` is given;
            `Riemannian(hessp)` for a Riemannian one.
        precondition: `precondition(x, u)`, a linear, symmetric, positive approximation of the
            inverse of the Hessian on tangent vectors `u` at `x`, for the trust region.
        constraints: `Equality(h)` and `Inequality(g)` beside the manifold, one or several, for one
            problem. An augmented Lagrangian calls the method in rounds. The result is a
            `ConstrainedResult` with multipliers, violation and KKT residual.
        tol: the solver stops when the norm of the Riemannian gradient is at most this; 1e-6 by
            default, unless a criterion of `stop` means convergence.
        stop: further criteria, joined by `|` and `&`; by default a limit on iterations.
        callback: called with an `Info` after each iteration; the solver stops if it returns true.
        record: the entries of `result.history`: names of fields of `Info`, or functions of an
            `Info`.
        options: fields of the method, such as `{"memory": 20}`.
        state: `result.state` of an earlier run with the same arguments, which is continued.
        verbose: print iterations in columns: the first ten, every tenth up to a hundred, and so on.
            A terminal also shows the present one.

    Returns:
        A `Result`.

    Raises:
        ValueError: if `x0` is off the manifold or not finite, if the value or gradient at `x0` is
            not finite, if the shape of the value does not fit `x0`, or if `method`, `options` or
            `stop` are unknown.
        TypeError: if `x0` or the value is not a floating point tensor.

    Each method names its source.

    Example:
        >>> import torch, torchmanifold as tm
        >>> a = torch.diag(torch.arange(5.0, dtype=torch.float64))
        >>> x0 = tm.Sphere().random(5, dtype=torch.float64)
        >>> result = tm.minimize(lambda x: x @ a @ x, x0, tm.Sphere())
        >>> result.success, abs(result.fun) < 1e-9
        (True, True)
    """
    if isinstance(x0, nn.Module):
        return solve_module(
            minimize, fun, x0, manifold, constraints, method=method, args=args, jac=jac,
            hessp=hessp, precondition=precondition, tol=tol, stop=stop, callback=callback,
            record=record, options=options, state=state, verbose=verbose,
        )  # fmt: skip
    if constraints:
        if jac is not None or hessp is not None or state is not None:
            raise ValueError(
                "constraints: derivatives come from autograd, and a run begins anew; leave out "
                "jac, hessp and state"
            )
        return augmented_lagrangian(
            minimize, fun, x0, tuple(args), constraints, tol, manifold=manifold, method=method,
            precondition=precondition, stop=stop, callback=callback, record=record, options=options,
            verbose=verbose,
        )  # fmt: skip
    default = "lbfgs" if jac is not None and hessp is None else "trust-region"
    chosen = chosen_method(method, options, METHODS, default)
    objective, x0, value = objective_of(fun, x0, manifold, tuple(args), jac, hessp, chosen.order)
    criteria = criteria_of(tol, stop, chosen.order)
    return solve(
        chosen,
        objective,
        x0,
        value,
        criteria,
        precondition=_preconditioner(objective, precondition),
        callback=callback,
        record=record,
        state=state,
        verbose=verbose,
    )


def _preconditioner(
    objective: Objective, precondition: Callable[..., Any] | None
) -> Callable[[Point, Tensor], Tensor] | None:
    if precondition is None:
        return None
    space = objective.space

    def apply(point: Point, c: Tensor) -> Tensor:
        # P = B^-1 A B^-*, symmetric in coordinates because A is symmetric in the metric.
        u = space.each(point.frames, "up", space.tensors(c))
        w = space.take_in(precondition(space.give_out(point.x), space.give_out(u)))
        return space.vector(space.each(point.frames, "down", w))

    return apply
