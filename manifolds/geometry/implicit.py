"""The derivatives of a logarithm and a distance that an iteration finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.linalg import MatrixFunction, event_sum, reads_values

__all__ = ["implicit_dist", "implicit_log"]

Solver = Callable[[Tensor, Tensor], Tensor]

_STEPS = 100
_ASKED = 8


class _Log(MatrixFunction):
    """`u = log_x(y)`, with the derivative that follows from `exp_x(u) = y`."""

    @staticmethod
    def forward(x: Tensor, y: Tensor, M: Manifold, solve: Solver) -> Tensor:
        return solve(x, y)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2], output)
        ctx.M = inputs[2]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x, y, u), M = ctx.saved_tensors, ctx.M
        along = M.tangent(x, grad)
        with torch.enable_grad():
            x, u = x.detach().requires_grad_(), u.detach().requires_grad_()
            tangent = M.tangent(x, u)
            end = M.exp(x, tangent)
            dummy = torch.zeros_like(end, requires_grad=True)
            (pulled,) = torch.autograd.grad(end, u, dummy, create_graph=True)

        def adjoint(w: Tensor) -> Tensor:
            return torch.autograd.grad(end, u, w, retain_graph=True)[0]

        def forward(v: Tensor) -> Tensor:
            (moved,) = torch.autograd.grad(pulled, dummy, v, retain_graph=True)
            return M.tangent(y, moved)

        w = _least_squares(adjoint, forward, along, M.event_ndim)
        (of_end,) = torch.autograd.grad(end, x, w, retain_graph=True)
        # The normal part of `u` changes with the tangent space alone.
        (of_space,) = torch.autograd.grad(tangent, x, grad - along)
        return of_space - of_end, w, None, None


def _least_squares(
    A: Callable[[Tensor], Tensor], B: Callable[[Tensor], Tensor], g: Tensor, ndim: int
) -> Tensor:
    """The solution of `A w = g` by conjugate gradients on `B A w = B g`, with `B` the adjoint."""

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return event_sum((a.conj() * b).real, ndim)

    def scale(number: Tensor, a: Tensor) -> Tensor:
        return number.reshape(number.shape + (1,) * ndim) * a

    w = torch.zeros_like(g)
    r = B(g)
    d, rr = r, dot(r, r)
    goal = (torch.finfo(g.dtype).eps * rr.sqrt()).square()
    tiny = torch.finfo(rr.dtype).tiny
    for count in range(_STEPS):
        if reads_values(g) and count % _ASKED == 0 and not bool((rr > goal).any()):
            break
        image = A(d)
        step = torch.where(rr > goal, rr / dot(image, image).clamp_min(tiny), 0.0)
        w = w + scale(step, d)
        r = r - scale(step, B(image))
        after = dot(r, r)
        d = r + scale(after / rr.clamp_min(tiny), d)
        rr = after
    return w


class _Dist(MatrixFunction):
    """The length of the logarithm; its gradients are unit vectors along the geodesic."""

    @staticmethod
    def forward(x: Tensor, y: Tensor, M: Manifold) -> Tensor:
        return M.norm(x, M.log(x, y))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.M = inputs[2]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x, y), M = ctx.saved_tensors, ctx.M

        def slope(a: Tensor, b: Tensor) -> Tensor:
            u = M.log(a, b)
            d = M.norm(a, u)
            near = d > 0
            factor = torch.where(near, -grad / torch.where(near, d, 1.0), 0.0)
            covector = _lowered(M, a, u)
            return factor.reshape(factor.shape + (1,) * M.event_ndim) * covector

        return slope(x, y), slope(y, x), None


def _lowered(M: Manifold, x: Tensor, u: Tensor) -> Tensor:
    """The covector `v -> <u, v>_x` as a tensor, with its own derivative in `x` and `u`."""
    twice = torch.is_grad_enabled()
    with torch.enable_grad():
        zero = torch.zeros_like(u, requires_grad=True)
        (covector,) = torch.autograd.grad(M.inner(x, u, zero).sum(), zero, create_graph=twice)
    return covector


def implicit_log(M: Manifold, solve: Solver, x: Tensor, y: Tensor) -> Tensor:
    """`solve(x, y)`, the logarithm of `y` at `x`, differentiable once in both.

    The derivative is that of the solution of `exp_x(u) = y`: one linear system with the derivative
    of the exponential, solved by conjugate gradients.
    """
    u: Tensor = _Log.apply(x, y, M, solve)
    return u


def implicit_dist(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    """The distance of `x` and `y`; its derivative needs no linear system, its second one does."""
    d: Tensor = _Dist.apply(x, y, M)
    return d
