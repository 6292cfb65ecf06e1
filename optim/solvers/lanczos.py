"""The step of adaptive cubics: the least value of a cubic model in a Krylov space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from torchmanifold.optim.solvers.rows import Rows, Scalar

__all__ = ["CubicStep", "cubic_lanczos"]

_ROOT_STEPS = 60


@dataclass(frozen=True)
class CubicStep:
    """A step of the cubic model.

    Args:
        c: the step.
        decrease: the decrease of the quadratic part of the model.
        length: the norm of the step.
        curvature: the least Ritz value of the Hessian.
    """

    c: Tensor
    decrease: Scalar
    length: Scalar
    curvature: Scalar


def cubic_lanczos(
    rows: Rows,
    product: Callable[[Tensor], Tensor],
    g: Tensor,
    norm: Scalar,
    sigma: Scalar,
    enough: Callable[[Tensor], Tensor],
    most: int,
    active: Scalar,
) -> CubicStep:
    """The minimum of `<g, c> + <c, H c> / 2 + sigma ||c||^3 / 3` in a Krylov space of `g`.

    The Lanczos process, with full reorthogonalization, reduces `H` to a tridiagonal matrix. The
    minimum over the first `k` vectors solves a problem of `k` dimensions, and the gradient of the
    model at the minimum is known without another product. The space grows until that gradient is at
    most `enough` of the length of the step.

    Source: Cartis, Gould & Toint, Math. Program. 127, 2011, section 6; Agarwal, Boumal, Bullins &
    Cartis, Math. Program. 188, 2021.
    """
    weight, size = rows.tensor(sigma), rows.tensor(norm)
    done = ~torch.as_tensor(rows.tensor(active), dtype=torch.bool, device=g.device)
    basis = g.new_empty((*g.shape[:-1], min(16, most), g.shape[-1]))
    q = rows.scale(rows.divide(rows.full(1.0), norm), g)
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    found: tuple[Tensor, ...] = ()
    following = 1
    for k in range(1, most + 1):
        if k > basis.shape[-2]:
            room = min(basis.shape[-2], most - k + 1)
            basis = torch.cat([basis, torch.empty_like(basis[..., :room, :])], dim=-2)
        basis[..., k - 1, :] = q
        r = product(q)
        used = basis[..., :k, :]
        along = (used @ r[..., None])[..., 0]
        diagonal.append(along[..., -1])
        r = r - (along[..., None, :] @ used)[..., 0, :]
        # Once more, since the first pass leaves an error of the size of what it removes.
        r = r - ((used @ r[..., None])[..., 0][..., None, :] @ used)[..., 0, :]
        rest = rows.tensor(rows.norm(r))
        # No direction is left.
        lost = rest <= torch.finfo(g.dtype).eps * k * size.clamp_min(torch.finfo(g.dtype).tiny)
        # An accelerator is asked at the planned steps alone.
        early = g.device.type == "cpu" and bool((lost & ~done).any())
        if k in (following, most) or early:
            following = k + max(1, k // 4)
            new: tuple[Tensor, ...] = _minimum(diagonal, beside, size, weight)
            y, length = new[0], new[2]
            slope = rest.to(y) * y[..., -1].abs()
            if found:
                padded = torch.cat([found[0], torch.zeros_like(y[..., found[0].shape[-1] :])], -1)
                kept = (padded, *found[1:])
                new = tuple(
                    torch.where(done if a.ndim == done.ndim else done[..., None], a, b)
                    for a, b in zip(kept, new, strict=True)
                )
            found = new
            done = done | (slope <= enough(length)) | lost
            if bool(done.all()) or k == most:
                break
        beside.append(rest)
        q = rows.scale(rows.scalar(torch.where(lost, 0.0, 1 / rest)), r)
    y, decrease, length, curvature = (part.to(g.dtype) for part in found)
    c = (y[..., None, :] @ basis[..., : y.shape[-1], :])[..., 0, :]
    return CubicStep(c, *map(rows.scalar, (decrease, length, curvature)))


def _minimum(
    diagonal: list[Tensor], beside: list[Tensor], norm: Tensor, sigma: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The minimum `y` of `norm y_1 + y'T y / 2 + sigma ||y||^3 / 3` for the tridiagonal `T`.

    Returns `y`, the decrease of the quadratic part, `||y||`, and the least eigenvalue. In the basis
    of eigenvectors `y_i = -b_i / (w_i + l)` with `l = sigma ||y||` and `l >= -w_1`. The unknown is
    `w_1 + l`, which keeps its digits where the least eigenvalue is negative.
    """
    T = torch.diag_embed(torch.stack(diagonal, -1))
    if beside:
        off = torch.diag_embed(torch.stack(beside, -1), offset=1)
        T = T + off + off.mT
    w, v = torch.linalg.eigh(T.double())
    norm, sigma = norm.double(), sigma.double()
    b = norm[..., None] * v[..., 0, :]
    w1 = w[..., 0]
    gaps = w - w1[..., None]
    floor = w1.clamp_min(0)  # because l >= 0
    # l (l + w_1) <= sigma norm gives the upper end.
    reach = torch.hypot(w1, 2 * (sigma * norm).sqrt())
    high = (reach + w1).div(2).clamp_min(floor)
    low, x = floor.clone(), high
    tiny = torch.finfo(torch.float64).tiny
    for _ in range(_ROOT_STEPS):
        s = b / (gaps + x[..., None]).clamp_min(tiny)
        length = torch.linalg.vector_norm(s, dim=-1).clamp_min(tiny)
        shift = (x - w1).clamp_min(0)
        # Newton's method for 1 / ||y|| = sigma / l, which is nearly linear, within the bracket.
        value = shift / length - sigma
        over = value >= 0
        high, low = torch.where(over, x, high), torch.where(over, low, x)
        bend = (s.square() / (gaps + x[..., None]).clamp_min(tiny)).sum(-1) / length**3
        following = x - value / (1 / length + shift * bend)
        inside = (following > low) & (following < high)
        following = torch.where(inside, following, (low + high) / 2)
        settled = (following - x).abs() <= 4e-16 * x
        x = following
        if x.device.type == "cpu" and bool(settled.all()):
            break
    s = -b / (gaps + x[..., None]).clamp_min(tiny)
    decrease = -(b * s).sum(-1) - (w * s.square()).sum(-1) / 2
    return (v @ s[..., None])[..., 0], decrease, torch.linalg.vector_norm(s, dim=-1), w1
