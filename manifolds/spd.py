"""Symmetric positive definite matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry import (
    AFFINE_INVARIANT,
    BURES_WASSERSTEIN,
    LOG_CHOLESKY,
    LOG_EUCLIDEAN,
    AffineInvariant,
    BuresWasserstein,
    EuclideanMetric,
    Exp,
    LogCholesky,
    LogEuclidean,
    Manifold,
    Metric,
    MetricRule,
    Quadratic,
    Retraction,
    RetractionRule,
    bures_exp,
    guarded,
    is_complex,
    lifted,
    quadratic,
    require_square,
    short_exp,
)
from torchmanifold.manifolds.linalg import in_working_precision, relative, sym

__all__ = ["SymmetricPositiveDefinite"]


def _straight_log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return y - x


def _sym_hessian(M: Manifold, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    return sym(ehess)


def _exp(M: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return (bures_exp if isinstance(M.metric, BuresWasserstein) else short_exp)(M, x, v)


def _log(M: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return M.log(x, y)


@dataclass(frozen=True)
class SymmetricPositiveDefinite(Manifold):
    r"""Symmetric (Hermitian) positive definite matrices, shape `(*batch, n, n)`.

    Tangent vectors are symmetric matrices. Metrics, with `L L' = x`:

    * `AffineInvariant`: `tr(x^-1 u x^-1 v)`; gradient `x g x`; exp `L expm(L^-1 v L^-T) L'`.
    * `LogCholesky`: the Frobenius inner product of the Cholesky factor with the logarithms of its
      diagonal; it needs no eigenvalues, and depends on the order of the rows.
    * `LogEuclidean`: the Frobenius inner product after the matrix logarithm.
    * `BuresWasserstein`: `tr(A v) / 2` with `A x + x A = u`; gradient `2 (g x + x g)`.
    * `EuclideanMetric`: the Frobenius inner product; not complete, so it has no `exp`.

    The set is open. `project` gives the nearest matrix whose eigenvalues are at least
    `10 n eps` times the largest (at least `eps` if none is positive). The residual is the
    distance to the closure of the set, relative to the size of `x`.

    Points are held as dense matrices, which stay positive while their condition is below
    `1 / (n eps)`. The exponential as a retraction shortens steps longer than
    `log(1 / (n eps)) / 2` to that length (for Bures-Wasserstein, to its domain). A matrix that
    rounding makes indefinite gets `10 n eps tr(x)` on its diagonal. Both happen on the device.

    Source: Bhatia, Positive Definite Matrices, Princeton 2007, chapter 6; Arsigny et al., SIAM J.
    Matrix Anal. Appl. 29, 2007; Bhatia, Jain & Lim, Expositiones Mathematicae 37, 2019; Lin,
    SIAM J. Matrix Anal. Appl. 40, 2019.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.SymmetricPositiveDefinite()
        >>> x, y = torch.eye(2), torch.diag(torch.tensor([torch.e, 1 / torch.e]))
        >>> M.dist(x, y)
        tensor(1.4142)
    """

    metric: Metric = AffineInvariant()
    retraction: Retraction = Exp()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "either"
    event_ndim: ClassVar[int] = 2
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        AffineInvariant: AFFINE_INVARIANT,
        LogCholesky: LOG_CHOLESKY,
        LogEuclidean: LOG_EUCLIDEAN,
        BuresWasserstein: BURES_WASSERSTEIN,
        EuclideanMetric: MetricRule(hessian=_sym_hessian, log=_straight_log),
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Exp: RetractionRule(
            _exp,
            {AffineInvariant: 2, LogCholesky: 2, LogEuclidean: 2, BuresWasserstein: 2},
            _log,
        ),
        Quadratic: RetractionRule(
            quadratic,
            {
                AffineInvariant: 2,
                LogCholesky: 1,
                LogEuclidean: 1,
                BuresWasserstein: 1,
                EuclideanMetric: 1,
            },
        ),
    }

    def residual(self, x: Tensor) -> Tensor:
        """Distance to the positive semidefinite matrices, relative to `||x||_F`."""
        wide = x.to(torch.promote_types(x.dtype, torch.float64))
        defect = relative(wide - lifted(wide, 0.0), x)
        # The zero matrix is in the closure; it gets the largest residual.
        return torch.where((wide == 0).all(-1).all(-1), 1.0, defect)

    def project(self, z: Tensor) -> Tensor:
        """The nearest symmetric matrix with eigenvalues at least `10 n eps` of the largest.

        Raises:
            TypeError: in half precision, whose rounding makes matrices indefinite.
        """
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        if z.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(
                f"SymmetricPositiveDefinite: {z.dtype} has too few digits to keep a matrix "
                f"positive definite; use float32"
            )
        return lifted(z, torch.finfo(z.dtype).eps)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """The symmetric part of `z`."""
        return sym(z)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """The exponential of the symmetric part of a normal matrix of variance `1/n`."""
        return sym(maps.spd_exp(sym(z) / max(z.shape[-1], 1) ** 0.5))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a matrix that is not square."""
        require_square("SymmetricPositiveDefinite", shape)

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n (n + 1) / 2`, and `n^2` for complex matrices."""
        self.check_shape(shape)
        n = shape[-1]
        return n * n if is_complex(dtype) else n * (n + 1) // 2
