"""The rows that all linear spaces share: their geodesics are straight lines."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.metrics import EuclideanMetric, MetricRule
from torchmanifold.manifolds.geometry.retractions import RetractionRule

__all__ = ["FLAT", "straight"]


def _add(manifold: Manifold, x: Tensor, v: Tensor) -> Tensor:
    return x + v


def _subtract(manifold: Manifold, x: Tensor, y: Tensor) -> Tensor:
    return y - x


def _weingarten(manifold: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    return torch.zeros_like(v)


def _transport(manifold: Manifold, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
    return w


def _radius(manifold: Manifold, shape: tuple[int, ...]) -> float:
    return math.inf


FLAT = MetricRule(
    weingarten=_weingarten,
    exp=_add,
    log=_subtract,
    parallel_transport=_transport,
    injectivity_radius=_radius,
)
straight = RetractionRule(retract=_add, inverse=_subtract, order={EuclideanMetric: 2})
