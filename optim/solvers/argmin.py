"""argmin: the solution of a minimization as a differentiable function of its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from torchmanifold.manifolds import Euclidean
from torchmanifold.optim.solvers.minimize import minimize
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.parts import factors_of, leaves_of, structure_like
from torchmanifold.optim.solvers.space import Space
from torchmanifold.optim.solvers.truncated_cg import truncated_cg

__all__ = ["argmin"]


@dataclass(frozen=True)
class _Problem:
    """The minimization whose solution is differentiated."""

    fun: Callable[..., Any]
    x0: Any
    manifold: Any
    given: dict[str, Any]


class _Solution(torch.autograd.Function):
    """The tensors of the solution; their derivative is that of a stationary point."""

    @staticmethod
    def forward(ctx: Any, problem: _Problem, *args: Any) -> tuple[Tensor, ...]:
        plain = tuple(a.detach() if isinstance(a, Tensor) else a for a in args)
        result = minimize(
            problem.fun, problem.x0, problem.manifold, args=plain, **problem.given
        ).raise_if_failed()
        ctx.problem, ctx.args = problem, plain
        ctx.shape = tuple(result.fun.shape) if isinstance(result.fun, Tensor) else ()
        solution = leaves_of(result.x)
        ctx.save_for_backward(*solution)
        return tuple(leaf.clone() for leaf in solution)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        problem, args, leaves = ctx.problem, ctx.args, ctx.saved_tensors
        x = structure_like(problem.x0, leaves)
        wanted = [i for i, need in enumerate(ctx.needs_input_grad[1:]) if need]
        # One graph, of the gradient in the point and in the data, serves every product below.
        free = tuple(a.clone().requires_grad_() if i in wanted else a for i, a in enumerate(args))
        factors = factors_of(
            x, problem.manifold, lambda leaf: Euclidean(ndim=leaf.ndim - len(ctx.shape))
        )
        space = Space.of(x, factors, ctx.shape)
        objective = Objective(problem.fun, space, free, order=2)
        point = objective.evaluate(space.take_in(x))
        pulled = space.take_in(structure_like(problem.x0, grads))
        c = space.vector(space.each(point.frames, "gradient", pulled))
        rows = space.rows
        step = truncated_cg(
            rows,
            lambda d: objective.product(point, d),
            c,
            rows.full(float("inf")),
            10 * torch.finfo(rows.dtype).eps * rows.norm(c),
            2 * space.dim + 10,
            rows.full(True),
        )
        least = float(rows.tensor(step.curvature).amin())
        if not least > 0:
            raise RuntimeError(
                f"argmin: the curvature of the solution is {least:.3g} along some direction, so it "
                f"does not depend smoothly on the data; add a term that makes it a strict minimum"
            )
        # -H^-1 applied to the incoming gradient, as a tangent vector.
        along = space.each(point.frames, "up", space.tensors(step.c))
        slopes = point.graph[1]
        with torch.enable_grad():
            flow = torch.stack(
                [(s.conj() * u).real.sum() for s, u in zip(slopes, along, strict=True)]
            ).sum()
            found = torch.autograd.grad(flow, [free[i] for i in wanted], materialize_grads=True)
        into: list[Any] = [None] * len(args)
        for i, g in zip(wanted, found, strict=True):
            into[i] = g
        return None, *into


def argmin(
    fun: Callable[..., Any],
    x0: Any,
    manifold: Any = None,
    *,
    args: Sequence[Any] = (),
    **given: Any,
) -> Any:
    r"""The point where `fun(x, *args)` is least, as a differentiable function of `args`.

    The solution is that of `minimize`, with any method. Its derivative is that of a stationary
    point, by the implicit function theorem: one linear system with the Riemannian Hessian, solved
    by conjugate gradients in the backward pass. No iteration of the solver is kept.

    Args:
        fun: as for `minimize`; one problem, or many side by side.
        x0: the initial point.
        manifold: the manifold of the point.
        args: the data; each tensor that requires a gradient gets one.
        given: further arguments of `minimize`, such as `method` and `tol`.

    Returns:
        The solution, in the form of `x0`.

    Raises:
        SolverError: if the solver does not converge.
        RuntimeError: in the backward pass, if the solution is not a strict minimum.

    Source: Griewank & Walther, Evaluating Derivatives, SIAM 2008, chapter 15; Boumal 2023, section
    4.5 for the Hessian.

    Example:
        >>> import torch, torchmanifold as tm
        >>> target = torch.tensor([3.0, 4.0], dtype=torch.float64, requires_grad=True)
        >>> x0 = torch.tensor([1.0, 0.0], dtype=torch.float64)
        >>> fun = lambda x, target: -(x @ target)
        >>> x = tm.argmin(fun, x0, tm.Sphere(), args=(target,))  # target / ||target||
        >>> x[0].backward()
        >>> target.grad
        tensor([ 0.1280, -0.0960], dtype=torch.float64)
    """
    leaves = _Solution.apply(_Problem(fun, x0, manifold, given), *args)
    return structure_like(x0, leaves)
