"""Projections, residuals and random elements of sets that are not manifolds of this library."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchmanifold.manifolds.linalg import (
    determinant_sign,
    eigh,
    eye_like,
    in_working_precision,
    svd,
    sym,
)

__all__ = [
    "SetMap",
    "of_rank",
    "positive_determinant",
    "semidefinite",
    "stable",
    "unit_determinant",
]


class SetMap(nn.Module):
    """A map onto a set that is not a `Manifold`, with methods that a manifold would have.

    `project` takes a weight to a value that the right inverse accepts: `maps.Hurwitz().project(z)`.
    """

    # The dimensions of one point, counted from the end; empty if each entry is a point.
    event: tuple[int, ...] = (-2, -1)

    def project(self, z: Tensor) -> Tensor:
        """A point of the set near `z`, and `z` itself if it is one."""
        raise NotImplementedError

    def residual(self, x: Tensor) -> Tensor:
        """`||x - project(x)|| / ||x||` of each point, evaluated in float64: zero on the set."""
        wide = x.detach().to(torch.promote_types(x.dtype, torch.float64))
        defect, size = (_norm(z, self.event) for z in (wide - self.project(wide), wide))
        return defect / torch.where(size > 0, size, 1.0)

    @torch.no_grad()
    def random(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """The projection of a normal matrix of variance `1 / shape[-1]`."""
        z = torch.randn(*shape, generator=generator, dtype=dtype, device=device)
        return self._point(z / max(1, *shape[-1:]) ** 0.5)

    def _point(self, z: Tensor) -> Tensor:
        return self(z)


def _norm(z: Tensor, dim: tuple[int, ...]) -> Tensor:
    return torch.linalg.vector_norm(z, dim=dim) if dim else z.abs()


# A matrix outside an open set is moved inside by a hundredth of its norm: nearer to the boundary
# the right inverse has fewer correct digits.
_INSIDE = 0.01


def _lift(s: Tensor, n: int) -> Tensor:
    """`s`, in descending order, with entries lifted that are not positive beyond rounding."""
    top = torch.where(s[..., :1] > 0, s[..., :1], 1.0)
    lifted = torch.where(s > 10 * n * torch.finfo(s.dtype).eps * top, s, _INSIDE * top)
    return torch.where(torch.isnan(s), s, lifted)


def _check(z: Tensor, name: str, rank: int | None = None) -> None:
    """Refuse integers, matrices that are not square, or those with a side below a given rank."""
    if not (z.is_floating_point() or z.is_complex()):
        raise TypeError(f"{name}.project: expected a floating point tensor, got {z.dtype}")
    if rank is not None and z.ndim >= 2 and min(z.shape[-2:]) >= rank:
        return
    if rank is None and z.ndim >= 2 and z.shape[-1] == z.shape[-2]:
        return
    expected = "(*, n, n)" if rank is None else f"(*, n, p) with n, p >= {rank}"
    raise ValueError(f"{name}.project: expected {expected}, got shape {tuple(z.shape)}")


def _oriented(z: Tensor, name: str, *, turned: bool) -> Tensor:
    """`z` with positive determinant.

    If it is negative, the least singular value changes its sign: it becomes its own negative
    (`turned`), or only just passes zero.
    """
    _check(z, name)
    if z.is_complex():
        raise ValueError(f"{name}.project: real matrices only, got {z.dtype}")
    u, s, vh = svd(z)
    lifted = _lift(s, 1)
    wrong = (determinant_sign(u) * determinant_sign(vh) < 0)[..., None]
    beyond = lifted[..., -1:] if turned else _INSIDE * lifted[..., :1]
    lifted[..., -1:] = torch.where(wrong, -beyond, lifted[..., -1:])
    # The change is added, so a matrix that needs no change stays exactly as it is.
    return z + (u * (lifted - s).unsqueeze(-2)) @ vh


@in_working_precision
def positive_determinant(z: Tensor) -> Tensor:
    """`z`; if its determinant is not positive, the least singular value passes zero."""
    return _oriented(z, "PositiveDeterminant", turned=False)


@in_working_precision
def unit_determinant(z: Tensor) -> Tensor:
    """`z` over the n-th root of its determinant, which is first made positive if needed."""
    x = _oriented(z, "UnitDeterminant", turned=True)
    # The value does not depend on the scale; without scaling a root could under- or overflow.
    size = x.detach().abs().amax((-2, -1), keepdim=True) if x.numel() else x.sum()
    x = torch.where((size > 0) & ((size < 1e-15) | (size > 1e15)), x / size, x)
    logarithm = torch.linalg.slogdet(x).logabsdet / max(x.shape[-1], 1)
    return x * torch.exp(-logarithm)[..., None, None]


@in_working_precision
def stable(z: Tensor, margin: float) -> Tensor:
    """`z`, or `z - t I` with eigenvalues to the left of `-margin`."""
    _check(z, "Hurwitz")
    if z.numel() == 0:
        return z
    clean = torch.nan_to_num(z)
    right = torch.linalg.eigvals(clean).real.amax(-1) + margin
    top = clean.detach().abs().amax((-2, -1), keepdim=True)
    top = torch.where(top > 0, top, 1.0)
    size = _norm(clean / top, (-2, -1)) * top[..., 0, 0] + margin
    size = torch.where(size > 0, size, 1.0)
    inside = right < -10 * z.shape[-1] * torch.finfo(size.dtype).eps * size
    shift = torch.where(inside, 0.0, right + _INSIDE * size)[..., None, None]
    x = z - shift * eye_like(z)
    return torch.where(torch.isfinite(z).all(-1).all(-1)[..., None, None], x, torch.nan)


@in_working_precision
def of_rank(z: Tensor, rank: int, name: str) -> Tensor:
    """The truncated singular value decomposition, without vanishing singular values."""
    _check(z, name, rank)
    u, s, vh = svd(z)
    s = _lift(s[..., :rank], max(z.shape[-2:]))
    return (u[..., :rank] * s.unsqueeze(-2)) @ vh[..., :rank, :]


@in_working_precision
def semidefinite(z: Tensor, rank: int, name: str) -> Tensor:
    """The largest eigenvalues of the symmetric part, none of them zero or negative."""
    _check(z, name)
    _check(z, name, rank)
    values, vectors = eigh(sym(z))
    values, vectors = values[..., -rank:].flip(-1), vectors[..., -rank:].flip(-1)
    factor = vectors * _lift(values, z.shape[-1]).sqrt().unsqueeze(-2)
    return factor @ factor.mH
