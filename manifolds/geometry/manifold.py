"""Manifold: six required methods, two tables, and everything that follows from them."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry.guard import guarded
from torchmanifold.manifolds.geometry.shapes import require_dtype
from torchmanifold.manifolds.geometry.statistics import Statistics
from torchmanifold.manifolds.geometry.steepest import polar_steepest
from torchmanifold.manifolds.geometry.structure import (
    Shape,
    is_shape,
    mapped,
    normal,
    require_generator,
    scaled,
    sizes,
)
from torchmanifold.manifolds.geometry.tables import Tables
from torchmanifold.manifolds.linalg import event_sum

__all__ = ["Manifold"]


@dataclass(frozen=True)
class Manifold(Tables, Statistics):
    r"""A Riemannian manifold whose points are tensors of shape `(*batch, *event)`.

    A manifold is a frozen, hashable value without tensors and sizes. A concrete manifold defines
    `residual`, `project`, `tangent`, `sample`, `check_shape` and `dim`, and the two tables
    `retractions` and `metrics`. The fields `metric` and `retraction` choose from the tables, and
    all other methods follow.

    All methods broadcast the batch dimensions of their arguments.
    """

    #: whether entries of a point are real, complex, or either
    numbers: ClassVar[Literal["real", "complex", "either"]] = "real"
    #: whether geodesics go on within it; else `exp` may lead past its boundary
    complete: ClassVar[bool] = True
    #: whether points, vectors as single columns, are all matrices with orthonormal columns that
    #: are near to one of them; `Landing` relies on it
    orthonormal: ClassVar[bool] = False

    @property
    @abstractmethod
    def event_ndim(self) -> int:
        """Number of trailing dimensions that belong to one point; the others are a batch."""

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
    def sample(self, z: Tensor) -> Tensor:
        """The point that belongs to a standard normal `z`; uniform on compact manifolds."""

    @abstractmethod
    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a shape `(*batch, *event)` that no point has.

        Raises:
            ValueError: with the remedy.
        """

    @abstractmethod
    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """Real degrees of freedom of one point of shape `(*batch, *event)`.

        Args:
            shape: of a point.
            dtype: of its entries; real if not given, unless points are always complex.

        Raises:
            ValueError: if no point has that shape.
        """

    # -- everything else follows ---------------------------------------------------------------

    @guarded
    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Inner product of the tangent vectors `u` and `v` at `x` in the metric, `(*batch,)`."""
        if self.metric_rule.inner is None:
            return event_sum(u.conj() * v, self.event_ndim)
        return self.metric_rule.inner(self, x, u, v)

    @guarded
    def norm(self, x: Tensor, u: Tensor) -> Tensor:
        """Norm of the tangent vector `u` at `x` in the metric, `(*batch,)`."""
        square = self.inner(x, u, u)
        # The derivative at zero is that of a norm in PyTorch: zero, not NaN.
        zero = square <= 0
        return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())

    @guarded
    def gradient(self, x: Tensor, egrad: Tensor) -> Tensor:
        """Riemannian gradient from the Euclidean one: `<gradient, u>_x = tr(egrad' u)`."""
        if self.metric_rule.gradient is None:
            return self.tangent(x, egrad)
        return self.metric_rule.gradient(self, x, egrad)

    def steepest(self, x: Tensor, egrad: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """The direction of steepest ascent in the spectral norm, see `polar_steepest`."""
        row = self.metric_rule.steepest or polar_steepest
        return row(self, x, egrad, dtype)

    @guarded
    def hessian(self, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
        """Riemannian Hessian along `v` from the Euclidean gradient and Hessian along `v`.

        On a submanifold it is `P ehess + W(v, egrad - P egrad)`, with `P` the orthogonal
        projection to the tangent space and `W` the Weingarten map.

        Source: Absil, Mahony & Trumpf 2013, eq. (7).
        """
        rule = self.metric_rule
        if rule.hessian is not None:
            return rule.hessian(self, x, egrad, ehess, v)
        if rule.weingarten is None:
            self.lacks("hessian")
        normal_part = egrad - self.tangent(x, egrad)
        return self.tangent(x, ehess) + rule.weingarten(self, x, v, normal_part)

    @guarded
    def weingarten(self, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
        """The Weingarten map of a submanifold along `v`, applied to a normal vector `w`: tangent.

        `W(v, w) = P (D P)[v] w`, with `P` the orthogonal projection to the tangent space and
        `(D P)[v]` its derivative along `v`.
        """
        if self.metric_rule.weingarten is None:
            self.lacks("weingarten")
        return self.metric_rule.weingarten(self, x, v, w)

    @guarded
    def coordinates(self, x: Tensor, v: Tensor) -> Tensor:
        """`B_x v`: the tangent vector at `x` with free coordinates `v`, any tensor of its shape.

        `B_x` is linear and onto the tangent space. `B_x B_x*` is the inverse of the metric, so
        gradient descent on `v` at 0 is Riemannian gradient descent at `x`.
        """
        if self.metric_rule.coordinates is None:
            return self.tangent(x, v)
        return self.metric_rule.coordinates(self, x, v)

    @guarded
    def inverse_coordinates(self, x: Tensor, u: Tensor) -> Tensor:
        """Coordinates `v` of a tangent vector: `coordinates(x, v) = u`."""
        if self.metric_rule.inverse_coordinates is None:
            return self.tangent(x, u)
        return self.metric_rule.inverse_coordinates(self, x, u)

    @guarded
    def retract(self, x: Tensor, v: Tensor) -> Tensor:
        """Move from `x` along the tangent vector `v`, staying on the manifold."""
        return self.retraction_rule.retract(self, x, v)

    @guarded
    def trivialize(self, x: Tensor, v: Tensor) -> Tensor:
        """`retract(x, coordinates(x, v))`: a point for every tensor `v` of the shape of `x`."""
        shorter = self.retraction_rule.trivialize.get(type(self.metric))
        if shorter is not None:
            return shorter(self, x, v)
        return self.retract(x, self.coordinates(x, v))

    @guarded
    def inverse_retract(self, x: Tensor, y: Tensor) -> Tensor:
        """The tangent vector `v` at `x` with `retract(x, v) = y`."""
        if self.retraction_rule.inverse is None:
            raise NotImplementedError(f"{self!r}: {self.retraction!r} has no inverse here")
        return self.retraction_rule.inverse(self, x, y)

    @guarded
    def exp(self, x: Tensor, v: Tensor) -> Tensor:
        """The point at time 1 on the geodesic that leaves `x` with velocity `v`."""
        if self.metric_rule.exp is None:
            self.lacks("exp")
        return self.metric_rule.exp(self, x, v)

    @guarded
    def log(self, x: Tensor, y: Tensor) -> Tensor:
        """Velocity at `x` of the shortest geodesic to `y`; the inverse of `exp`."""
        if self.metric_rule.log is None:
            self.lacks("log")
        return self.metric_rule.log(self, x, y)

    @guarded
    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Geodesic distance, `(*batch,)`."""
        if self.metric_rule.dist is not None:
            return self.metric_rule.dist(self, x, y)
        if self.metric_rule.log is None:
            self.lacks("dist")
        return self.norm(x, self.log(x, y))

    @guarded
    def carry(self, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        """Carry the tangent vector `w` from `x` to the point `y`: linear, and tangent there.

        On embedded manifolds with the Euclidean metric it is the projection to the tangent space at
        `y`. If the length of a vector depends on the point, its coordinates are kept instead.
        """
        if self.metric_rule.carry is None:
            return self.tangent(y, w)
        return self.metric_rule.carry(self, x, y, w)

    @guarded
    def transport(self, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
        """Move `w` from `x` to `retract(x, v)`: a vector transport.

        Source: Absil, Mahony & Sepulchre 2008, section 8.1.
        """
        return self.carry(x, self.retract(x, v), w)

    @guarded
    def parallel_transport(self, x: Tensor, v: Tensor, w: Tensor) -> Tensor:
        """Transport `w` from `x` to `exp(x, v)`, parallel along the geodesic: an isometry."""
        if self.metric_rule.parallel_transport is None:
            self.lacks("parallel transport")
        return self.metric_rule.parallel_transport(self, x, v, w)

    def injectivity_radius(self, shape: tuple[int, ...]) -> float:
        """The length below which every geodesic is the shortest between its ends.

        Args:
            shape: of one point, on which the radius of some manifolds depends.
        """
        if self.metric_rule.injectivity_radius is None:
            self.lacks("injectivity radius")
        return self.metric_rule.injectivity_radius(self, shape)

    def random(
        self,
        *shape: Any,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """A random point of the given shape; uniform on compact manifolds.

        Raises:
            ValueError: if no point has that shape.
            TypeError: for sizes that are not integers, or a dtype that no point has.
        """
        shape = sizes(self, shape)
        self.check_shape(shape)
        self.check_dtype(dtype)
        if dtype is None and self.numbers == "complex":
            dtype = torch.get_default_dtype().to_complex()
        z = normal(shape, generator=generator, dtype=dtype, device=device)
        with torch.no_grad():
            point: Tensor = mapped(Tensor.contiguous, self.sample(z))
        return point

    def random_tangent(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A random tangent vector at `x` of norm 1."""
        require_generator(generator)

        def draw(part: Tensor) -> Tensor:
            return torch.randn(
                part.shape, generator=generator, dtype=part.dtype, device=part.device
            )

        u = self.coordinates(x, mapped(draw, x))
        norm = self.norm(x, u)
        unit: Tensor = scaled(1 / norm.clamp_min(torch.finfo(norm.dtype).tiny), u, self.event_ndim)
        return unit

    def check_dtype(self, dtype: torch.dtype | None) -> None:
        """Refuse a dtype that no point has.

        Raises:
            TypeError: for integers, and for complex or real numbers if points have no such entries.
        """
        require_dtype(self, self.numbers, dtype)

    def tolerance(self, shape: Shape, dtype: torch.dtype) -> float:
        """Rounding level of the residual: `10 eps sqrt(p)`, with `p` the last dimension."""
        if not is_shape(shape):
            parts = shape.values() if isinstance(shape, dict) else shape
            return max(self.tolerance(part, dtype) for part in parts)
        return 10 * torch.finfo(dtype).eps * math.sqrt(shape[-1] if shape else 1)
