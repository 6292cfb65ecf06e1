"""Products of manifolds: points are tuples or dicts of tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.metrics import Metric, MetricRule
from torchmanifold.manifolds.geometry.required import require_manifold
from torchmanifold.manifolds.geometry.retractions import Retraction, RetractionRule
from torchmanifold.manifolds.geometry.structure import Point, Shape

__all__ = ["Product", "ProductMetric", "ProductRetraction"]


@dataclass(frozen=True)
class ProductMetric(Metric):
    """The sum of the factors' metrics."""


@dataclass(frozen=True)
class ProductRetraction(Retraction):
    """Each factor's own retraction."""


@dataclass(frozen=True)
class _Each:
    """The same method of all factors, as a row of a table."""

    method: str

    def __call__(self, product: Product, *points: Point) -> Point:
        return product.rebuilt(product.each(self.method, *points))


@dataclass(frozen=True)
class _Sum:
    """The sum of the results of a method over all factors."""

    method: str

    def __call__(self, product: Product, *points: Point) -> Tensor:
        return sum(product.each(self.method, *points))


def _dist(product: Product, x: Point, y: Point) -> Tensor:
    parts = torch.broadcast_tensors(*product.each("dist", x, y))
    return torch.linalg.vector_norm(torch.stack(parts), dim=0)


def _radius(product: Product, shape: Shape) -> float:
    return min(product.each("injectivity_radius", shape))


_ROWS: dict[str, Callable[..., Any]] = {
    "inner": _Sum("inner"),
    "dist": _dist,
    "injectivity_radius": _radius,
}
# The row of a factor may be None, which means its tangent projection.
_ALWAYS = {"inner", "gradient", "coordinates", "inverse_coordinates", "carry"}


@dataclass(frozen=True, init=False)
class Product(Manifold):
    """The product of manifolds: points are tuples, or dicts, with one tensor for each factor.

    The metric is the sum of the factors' metrics, and the residual is the largest of the factors'
    residuals. Every method takes and returns tuples, or dicts, in place of tensors. Factors may be
    products.

    Args:
        manifolds: the factors of a product of tuples.
        named: the factors of a product of dicts.

    Raises:
        ValueError: without a factor, or with both positional and named factors.
        TypeError: for a factor that is not a manifold.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Product(tm.Stiefel(), tm.Sphere())
        >>> x = M.random((4, 2), (3,))
        >>> y = M.retract(x, M.random_tangent(x))
        >>> bool(M.residual(y) < 1e-5)
        True
        >>> tm.Product(rotation=tm.SpecialOrthogonal(), shift=tm.Euclidean(1)).dim(
        ...     {"rotation": (3, 3), "shift": (3,)}
        ... )
        6
    """

    manifolds: tuple[Manifold, ...]
    names: tuple[str, ...] | None

    metric: ClassVar[Metric] = ProductMetric()
    retraction: ClassVar[Retraction] = ProductRetraction()

    def __init__(self, *manifolds: Manifold, **named: Manifold) -> None:
        """Take the factors as arguments."""
        if bool(manifolds) == bool(named):
            found = "both" if named else "none"
            raise ValueError(f"Product: give factors either by position or by name, got {found}")
        factors = manifolds or tuple(named.values())
        for factor in factors:
            require_manifold("Product", factor, "a factor")
        object.__setattr__(self, "manifolds", factors)
        object.__setattr__(self, "names", tuple(named) if named else None)

    @property
    def numbers(self) -> Literal["real", "complex", "either"]:  # type: ignore[override]
        """The numbers that one of the factors requires, or either."""
        kinds = {factor.numbers for factor in self.manifolds} - {"either"}
        return kinds.pop() if len(kinds) == 1 else "either"

    def __repr__(self) -> str:
        """The call that makes it."""
        names = [f"{name}=" for name in self.names or ()] or [""] * len(self.manifolds)
        factors = zip(names, self.manifolds, strict=True)
        return f"Product({', '.join(name + repr(factor) for name, factor in factors)})"

    @functools.cached_property
    def metrics(self) -> Mapping[type[Metric], MetricRule]:
        """One row, which combines the rows of all factors."""
        rows = {
            f.name: _ROWS.get(f.name, _Each(f.name))
            for f in fields(MetricRule)
            if f.name in _ALWAYS or all(factor.offers(f.name) for factor in self.manifolds)
        }
        return {ProductMetric: MetricRule(**rows)}

    @functools.cached_property
    def retractions(self) -> Mapping[type[Retraction], RetractionRule]:
        """One row, which combines the rows of all factors and has the least of their orders."""
        order = min(M.retraction_rule.order[type(M.metric)] for M in self.manifolds)
        inverse = all(M.offers("inverse_retract") for M in self.manifolds)
        row = RetractionRule(
            _Each("retract"),
            {ProductMetric: order},
            _Each("inverse_retract") if inverse else None,
            {ProductMetric: _Each("trivialize")},
        )
        return {ProductRetraction: row}

    @property
    def event_ndim(self) -> Any:
        """A tuple or dict with the number of each factor."""
        return self.rebuilt(M.event_ndim for M in self.manifolds)

    def rebuilt(self, parts: Any) -> Point:
        """A tuple or dict of one part for each factor."""
        return tuple(parts) if self.names is None else dict(zip(self.names, parts, strict=True))

    def each(self, method: str, *points: Point) -> list[Any]:
        """The results of a method of all factors."""
        parts = zip(*(self.taken_apart(method, point) for point in points), strict=True)
        return [getattr(M, method)(*part) for M, part in zip(self.manifolds, parts, strict=True)]

    def taken_apart(self, method: str, point: Point) -> list[Any]:
        """One part for each factor.

        Raises:
            ValueError: if the parts are not one for each factor.
        """
        if self.names is None:
            if isinstance(point, tuple | list) and len(point) == len(self.manifolds):
                return list(point)
            wanted = f"a tuple of {len(self.manifolds)}"
        else:
            if isinstance(point, dict) and point.keys() == set(self.names):
                return [point[name] for name in self.names]
            wanted = f"a dict with the keys {', '.join(self.names)}"
        found = sorted(point) if isinstance(point, dict) else type(point).__name__
        size = f" of {len(point)}" if isinstance(point, tuple | list) else ""
        raise ValueError(f"Product.{method}: expected {wanted}, got {found}{size}")

    def residual(self, x: Point) -> Tensor:
        """The largest residual of the factors."""
        return torch.stack(torch.broadcast_tensors(*self.each("residual", x))).amax(0)

    def project(self, z: Point) -> Point:
        """The nearest point, factor by factor."""
        return self.rebuilt(self.each("project", z))

    def tangent(self, x: Point, z: Point) -> Point:
        """The orthogonal projection to the tangent space, factor by factor."""
        return self.rebuilt(self.each("tangent", x, z))

    def sample(self, z: Point) -> Point:
        """Independent points of the factors."""
        return self.rebuilt(self.each("sample", z))

    def check_shape(self, shape: Shape) -> None:
        """Refuse shapes that are not one for each factor."""
        self.each("check_shape", shape)

    def dim(self, shape: Shape, dtype: torch.dtype | None = None) -> int:
        """The sum of the factors' dimensions."""
        parts = zip(self.manifolds, self.taken_apart("dim", shape), strict=True)
        return sum(M.dim(part, dtype) for M, part in parts)
