"""Matrices of a fixed rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry import (
    EuclideanMetric,
    Manifold,
    Metric,
    MetricRule,
    Projection,
    Retraction,
    RetractionRule,
    guarded,
    is_complex,
    require_count,
)
from torchmanifold.manifolds.linalg import in_working_precision, relative, svd

__all__ = ["FixedRank"]


def _svd(x: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    u, s, vh = svd(x)
    return u[..., :rank], s[..., :rank], vh[..., :rank, :].mH


def _floor(like: Tensor) -> float:
    """The least singular value of a point over the largest; rounding errors are smaller."""
    return 10 * max(like.shape[-2:]) * torch.finfo(like.dtype).eps


def _retract(M: FixedRank, x: Tensor, v: Tensor) -> Tensor:
    # A step that would lose rank ends at the least singular value that a point can have.
    return maps.truncate(x + v, M.rank, _floor(x))


def _weingarten(M: FixedRank, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    # Vandereycken, SIAM J. Optim. 23, 2013, section 2.3.
    left, s, right = _svd(x, M.rank)
    core = left.mH @ v @ right
    left_part, right_part = v @ right - left @ core, v.mH @ left - right @ core.mH
    curved = (w @ right_part / s[..., None, :]) @ right.mH
    return curved + left @ (w.mH @ left_part / s[..., None, :]).mH


@dataclass(frozen=True)
class FixedRank(Manifold):
    r"""Matrices of rank `rank` and shape `(*batch, n, p)`, held dense, with `u s v'` their SVD.

    The tangent space at `x` is `{u a v' + b v' + u c'}` with `u'b = 0` and `v'c = 0`, of
    dimension `(n + p - rank) rank`. `Projection` is the truncated SVD of `x + v`.

    The manifold is not closed. `project` gives the nearest matrix of at most that rank, with the
    leading singular values lifted to `10 n eps` of the largest (to `eps` if all are zero). The
    residual is the norm of the singular values beyond the rank, relative to the norm of all.

    Args:
        rank: the rank, at least 1.

    Source: Vandereycken, Low-rank matrix completion by Riemannian optimization, SIAM J. Optim.
    23, 2013; Absil & Malick 2012 for the order of the retraction.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.FixedRank(2)
        >>> x = M.random(6, 5, generator=torch.Generator().manual_seed(0))
        >>> int(torch.linalg.matrix_rank(M.retract(x, M.random_tangent(x))))
        2
    """

    rank: int
    metric: Metric = EuclideanMetric()
    retraction: Retraction = Projection()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "either"
    event_ndim: ClassVar[int] = 2
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        EuclideanMetric: MetricRule(weingarten=_weingarten)
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Projection: RetractionRule(_retract, {EuclideanMetric: 2})
    }

    def __post_init__(self) -> None:
        """Refuse a rank that is not a positive integer."""
        require_count("FixedRank", "rank", self.rank)
        super().__post_init__()

    def residual(self, x: Tensor) -> Tensor:
        """`(sum_{i > rank} s_i^2)^(1/2) / ||x||_F`, evaluated in float64; 1 if the rank is less.

        A matrix of lower rank is a limit of points, but it has no tangent space.
        """
        wide = x.to(torch.promote_types(x.dtype, torch.float64))
        values = torch.linalg.svdvals(torch.nan_to_num(wide))
        defect = relative(torch.diag_embed(values[..., self.rank :]), x)
        least = _floor(x) / 2 * values[..., :1]
        lost = (values[..., self.rank - 1 : self.rank] <= least).any(-1)
        defect = torch.where(lost, torch.ones_like(defect), defect)
        return torch.where(torch.isfinite(wide).all(-1).all(-1), defect, torch.nan)

    def project(self, z: Tensor) -> Tensor:
        """The truncated singular value decomposition."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        return maps.truncate(z, self.rank, _floor(z))

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`u u'z + z v v' - u u'z v v'`."""
        left, _, right = _svd(x, self.rank)
        rows = left @ (left.mH @ z)
        return rows + (z - rows) @ right @ right.mH

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """The truncated singular value decomposition of `z` (the manifold is not compact)."""
        u, s, v = _svd(z, self.rank)
        return (u * s[..., None, :]) @ v.mH

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a matrix with a side shorter than the rank."""
        if len(shape) < 2 or min(shape[-2:]) < self.rank:
            raise ValueError(
                f"FixedRank({self.rank}): a point has both sides at least {self.rank}, got the "
                f"shape {tuple(shape)}; choose a rank of at most {min(shape[-2:], default=0)}"
            )

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`(n + p - rank) rank`, and twice as many for complex matrices."""
        self.check_shape(shape)
        degrees = (shape[-2] + shape[-1] - self.rank) * self.rank
        return 2 * degrees if is_complex(dtype) else degrees
