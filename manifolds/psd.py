"""Positive semidefinite matrices of a fixed rank, held as factors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry import (
    BuresWasserstein,
    Exp,
    Manifold,
    Metric,
    MetricRule,
    Retraction,
    RetractionRule,
    aligned,
    guarded,
    horizontal,
    is_complex,
    refuse_wide,
)
from torchmanifold.manifolds.linalg import frobenius, in_working_precision, svd

__all__ = ["PositiveSemidefinite"]


def _add(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return x + v


def _log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return aligned(x, y) - x


def _dist(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return frobenius(aligned(x, y) - x)


def _hessian(M: Manifold, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    return horizontal(x, ehess)


def _carry(M: Manifold, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    return horizontal(y, w)


@in_working_precision
def _lifted(z: Tensor, eps: float) -> Tensor:
    u, s, vh = svd(z)
    floor = torch.where(s[..., :1] > 0, 10 * z.shape[-2] * eps * s[..., :1], eps)
    # The lift is added, so a factor that needs no lift stays exactly as it is.
    return z + (u * (floor - s).clamp_min(0)[..., None, :]) @ vh


@dataclass(frozen=True)
class PositiveSemidefinite(Manifold):
    r"""Positive semidefinite `n x n` matrices of rank `k`, held as factors `Y`, `(*batch, n, k)`.

    The matrix is `Y Y'`, and `Y Q` with orthogonal `Q` is the same point, so a loss must not depend
    on `Q`: `f(Y Q) = f(Y)`. Horizontal vectors are those with symmetric `Y'v`, and their Frobenius
    inner product is the metric of Bures and Wasserstein. On `n x n` factors it is
    `BuresWasserstein()` of `SymmetricPositiveDefinite()`. Geodesics are `Y + t v`, as long as they
    keep the rank. The distance is `min ||Y - Z Q||_F` over orthogonal `Q`.

    The rank is the number of columns. The set is open: almost every matrix is a factor. `project`
    lifts singular values to `10 n eps` of the largest. The residual is 1 if the factor has a
    smaller rank, and 0 otherwise.

    Source: Massart & Absil, SIAM J. Matrix Anal. Appl. 41, 2020; Bhatia, Jain & Lim, Expositiones
    Mathematicae 37, 2019.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.PositiveSemidefinite()
        >>> x = torch.eye(3)[:, :2]
        >>> M.dist(x, x.flip(-1)), M.dist(x, 2 * x)
        (tensor(0.), tensor(1.4142))
    """

    metric: Metric = BuresWasserstein()
    retraction: Retraction = Exp()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "either"
    event_ndim: ClassVar[int] = 2
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        BuresWasserstein: MetricRule(hessian=_hessian, exp=_add, log=_log, dist=_dist, carry=_carry)
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Exp: RetractionRule(_add, {BuresWasserstein: 2}, _log)
    }

    def residual(self, x: Tensor) -> Tensor:
        """0 for a factor of full rank, 1 for a smaller rank, up to rounding."""
        wide = x.to(torch.promote_types(x.dtype, torch.float64))
        values = torch.linalg.svdvals(torch.nan_to_num(wide))
        least = x.shape[-2] * torch.finfo(x.dtype).eps * values[..., 0]
        defect = (values[..., -1] <= least).to(values.dtype)
        return torch.where(torch.isfinite(wide).all(-1).all(-1), defect, torch.nan)

    def project(self, z: Tensor) -> Tensor:
        """`z`, with singular values lifted to `10 n eps` of the largest, `eps` if all are zero."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        return _lifted(z, torch.finfo(z.dtype).eps)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z - x W`, with the skew `W` that makes `x'z` symmetric."""
        return horizontal(x, z)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """A factor of standard normal entries: `Y Y'` has a Wishart distribution."""
        return z.clone()

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a wide factor."""
        refuse_wide("PositiveSemidefinite", shape)

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n k - k (k - 1) / 2`, and `2 n k - k^2` for complex matrices."""
        self.check_shape(shape)
        n, k = shape[-2:]
        return 2 * n * k - k * k if is_complex(dtype) else n * k - k * (k - 1) // 2
