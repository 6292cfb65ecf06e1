"""Hyperbolic space as the Poincare ball."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry import (
    GYROVECTORS,
    Exp,
    Hyperbolic,
    Metric,
    MetricRule,
    Retraction,
    RetractionRule,
    StereographicModel,
    gyro_exp,
    gyro_log,
    require_positive,
)
from torchmanifold.manifolds.linalg import in_working_precision

__all__ = ["PoincareBall"]


@dataclass(frozen=True)
class PoincareBall(StereographicModel):
    """Hyperbolic space of curvature `-c` as the ball `c ||x||^2 < 1`, `(*batch, n)`.

    The metric `4 u'v / (1 - c ||x||^2)^2` is conformal, so angles are the Euclidean ones.

    Points are kept within the radius `(1 - 4 eps) / sqrt(c)`. In float32 and with `c = 1` this is a
    distance of 15 from the centre. A distance of 0.01 has a relative error of 3e-5 at a distance of
    6 from the centre, and of 1e-2 at 10, because of the rounding of the coordinates. Use float64
    farther out.

    The residual is the relative distance to the ball.

    Args:
        curvature: `c`, positive.

    Source: Ungar, A gyrovector space approach to hyperbolic geometry, 2009; Ganea, Becigneul &
    Hofmann, Hyperbolic neural networks, NeurIPS 2018, section 2.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.PoincareBall()
        >>> M.dist(torch.tensor([0.0, 0.0]), torch.tensor([0.5, 0.0]))
        tensor(1.0986)
    """

    curvature: float = 1.0
    metric: Metric = Hyperbolic()
    retraction: Retraction = Exp()

    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {Hyperbolic: GYROVECTORS}
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Exp: RetractionRule(gyro_exp, {Hyperbolic: 2}, gyro_log)
    }

    def __post_init__(self) -> None:
        """Refuse a curvature that is not positive."""
        require_positive("PoincareBall", "curvature", self.curvature)
        super().__post_init__()

    @property
    def kappa(self) -> float:
        """The sectional curvature, `-c`."""
        return -self.curvature

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """The exponential of `z / sqrt(c n)` at the centre: distances of about 2."""
        size = max(z.shape[-1], 1) * self.curvature
        return gyro_exp(self, torch.zeros_like(z), z / math.sqrt(size))
