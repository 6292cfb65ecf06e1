"""Manifolds in another arrangement: stacked blocks, flattened kernels, wide matrices."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds.geometry.guard import guarded
from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.metrics import Metric, MetricRule
from torchmanifold.manifolds.geometry.required import require_manifold
from torchmanifold.manifolds.geometry.retractions import Retraction, RetractionRule
from torchmanifold.manifolds.geometry.seen import seen_metric, seen_retraction
from torchmanifold.manifolds.geometry.shapes import require_count

__all__ = ["Blocks", "Flattened", "Transposed", "View", "on_matrices", "require_tensors"]


@dataclass(frozen=True)
class View(Manifold):
    """Points of `manifold` under another arrangement of their entries.

    The arrangement is an isometry up to a factor, so every row of the inner manifold's tables
    carries over.
    """

    manifold: Manifold

    #: the length of a vector over that of its inner vector
    length: ClassVar[float] = 1.0

    @abstractmethod
    def inward(self, x: Tensor) -> Tensor:
        """The inner point of an outer point, or several inner points as a batch."""

    @abstractmethod
    def outward(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The outer point, of the given shape, that holds the inner points `y`."""

    @abstractmethod
    def inner_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of `inward(x)` for an `x` of the given shape."""

    @property
    def numbers(self) -> Literal["real", "complex", "either"]:  # type: ignore[override]
        """As for the inner manifold."""
        return self.manifold.numbers

    @property
    def orthonormal(self) -> bool:  # type: ignore[override]
        """As for the inner manifold."""
        return self.manifold.orthonormal

    @property
    def metric(self) -> Metric:
        """The inner manifold's metric."""
        return self.manifold.metric

    @property
    def retraction(self) -> Retraction:
        """The inner manifold's retraction."""
        return self.manifold.retraction

    # Built once for each view: a step looks one row up.

    @functools.cached_property
    def metrics(self) -> Mapping[type[Metric], MetricRule]:
        """The inner manifold's table, adapted to the view."""
        return {kind: seen_metric(rule) for kind, rule in self.manifold.metrics.items()}

    @functools.cached_property
    def retractions(self) -> Mapping[type[Retraction], RetractionRule]:
        """The inner manifold's table, adapted to the view."""
        return {kind: seen_retraction(rule) for kind, rule in self.manifold.retractions.items()}

    def parts(self, numbers: Tensor, x: Tensor) -> Tensor:
        """One number for each inner point, gathered for each outer point: `(*batch, parts)`."""
        cut = x.ndim - self.event_ndim
        inner = self.inner_shape(tuple(x.shape[cut:]))
        return numbers.reshape(*x.shape[:cut], math.prod(inner[: -self.manifold.event_ndim]))

    def residual(self, x: Tensor) -> Tensor:
        """The largest residual of the inner points."""
        return self.parts(self.manifold.residual(self.inward(x)), x).amax(-1)

    def project(self, z: Tensor) -> Tensor:
        """The nearest point."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        return self.outward(self.manifold.project(self.inward(z)), z.shape)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """The orthogonal projection of `z` to the tangent space at `x`."""
        return self.outward(self.manifold.tangent(self.inward(x), self.inward(z)), z.shape)

    def sample(self, z: Tensor) -> Tensor:
        """Independent inner points."""
        return self.outward(self.manifold.sample(self.inward(z)), z.shape)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a shape that does not arrange inner points."""
        self.manifold.check_shape(self.inner_shape(tuple(shape)))

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """Degrees of freedom of all inner points of one outer point."""
        event = tuple(shape)[max(len(shape) - self.event_ndim, 0) :]
        inner = self.inner_shape(event)
        return self.manifold.dim(inner, dtype) * math.prod(inner[: -self.manifold.event_ndim])

    def _refuse(self, wants: str, shape: tuple[int, ...]) -> ValueError:
        return ValueError(f"{self!r}: a point has {wants}, got the shape {tuple(shape)}")


def on_matrices(
    manifold: Manifold, function: Callable[..., Tensor], x: Tensor, *others: Tensor
) -> Tensor:
    """`function` of points and vectors as matrices; its value is converted back.

    The matrices of a view are its inner points, and those of a manifold of vectors have one column.
    """
    if isinstance(manifold, View):
        inner = on_matrices(manifold.manifold, function, *map(manifold.inward, (x, *others)))
        return manifold.outward(inner, x.shape)
    ones = [1] * (2 - manifold.event_ndim)
    return function(*(z.reshape(*z.shape, *ones) for z in (x, *others))).reshape(x.shape)


def require_tensors(view: View) -> None:
    """Refuse a view of a product, whose points are not tensors, or of another object."""
    require_manifold(type(view).__name__, view.manifold)
    if not isinstance(view.manifold.event_ndim, int):
        raise ValueError(
            f"{type(view).__name__}: a point of {view.manifold!r} is not one tensor; put the view "
            f"around its factors"
        )


@dataclass(frozen=True)
class Blocks(View):
    """`count` blocks stacked along the rows, each a point of `manifold`: `(*batch, k n, p)`.

    The `weight_hh` of an LSTM stacks its gates in this way (4 blocks), and that of a GRU too (3).


    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Blocks(tm.SpecialOrthogonal(), 4)
        >>> M.dim((4 * 3, 3))
        12
    """

    count: int

    def __post_init__(self) -> None:
        """Refuse a count that is not a positive integer."""
        require_tensors(self)
        require_count("Blocks", "count", self.count)

    @property
    def event_ndim(self) -> int:
        """The number of one block."""
        return self.manifold.event_ndim

    def inward(self, x: Tensor) -> Tensor:
        """`(*batch, k n, p)` to `(*batch, k, n, p)`."""
        return x.unflatten(-self.event_ndim, (self.count, -1))

    def outward(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        """`(*batch, k, n, p)` to `(*batch, k n, p)`."""
        return y.reshape(shape)

    def inner_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """`(*batch, k, n, p)`."""
        cut = len(shape) - self.event_ndim
        if cut < 0 or shape[cut] % self.count:
            raise self._refuse(f"a number of rows that is a multiple of {self.count}", shape)
        return (*shape[:cut], self.count, shape[cut] // self.count, *shape[cut + 1 :])


@dataclass(frozen=True)
class Flattened(View):
    """Tensors `(*batch, out, ...)` of `ndim` dimensions as matrices `(*batch, out, rest)`.

    A convolution kernel `(out, in, kh, kw)` is constrained as the matrix `(out, in kh kw)`. The
    kernel of a transposed convolution, `(in, out, kh, kw)`, needs `rows=1` for this. If the points
    of `manifold` are vectors, a tensor is the vector of all its entries: the points of
    `Flattened(Sphere(), 2)` are the matrices of Frobenius norm 1.

    Args:
        manifold: the manifold of the matrices, or of the vectors.
        ndim: the number of dimensions of a tensor.
        rows: the dimension that gives the rows.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.Flattened(tm.Transposed(tm.Stiefel()), ndim=4)
        >>> M.random(8, 3, 3, 3).shape
        torch.Size([8, 3, 3, 3])
    """

    ndim: int = 4
    rows: int = 0

    def __post_init__(self) -> None:
        """Refuse a number of dimensions below 2, and rows that are not a dimension."""
        require_tensors(self)
        if not isinstance(self.ndim, int) or self.ndim < 2:
            raise ValueError(f"Flattened: ndim must be an integer of at least 2, got {self.ndim!r}")
        if self.rows not in range(self.ndim):
            raise ValueError(
                f"Flattened: rows must be a dimension, 0 to {self.ndim - 1}, got {self.rows!r}"
            )
        if self.manifold.event_ndim not in (1, 2):
            raise ValueError(
                f"Flattened: a point of {self.manifold!r} is neither a matrix nor a vector"
            )

    @property
    def event_ndim(self) -> int:
        """`ndim`."""
        return self.ndim

    def inward(self, x: Tensor) -> Tensor:
        """`(*batch, out, ...)` to `(*batch, out, rest)`."""
        kept = self.manifold.event_ndim - 1
        return x.movedim(self.rows - self.ndim, -self.ndim).flatten(kept - self.ndim)

    def outward(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        """`(*batch, out, rest)` to `(*batch, out, ...)`."""
        return y.reshape(self._rows_first(shape)).movedim(-self.ndim, self.rows - self.ndim)

    def inner_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """`(*batch, out, rest)`."""
        if len(shape) < self.ndim:
            raise self._refuse(f"{self.ndim} dimensions", shape)
        moved = self._rows_first(shape)
        cut = len(shape) - self.ndim + self.manifold.event_ndim - 1
        return (*moved[:cut], math.prod(moved[cut:]))

    def _rows_first(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        cut = len(shape) - self.ndim
        event = list(shape[cut:])
        return (*shape[:cut], event.pop(self.rows), *event)


@dataclass(frozen=True)
class Transposed(View):
    """Matrices whose transpose is a point of `manifold`: orthonormal rows, for example.

    Example:
        >>> import torch, torchmanifold as tm
        >>> x = tm.Transposed(tm.Stiefel()).random(3, 8)
        >>> torch.allclose(x @ x.mT, torch.eye(3), atol=1e-6)
        True
    """

    def __post_init__(self) -> None:
        """Refuse manifolds of vectors."""
        require_tensors(self)
        if self.manifold.event_ndim < 2:
            raise ValueError(f"Transposed: a point of {self.manifold!r} is not a matrix")

    @property
    def event_ndim(self) -> int:
        """The number of the inner manifold."""
        return self.manifold.event_ndim

    def inward(self, x: Tensor) -> Tensor:
        """The transpose."""
        return x.mT

    def outward(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The transpose."""
        return y.mT

    def inner_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The last two sizes swapped."""
        if len(shape) < self.event_ndim:
            raise self._refuse(f"{self.event_ndim} dimensions", shape)
        return (*shape[:-2], shape[-1], shape[-2])
