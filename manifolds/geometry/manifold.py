"""Manifold: five required methods, two tables, and everything that follows from them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry.metrics import Metric, MetricRule
from torchmanifold.manifolds.geometry.retractions import Retraction, RetractionRule
from torchmanifold.manifolds.linalg import in_working_precision

__all__ = ["Manifold"]


def _listed(kinds: Any) -> str:
    return ", ".join(f"{kind.__name__}()" for kind in kinds) or "none"


@dataclass(frozen=True)
class Manifold(ABC):
    r"""A Riemannian manifold whose points are tensors of shape `(*batch, *event)`.

    A manifold is a frozen, hashable value without tensors and sizes. A concrete one gives
    `residual`, `project`, `tangent`, `random` and `dim`, and two tables: `retractions` and
    `metrics`, which say as data what it can do. The fields `metric` and `retraction` choose
    from the tables; everything else on this page follows.

    Raises:
        ValueError: for a metric or a retraction that the manifold does not have, or a pair of
            them that does not go together; the message names those that do.
    """

    @property
    @abstractmethod
    def metric(self) -> Metric:
        """The chosen metric."""

    @property
    @abstractmethod
    def retraction(self) -> Retraction:
        """The chosen retraction."""

    @property
    @abstractmethod
    def metrics(self) -> Mapping[type[Metric], MetricRule]:
        """What each metric does here."""

    @property
    @abstractmethod
    def retractions(self) -> Mapping[type[Retraction], RetractionRule]:
        """What each retraction does here."""

    @property
    @abstractmethod
    def event_ndim(self) -> int:
        """Number of trailing dimensions that one point has; the others are a batch."""

    # -- required ----------------------------------------------------------------------------

    @abstractmethod
    def residual(self, x: Tensor) -> Tensor:
        """Distance of `x` from satisfying the constraint, `(*batch,)`; 0 on the manifold."""

    @abstractmethod
    def project(self, z: Tensor) -> Tensor:
        """The nearest point to `z` in the Frobenius norm."""

    @abstractmethod
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """Orthogonal projection of `z` to the tangent space at `x`."""

    @abstractmethod
    def random(
        self,
        *shape: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """A random point of the given shape; uniform on compact manifolds."""

    @abstractmethod
    def dim(self, shape: tuple[int, ...]) -> int:
        """Degrees of freedom of one point of shape `(*batch, *event)`.

        Raises:
            ValueError: if no point of the manifold has that shape; with the remedy.
        """

    # -- everything else follows ---------------------------------------------------------------

    def __post_init__(self) -> None:
        """Refuse metrics and retractions that are not in the tables."""
        name = type(self).__name__
        if type(self.metric) not in self.metrics:
            raise ValueError(
                f"{name}: metric must be one of {_listed(self.metrics)}, got {self.metric!r}"
            )
        if type(self.retraction) not in self.retractions:
            raise ValueError(
                f"{name}: retraction must be one of {_listed(self.retractions)}, "
                f"got {self.retraction!r}"
            )
        if type(self.metric) not in self.retraction_rule.order:
            pairs = [r for r, rule in self.retractions.items() if type(self.metric) in rule.order]
            raise ValueError(
                f"{name}: {self.retraction!r} does not go with {self.metric!r}; "
                f"with this metric the retraction can be {_listed(pairs)}"
            )

    @property
    def metric_rule(self) -> MetricRule:
        """The row of the chosen metric."""
        return self.metrics[type(self.metric)]

    @property
    def retraction_rule(self) -> RetractionRule:
        """The row of the chosen retraction."""
        return self.retractions[type(self.retraction)]

    def sum(self, x: Tensor) -> Tensor:
        """Real part of the sum over one point's dimensions, of shape `(*batch,)`."""
        total = x.flatten(-self.event_ndim).sum(-1) if self.event_ndim else x
        return total.real if total.is_complex() else total

    @in_working_precision
    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Inner product of tangent vectors `u` and `v` at `x` in the metric, `(*batch,)`."""
        return self.metric_rule.inner(self, x, u, v)

    def norm(self, x: Tensor, u: Tensor) -> Tensor:
        """Norm of the tangent vector `u` at `x` in the metric, `(*batch,)`."""
        square = self.inner(x, u, u)
        # At zero the derivative is that of a norm in PyTorch: zero, not NaN.
        zero = square <= 0
        return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())

    @in_working_precision
    def gradient(self, x: Tensor, egrad: Tensor) -> Tensor:
        """Riemannian gradient from the Euclidean one: `<gradient, u>_x = tr(egrad' u)`."""
        return self.metric_rule.gradient(self, x, egrad)

    @in_working_precision
    def hessian(self, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
        """Riemannian Hessian along `v` from the Euclidean gradient and Hessian along `v`."""
        if self.metric_rule.hessian is None:
            self._lacks("hessian")
        return self.metric_rule.hessian(self, x, egrad, ehess, v)

    @in_working_precision
    def coordinates(self, x: Tensor, v: Tensor) -> Tensor:
        """`B_x v`: the tangent vector at `x` with free coordinates `v`, any tensor of its shape.

        `B_x` is linear, onto the tangent space, and `B_x B_x*` is the inverse of the metric, so
        that gradient descent on `v` at 0 is Riemannian gradient descent at `x`.
        """
        return self.metric_rule.coordinates(self, x, v)

    @in_working_precision
    def inverse_coordinates(self, x: Tensor, u: Tensor) -> Tensor:
        """Coordinates `v` of a tangent vector: `coordinates(x, v) = u`."""
        return self.metric_rule.inverse_coordinates(self, x, u)

    @in_working_precision
    def retract(self, x: Tensor, v: Tensor) -> Tensor:
        """Move from `x` along the tangent vector `v`, staying on the manifold."""
        return self.retraction_rule.retract(self, x, v)

    @in_working_precision
    def trivialize(self, x: Tensor, v: Tensor) -> Tensor:
        """`retract(x, coordinates(x, v))`: a point for every tensor `v` of the shape of `x`."""
        shorter = self.retraction_rule.trivialize.get(type(self.metric))
        if shorter is not None:
            return shorter(self, x, v)
        return self.retract(x, self.coordinates(x, v))

    @in_working_precision
    def inverse_retract(self, x: Tensor, y: Tensor) -> Tensor:
        """The tangent vector `v` at `x` with `retract(x, v) = y`."""
        if self.retraction_rule.inverse is None:
            raise NotImplementedError(f"{self!r}: {self.retraction!r} has no inverse here")
        return self.retraction_rule.inverse(self, x, y)

    @in_working_precision
    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        """The point at time 1 on the geodesic that leaves `x` with velocity `v`."""
        if self.metric_rule.exp is None:
            self._lacks("exp")
        return self.metric_rule.exp(self, x, v)

    @in_working_precision
    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Velocity at `x` of the shortest geodesic to `y`; the inverse of `exp`."""
        if self.metric_rule.log is None:
            self._lacks("log")
        return self.metric_rule.log(self, x, y)

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Geodesic distance, `(*batch,)`."""
        if self.metric_rule.dist is not None:
            return self.metric_rule.dist(self, x, y)
        if self.metric_rule.log is None:
            self._lacks("dist")
        return self.norm(x, self.log(x, y))

    @in_working_precision
    def carry(self, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        """Carry the tangent vector `w` from `x` to the point `y`: linear, and tangent there.

        The projection to the tangent space at `y` on embedded manifolds with the Euclidean
        metric. Where the size of a vector depends on the point, its coordinates are kept.
        """
        return self.metric_rule.carry(self, x, y, w)

    def transport(self, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
        """Move `w` from `x` to `retract(x, v)`: a vector transport.

        Source: Absil, Mahony & Sepulchre 2008, section 8.1.
        """
        return self.carry(x, self.retract(x, v), w)

    def random_tangent(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A random tangent vector at `x` of norm 1."""
        z = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        u = self.coordinates(x, z)
        norm = self.norm(x, u).clamp_min(torch.finfo(u.dtype).tiny)
        return u / norm.reshape(norm.shape + (1,) * self.event_ndim)

    def tolerance(self, shape: tuple[int, ...], dtype: torch.dtype) -> float:
        """Rounding level of the residual: `10 eps sqrt(p)`, with `p` the last dimension."""
        return 10 * torch.finfo(dtype).eps * math.sqrt(shape[-1] if shape else 1)

    def _lacks(self, name: str) -> NoReturn:
        raise NotImplementedError(
            f"{self!r}: no exact {name} is known in closed form for {self.metric!r}"
        )
