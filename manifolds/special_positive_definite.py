"""Symmetric positive definite matrices of determinant 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry import (
    AFFINE_INVARIANT,
    AffineInvariant,
    Exp,
    Manifold,
    Metric,
    MetricRule,
    Quadratic,
    Retraction,
    RetractionRule,
    guarded,
    is_complex,
    lifted,
    quadratic,
    require_square,
    short_exp,
    within,
)
from torchmanifold.manifolds.linalg import (
    cholesky,
    congruence,
    eigh,
    eye_like,
    frobenius,
    in_working_precision,
    inverse,
    relative,
    sym,
    trace,
    whiten,
)

__all__ = ["SpecialPositiveDefinite"]


def _traceless(a: Tensor) -> Tensor:
    return a - trace(a)[..., None, None] / a.shape[-1] * eye_like(a)


def _normalized(x: Tensor) -> Tensor:
    """`x`, divided by the n-th root of its determinant."""
    logarithms = cholesky(x).diagonal(dim1=-2, dim2=-1).abs().log()
    return x * (-2 * logarithms.mean(-1)).exp()[..., None, None]


def _gradient(M: Manifold, x: Tensor, egrad: Tensor) -> Tensor:
    factor = cholesky(x)
    return congruence(factor, _traceless(sym(factor.mH @ sym(egrad) @ factor)))


def _coordinates(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return congruence(cholesky(x), _traceless(sym(v)))


def _inverse_coordinates(M: Manifold, x: Tensor, u: Tensor) -> Tensor:
    return _traceless(whiten(cholesky(x), u))


def _hessian(M: Manifold, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    # The set is totally geodesic, so the Hessian is the tangent part of the Hessian on the cone.
    factor, g = cholesky(x), sym(egrad)
    white = factor.mH @ sym(ehess) @ factor + whiten(factor, v) @ (factor.mH @ g @ factor)
    return congruence(factor, _traceless(sym(white)))


def _exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    factor = cholesky(x)
    return _normalized(congruence(factor, maps.spd_exp(_traceless(whiten(factor, v)))))


def _log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    factor = cholesky(x)
    return congruence(factor, _traceless(maps.spd_log(whiten(factor, y))))


def _retract_exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return _normalized(short_exp(M, x, v))


def _inverse_exp(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return M.log(x, y)


def _quadratic(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    # The condition of the end grows like the square of the length, and stays below 1 / eps.
    longest = torch.finfo(x.dtype).eps ** -0.4
    return _normalized(quadratic(M, x, within(M, x, v, longest)))


@dataclass(frozen=True)
class SpecialPositiveDefinite(Manifold):
    r"""Symmetric (Hermitian) positive definite matrices of determinant 1, `(*batch, n, n)`.

    The points are shapes without a size: the scatter matrix of an elliptical distribution, an
    anisotropy. In the affine-invariant metric the set is a totally geodesic part of the cone, so
    geodesics and distances are those of `SymmetricPositiveDefinite()`. Tangent vectors are
    symmetric, with `tr(x^-1 v) = 0`. The gradient is `x g x - tr(x g) x / n`.

    The residual is the distance to the positive semidefinite matrices, relative to `||x||_F`, plus
    `|log det x| / (||x||_F ||x^-1||_F)`, the distance to the set to first order. `project` lifts
    the eigenvalues to `100 n eps` of the largest absolute value and divides by the n-th root of the
    determinant. The nearest point can be too ill-conditioned for the dtype.

    Source: Bhatia, Positive Definite Matrices, Princeton 2007, chapter 6; Bridson & Haefliger,
    Metric Spaces of Non-Positive Curvature, 1999, II.10.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.SpecialPositiveDefinite()
        >>> M.project(torch.diag(torch.tensor([8.0, 2.0])))
        tensor([[2.0000, 0.0000],
                [0.0000, 0.5000]])
    """

    metric: Metric = AffineInvariant()
    retraction: Retraction = Exp()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "either"
    event_ndim: ClassVar[int] = 2
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        AffineInvariant: replace(
            AFFINE_INVARIANT,
            gradient=_gradient,
            coordinates=_coordinates,
            inverse_coordinates=_inverse_coordinates,
            hessian=_hessian,
            exp=_exp,
            log=_log,
        )
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Exp: RetractionRule(_retract_exp, {AffineInvariant: 2}, _inverse_exp),
        Quadratic: RetractionRule(_quadratic, {AffineInvariant: 2}),
    }

    def residual(self, x: Tensor) -> Tensor:
        """Distance to the set, to first order and relative to `||x||_F`."""
        wide = x.to(torch.promote_types(x.dtype, torch.float64))
        defect = relative(wide - lifted(wide, 0.0), x)
        values = torch.linalg.eigvalsh(sym(torch.nan_to_num(wide))).abs()
        singular = values.amin(-1) <= torch.finfo(x.dtype).eps * values.amax(-1)
        values = torch.where(values == 0, 1.0, values)
        size = torch.linalg.vector_norm
        determinant = values.log().sum(-1).abs() / (size(values, dim=-1) * size(1 / values, dim=-1))
        return defect + torch.where(singular, 1.0, determinant)

    def project(self, z: Tensor) -> Tensor:
        """The eigenvalues of `z`, lifted to a positive floor, scaled to determinant 1.

        Raises:
            TypeError: in half precision, whose rounding makes matrices indefinite.
        """
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        if z.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(
                f"SpecialPositiveDefinite: {z.dtype} has too few digits to keep a matrix "
                f"positive definite; use float32"
            )
        values, vectors = eigh(sym(z))
        size = values.abs().amax(-1, keepdim=True)
        bulk = torch.where(size == 0, 1.0, size)
        floor = 100 * z.shape[-1] * torch.finfo(z.dtype).eps * bulk
        # The set is open, so a matrix outside is moved inside by a hundredth of its size.
        inside = torch.where(values > floor, values, 0.01 * bulk)
        logarithms = (inside / bulk).log()  # the division keeps huge numbers in range
        mean = logarithms.mean(-1, keepdim=True)
        scaled = (logarithms - mean).exp()
        # The relative error of a determinant is at least that of the least eigenvalue.
        known = 10 * z.shape[-1] * torch.finfo(z.dtype).eps * size / values.amin(-1, keepdim=True)
        is_point = ((values > floor).all(-1, keepdim=True) & ((mean + bulk.log()).abs() <= known))[
            ..., None
        ]
        return torch.where(is_point, sym(z), sym((vectors * scaled[..., None, :]) @ vectors.mH))

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`sym(z) - <x^-1, z> x^-1 / ||x^-1||^2`."""
        # x^-1 is the normal; it is scaled to length 1, so its square does not overflow.
        normal = sym(inverse(x))
        normal = normal / frobenius(normal)[..., None, None]
        s = sym(z)
        return s - (normal.conj() * s).sum((-2, -1), keepdim=True).real * normal

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """The exponential of the traceless symmetric part of a normal matrix of variance `1/n`."""
        a = _traceless(sym(z)) / max(z.shape[-1], 1) ** 0.5
        return _normalized(sym(maps.spd_exp(a)))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a matrix that is not square."""
        require_square("SpecialPositiveDefinite", shape)

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n (n + 1) / 2 - 1`, and `n^2 - 1` for complex matrices."""
        self.check_shape(shape)
        n = shape[-1]
        return n * n - 1 if is_complex(dtype) else n * (n + 1) // 2 - 1
