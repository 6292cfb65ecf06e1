"""The initial point, with checks of the value and of the derivatives there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchmanifold.optim.solvers.derivatives import Riemannian
from torchmanifold.optim.solvers.objective import Objective
from torchmanifold.optim.solvers.parts import leaves_like, names_of
from torchmanifold.optim.solvers.point import Point
from torchmanifold.optim.solvers.space import Space

__all__ = ["first_point"]

_REMEDY = "; tm.check_gradient and tm.check_hessian compare derivatives with differences"


def first_point(objective: Objective, x0: Any, first: Tensor) -> Point:
    """The initial point, evaluated; `first` is the value of an earlier evaluation.

    Raises:
        ValueError: if no gradient reaches it, if value or gradient are not finite, if the value
            differs from `first`, or if `jac` or `hessp` return other shapes or dtypes than those
            of `x0`, or a vector that should be tangent and is not.
        TypeError: if they do not return tensors in the form of `x0`.
    """
    space = objective.space
    if objective.jac is True:
        x = space.give_out(space.take_in(x0))
        _checked(space, x, "jac=True", objective.fun(x, *objective.args)[1])
    point = objective.value(space.take_in(x0))
    value = space.rows.tensor(point.f)
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"fun: its value at x0 is not finite: {value.tolist()}")
    off = (value - space.rows.tensor(space.rows.scalar(first))).abs()
    if bool((off > torch.finfo(space.rows.dtype).eps ** 0.5 * (1 + value.abs())).any()):
        raise ValueError(
            f"fun: two values at x0 differ by {float(off.max()):.3g}; a solver needs the same one "
            f"at each call: no dropout (call model.eval() first), no other random numbers, and no "
            f"batches that change"
        )
    if objective.order == 0:
        return point
    if objective.jac is None:
        _check_graph(point)
    elif callable(objective.jac):
        _check(objective, point, "jac", objective.jac)
    objective.gradient(point)
    if not bool(torch.isfinite(space.rows.tensor(point.norm)).all()):
        raise ValueError(f"fun: its gradient at x0 is not finite{_REMEDY}")
    if objective.order == 2 and callable(objective.hessp):
        c = space.tensors(space.generic(point.c))
        u = space.give_out(space.each(point.frames, "up", c))
        _check(objective, point, "hessp", objective.hessp, u)
    return point


def _check_graph(point: Point) -> None:
    roots, f, _ = point.graph
    found: tuple[Any, ...] = ()
    if f.requires_grad:
        with torch.enable_grad():
            total = f.sum()
        found = torch.autograd.grad(total, roots, retain_graph=True, allow_unused=True)
    if all(g is None for g in found):
        raise ValueError(
            "fun: no gradient reaches x0; compute the value from x with operations of PyTorch, "
            "without .detach(), .item() or NumPy, or pass jac"
        )


def _check(objective: Objective, point: Point, name: str, function: Any, *along: Any) -> None:
    """Check the result of a derivative of the user's, at the point and along further arguments."""
    space = objective.space
    x = space.give_out(point.x)
    given = function(x, *along, *objective.args)
    _checked(space, x, name, given)
    if not isinstance(function, Riemannian):
        return
    eps = torch.finfo(space.rows.dtype).eps
    w = space.take_in(given)
    groups = zip(space.parts, space.grouped(point.x), space.grouped(w), strict=True)
    kept = space.flat(part.manifold.tangent(at, v) for part, at, v in groups)
    off = space.rows.tensor(space.rows.norm(space.vector(w) - space.vector(kept)))
    size = space.rows.tensor(space.rows.norm(space.vector(w)))
    # Near a stationary point a gradient is a difference of larger vectors, and has their rounding.
    rounding = 1e3 * eps * (1 + space.rows.tensor(point.f).abs())
    if bool((off > eps**0.5 * size + rounding).any()):
        raise ValueError(
            f"{name}: Riemannian(...) returned a vector at x0 that is not tangent: a part of norm "
            f"{float(off.max()):.3g} is normal; pass a Euclidean derivative without Riemannian"
        )


def _checked(space: Space, x: Any, name: str, given: Any) -> None:
    found = leaves_like(x, given, name)
    names = names_of(x, name), names_of(x, "x0")
    for what, like, mine, theirs in zip(*names, leaves_like(x, x, "x0"), found, strict=True):
        for kind in ("shape", "dtype", "device"):
            wanted, got = getattr(mine, kind), getattr(theirs, kind)
            if wanted != got:
                wanted, got = (tuple(s) if kind == "shape" else s for s in (wanted, got))
                raise ValueError(f"{what}: expected the {kind} of {like}, {wanted}, got {got}")
