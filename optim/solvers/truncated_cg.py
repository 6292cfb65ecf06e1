"""Truncated conjugate gradients: the step of a trust region, from Hessian-vector products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from torchmanifold.optim.solvers.rows import Many, Rows, Scalar

__all__ = ["Step", "truncated_cg"]

# On an accelerator the host does not read after every step whether all problems are done.
_UNASKED = 8


@dataclass(frozen=True)
class Step:
    """A step of truncated conjugate gradients.

    Args:
        c: the step.
        decrease: the decrease of the quadratic model.
        length: the norm of the step.
        border: whether the step ends at the border.
        curvature: the least `<d, H d> / <d, d>`.
        products: the number of Hessian-vector products.
    """

    c: Tensor
    decrease: Scalar
    length: Scalar
    border: Scalar
    curvature: Scalar
    products: int


def truncated_cg(
    rows: Rows,
    product: Callable[[Tensor], Tensor],
    g: Tensor,
    radius: Scalar,
    target: Scalar,
    most: int,
    active: Scalar,
    precondition: Callable[[Tensor], Tensor] | None = None,
) -> Step:
    """An approximate minimum of `<g, c> + <c, H c> / 2` with `||c|| <= radius`.

    The iteration stops if the residual is at most `target` after two steps or more, after `most`
    steps, at the border, or if the curvature is not positive, and then the step goes to the border.
    Recurrences give the values of the model and the lengths. With a preconditioner, lengths are
    measured in its inverse.

    Source: Steihaug, SIAM J. Numer. Anal. 20, 1983; Conn, Gould & Toint, Trust-Region Methods,
    2000, algorithm 7.5.1; Boumal 2023, algorithm 6.4.
    """
    eta, r = g * 0, g
    z = precondition(r) if precondition else r
    d = -z
    rz = rows.dot(r, z)
    # <eta, eta>, <eta, d>, <d, d>
    ee, ed, dd = rows.full(0.0), rows.full(0.0), rz
    decrease = rows.full(0.0)
    border = rows.full(False)
    curvature = rows.full(float("inf"))
    going = active & (rz > 0)
    square = radius**2
    asked = _UNASKED if isinstance(rows, Many) and rows.waits else 1
    count = 0
    for count in range(1, most + 1):
        Hd = product(d)
        dHd = rows.dot(d, Hd)
        curvature = rows.where(going, rows.least(curvature, rows.divide(dHd, dd)), curvature)
        alpha = rows.divide(rz, dHd)
        ahead = ee + 2 * alpha * ed + alpha * alpha * dd
        # Written so that a NaN ends at the border too.
        inside = (dHd > 0) & (ahead < square)
        out = going & rows.no(inside)
        tau = rows.divide(rows.sqrt(ed * ed + dd * (square - ee)) - ed, dd)
        t = rows.where(going, rows.where(inside, alpha, tau), 0.0)
        eta = rows.axpy(eta, t, d)
        decrease = decrease + rows.where(going, t * rz - t * t * dHd / 2, 0.0)
        border = border | out
        going = going & inside
        ee = rows.where(out, square, rows.where(going, ahead, ee))
        if count == most or (count % asked == 0 and not rows.some(going)):
            break
        r = rows.axpy(r, rows.where(going, alpha, 0.0), Hd)
        if precondition:
            z = precondition(r)
            after = rows.dot(r, z)
            residual = rows.norm(r)
        else:
            z = r
            after = rows.dot(r, r)
            residual = rows.sqrt(after)
        if count >= 2:
            going = going & (residual > target)
            if count % asked == 0 and not rows.some(going):
                break
        beta = rows.where(going, rows.divide(after, rz), 0.0)
        d = rows.axpy(-z, beta, d)
        ed = beta * (ed + alpha * dd)
        dd = after + beta * beta * dd
        rz = after
    return Step(eta, decrease, rows.sqrt(ee), border, curvature, count)
