"""Space of constant curvature, of either sign, in stereographic coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry import (
    GYROVECTORS,
    ConstantCurvature,
    Exp,
    Metric,
    MetricRule,
    Retraction,
    RetractionRule,
    StereographicModel,
    gyro_exp,
    gyro_inside,
    gyro_log,
)
from torchmanifold.manifolds.linalg import in_working_precision

__all__ = ["Stereographic"]


@dataclass(frozen=True)
class Stereographic(StereographicModel):
    r"""Space of constant curvature `k` in stereographic coordinates, `(*batch, n)`.

    For negative `k` it is the Poincare ball `|k| ||x||^2 < 1`, for positive `k` the sphere of
    radius `1 / sqrt(k)` without the antipode of the origin, for 0 Euclidean space. The metric is
    `4 u'v / (1 + k ||x||^2)^2`, so lengths at `k = 0` are twice the Euclidean ones, and all
    quantities depend smoothly on `k`: a model can try the three geometries without another change.

    Geodesics on the sphere may pass through the missing point, where coordinates are infinite.
    Points of negative curvature are kept within the radius `(1 - 4 eps) / sqrt(|k|)`. Distances are
    right to 1e-6 relative in float32 up to a distance of 2 from the origin at `k = -1`. Further out
    the rounding of the coordinates costs digits: between points that are 1 apart the error is 3e-6
    at a distance of 4 from the origin, 2e-5 at 6, 1e-4 at 8, 1e-3 at 10 and 5e-2 at 14. The
    hyperboloid is no better.
    `to_sphere` and `from_sphere`, `to_lorentz` and `from_lorentz` are isometries to the other
    models of the same curvature.

    Args:
        curvature: `k`, any finite number.

    Source: Bachmann, Becigneul & Ganea, Constant curvature graph convolutional networks, ICML 2020;
    Ungar, A gyrovector space approach to hyperbolic geometry, 2009.

    Example:
        >>> import torch, torchmanifold as tm
        >>> x, y = torch.tensor([0.0, 0.0]), torch.tensor([0.5, 0.0])
        >>> [round(tm.Stereographic(k).dist(x, y).item(), 4) for k in (-1.0, 0.0, 1.0)]
        [1.0986, 1.0, 0.9273]
    """

    curvature: float = -1.0
    metric: Metric = ConstantCurvature()
    retraction: Retraction = Exp()

    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {ConstantCurvature: GYROVECTORS}
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Exp: RetractionRule(gyro_exp, {ConstantCurvature: 2}, gyro_log)
    }

    def __post_init__(self) -> None:
        """Refuse a curvature that is not a finite number."""
        k = self.curvature
        if isinstance(k, bool) or not isinstance(k, Real) or not math.isfinite(k):
            raise ValueError(f"Stereographic: curvature must be a finite number, got {k!r}")
        super().__post_init__()

    @property
    def kappa(self) -> float:
        """The sectional curvature."""
        return float(self.curvature)

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """The exponential of `z / sqrt(max(|k|, 1) n)` at the origin."""
        size = max(z.shape[-1], 1) * max(abs(self.kappa), 1.0)
        return gyro_exp(self, torch.zeros_like(z), z / (2 * math.sqrt(size)))

    def to_sphere(self, x: Tensor) -> Tensor:
        """The point of the sphere of radius `1 / sqrt(k)`, `(*batch, n + 1)`, for positive `k`.

        Raises:
            ValueError: if `k` is not positive.
        """
        self._require(self.kappa > 0, "to_sphere", "positive")
        square = self.kappa * x.square().sum(-1, keepdim=True)
        first = (1 - square) / math.sqrt(self.kappa)
        return torch.cat([first, 2 * x], dim=-1) / (1 + square)

    def from_sphere(self, y: Tensor) -> Tensor:
        """The inverse of `to_sphere`, infinite at the antipode of the origin.

        Raises:
            ValueError: if `k` is not positive.
        """
        self._require(self.kappa > 0, "from_sphere", "positive")
        return y[..., 1:] / (1 + math.sqrt(self.kappa) * y[..., :1])

    def to_lorentz(self, x: Tensor) -> Tensor:
        """The point of `Lorentz(-k)`, `(*batch, n + 1)`, for negative `k`.

        Raises:
            ValueError: if `k` is not negative.
        """
        self._require(self.kappa < 0, "to_lorentz", "negative")
        square = -self.kappa * x.square().sum(-1, keepdim=True)
        first = (1 + square) / math.sqrt(-self.kappa)
        return torch.cat([first, 2 * x], dim=-1) / (1 - square)

    def from_lorentz(self, y: Tensor) -> Tensor:
        """The inverse of `to_lorentz`.

        Raises:
            ValueError: if `k` is not negative.
        """
        self._require(self.kappa < 0, "from_lorentz", "negative")
        return gyro_inside(self, y[..., 1:] / (1 + math.sqrt(-self.kappa) * y[..., :1]))

    def _require(self, holds: bool, name: str, sign: str) -> None:
        if not holds:
            raise ValueError(f"{self!r}.{name}: the curvature must be {sign}")
