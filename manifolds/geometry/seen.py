"""Rows of a manifold's tables, adapted to a view of its points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry.metrics import MetricRule
from torchmanifold.manifolds.geometry.retractions import RetractionRule

__all__ = ["seen_metric", "seen_retraction"]


@dataclass(frozen=True)
class _Seen:
    """A tensor-valued row of the inner manifold's table, adapted to the view."""

    row: Callable[..., Tensor]

    def __call__(self, view: Any, x: Tensor, *tensors: Tensor) -> Tensor:
        inward = (view.inward(t) for t in (x, *tensors))
        return view.outward(self.row(view.manifold, *inward), x.shape)


@dataclass(frozen=True)
class _SeenInner:
    """The sum of the inner products of the inner points, in units of the view."""

    row: Callable[..., Tensor]

    def __call__(self, view: Any, x: Tensor, *tensors: Tensor) -> Tensor:
        inward = (view.inward(t) for t in (x, *tensors))
        total = view.parts(self.row(view.manifold, *inward), x).sum(-1)
        return total if view.length == 1 else view.length**2 * total


@dataclass(frozen=True)
class _SeenDist:
    """The root of the sum of the squared distances of the inner points."""

    row: Callable[..., Tensor]

    def __call__(self, view: Any, x: Tensor, y: Tensor) -> Tensor:
        parts = view.parts(self.row(view.manifold, view.inward(x), view.inward(y)), x)
        return view.length * torch.linalg.vector_norm(parts, dim=-1)


@dataclass(frozen=True)
class _SeenRadius:
    """The injectivity radius of a product of equal manifolds, which is that of one of them."""

    row: Callable[..., float]

    def __call__(self, view: Any, shape: tuple[int, ...]) -> float:
        return view.length * self.row(view.manifold, view.inner_shape(shape))


@dataclass(frozen=True)
class _SeenResidual:
    """The largest residual, which is that of one inner point."""

    row: Callable[..., float]

    def __call__(self, view: Any, shape: tuple[int, ...]) -> float:
        return self.row(view.manifold, view.inner_shape(shape))


def _seen_steepest(view: Any, x: Tensor, egrad: Tensor, dtype: torch.dtype | None) -> Tensor:
    """The steepest direction of each inner point."""
    inner = view.manifold.steepest(view.inward(x), view.inward(egrad), dtype)
    return view.outward(inner, x.shape)


_SEEN: dict[str, Callable[[Any], Any]] = {
    "inner": _SeenInner,
    "dist": _SeenDist,
    "injectivity_radius": _SeenRadius,
}


def seen_metric(rule: MetricRule) -> MetricRule:
    """The row of a metric, adapted to a view."""
    rows = {f.name: getattr(rule, f.name) for f in fields(rule)}
    seen = {name: row and _SEEN.get(name, _Seen)(row) for name, row in rows.items()}
    return MetricRule(**{**seen, "steepest": _seen_steepest})


def seen_retraction(rule: RetractionRule) -> RetractionRule:
    """The row of a retraction, adapted to a view."""
    return RetractionRule(
        _Seen(rule.retract),
        rule.order,
        rule.inverse and _Seen(rule.inverse),
        {metric: _Seen(row) for metric, row in rule.trivialize.items()},
        rule.residual and _SeenResidual(rule.residual),
    )
