"""The rows that all linear spaces share: geodesics are straight lines."""

from __future__ import annotations

from torch import Tensor

from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.metrics import EuclideanMetric, MetricRule
from torchmanifold.manifolds.geometry.retractions import RetractionRule

__all__ = ["FLAT", "straight"]


def _add(manifold: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return x + v


def _subtract(manifold: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return y - x


def _hessian(manifold: Manifold, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    return manifold.tangent(x, ehess)


# What every linear subspace shares: geodesics are straight lines.
FLAT = MetricRule(hessian=_hessian, exp=_add, log=_subtract)


straight = RetractionRule(retract=_add, inverse=_subtract, order={EuclideanMetric: 2})
