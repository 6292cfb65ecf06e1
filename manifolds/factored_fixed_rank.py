"""Matrices of a fixed rank, held as factors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry import (
    EuclideanMetric,
    Manifold,
    Metric,
    MetricRule,
    Orthographic,
    Retraction,
    RetractionRule,
    guarded,
    is_complex,
    keep_coordinates,
    require_count,
)
from torchmanifold.manifolds.linalg import (
    adjoint,
    event_sum,
    gram_residual,
    in_working_precision,
    inverse,
    svd,
    sym,
)

__all__ = ["FactoredFixedRank"]

# A tuple of tensors: the factors (u, s, v) of a point u s v', or the velocities of these three.
Factors = Any


def _floor(u: Tensor, v: Tensor) -> float:
    """The least singular value of a point over the largest; rounding errors are smaller."""
    return 10 * max(u.shape[-2], v.shape[-2]) * torch.finfo(u.dtype).eps


def _off(q: Tensor, z: Tensor) -> Tensor:
    """`z - q q'z`."""
    return z - q @ (adjoint(q) @ z)


def _orthonormal(left: Tensor, middle: Tensor, right: Tensor, floor: float) -> Factors:
    """Factors of `left middle right'`, with the polar factors of `left` and `right`."""
    u, v = maps.polar(left), maps.polar(right)
    core = sym(adjoint(u) @ left) @ middle @ sym(adjoint(v) @ right)
    return u, maps.truncate(core, core.shape[-1], floor), v


def _inner(M: FactoredFixedRank, x: Factors, a: Factors, b: Factors) -> Tensor:
    s = x[1]
    inner: Tensor = (
        event_sum((a[0] @ s).conj() * (b[0] @ s), 2)
        + event_sum(a[1].conj() * b[1], 2)
        + event_sum((a[2] @ adjoint(s)).conj() * (b[2] @ adjoint(s)), 2)
    )
    return inner


def _coordinates(M: FactoredFixedRank, x: Factors, c: Factors) -> Factors:
    u, s, v = x
    down = inverse(s)
    return _off(u, c[0]) @ down, c[1], _off(v, c[2]) @ adjoint(down)


def _inverse_coordinates(M: FactoredFixedRank, x: Factors, a: Factors) -> Factors:
    return a[0] @ x[1], a[1], a[2] @ adjoint(x[1])


def _gradient(M: FactoredFixedRank, x: Factors, egrad: Factors) -> Factors:
    u, s, v = x
    down = inverse(s)
    up = adjoint(down)
    return _off(u, egrad[0]) @ up @ down, egrad[1], _off(v, egrad[2]) @ down @ up


def _hessian(
    M: FactoredFixedRank, x: Factors, egrad: Factors, ehess: Factors, a: Factors
) -> Factors:
    # The second derivative along the horizontal lift of a curve without tangential acceleration:
    # u'' = -u u_t'u_t - 2 u_t s_t s^-1, s'' = u_t'u_t s + s v_t'v_t, and v'' as u''.
    u, s, v = x
    up = adjoint(inverse(s))
    left, middle, right = egrad
    bend_left = sym(middle @ adjoint(s) - adjoint(u) @ left)
    bend_right = sym(adjoint(s) @ middle - adjoint(v) @ right)
    return _gradient(
        M,
        x,
        (
            ehess[0] + a[0] @ bend_left - left @ up @ adjoint(a[1]),
            ehess[1] - adjoint(a[0]) @ left @ up - up @ adjoint(right) @ a[2],
            ehess[2] + a[2] @ bend_right - right @ adjoint(up) @ a[1],
        ),
    )


def _retract(M: FactoredFixedRank, x: Factors, a: Factors) -> Factors:
    u, s, v = x
    # A step that would lose rank ends at the least singular value that a point can have.
    middle = maps.truncate(s + a[1], s.shape[-1], _floor(u, v))
    down = inverse(middle)
    left = u + _off(u, a[0]) @ s @ down
    right = v + _off(v, a[2]) @ adjoint(s) @ adjoint(down)
    return _orthonormal(left, middle, right, _floor(u, v))


def _inverse_retract(M: FactoredFixedRank, x: Factors, y: Factors) -> Factors:
    u, s, v = x
    left, middle, right = y
    to_v, to_u = middle @ (adjoint(right) @ v), adjoint(middle) @ (adjoint(left) @ u)
    step = (_off(u, left @ to_v), adjoint(u) @ left @ to_v - s, _off(v, right @ to_u))
    return _coordinates(M, x, step)


@dataclass(frozen=True)
class FactoredFixedRank(Manifold):
    r"""Matrices of rank `rank`, held as factors `(u, s, v)` of `x = u s v'`, never dense.

    `u` is `(*batch, n, rank)` and `v` is `(*batch, p, rank)`, both with orthonormal columns, and
    `s` is any nonsingular matrix `(*batch, rank, rank)`. The factors `(u q, q's r, v r)` with
    orthogonal `q` and `r` stand for the same matrix, so a loss must not depend on `q` and `r`.
    Points are tuples, which `tm.minimize` and `tm.least_squares` take as they are.

    A tangent vector holds the velocities of the three factors, with `u'u_t = 0` and `v'v_t = 0`. It
    stands for the matrix `u_t s v' + u s_t v' + u s v_t'`, and the metric is the Frobenius inner
    product of these matrices: the geometry of `FixedRank`. `Orthographic` is a retraction of
    second order. No step costs more than `O((n + p) rank^2)` operations.

    The manifold is not closed. `project` gives factors of the same matrix, with singular values
    lifted to `10 max(n, p) eps` of the largest. The residual is the larger one of `||u'u - I||_F`
    and `||v'v - I||_F`, and at least 1 if the rank is less.

    Args:
        rank: the rank, at least 1.

    Source: Vandereycken, Low-rank matrix completion by Riemannian optimization, SIAM J. Optim.
    23, 2013, sections 2 and 3; Absil & Oseledets, Low-rank retractions: a survey and new results,
    Comput. Optim. Appl. 62, 2015, section 3.2, for the retraction.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.FactoredFixedRank(2)
        >>> u, s, v = M.random(M.shape(60, 50), generator=torch.Generator().manual_seed(0))
        >>> u.shape, s.shape, v.shape
        (torch.Size([60, 2]), torch.Size([2, 2]), torch.Size([50, 2]))
        >>> u, s, v = M.factors(torch.ones(4, 3) + torch.eye(4, 3))  # the nearest point
    """

    rank: int
    metric: Metric = EuclideanMetric()
    retraction: Retraction = Orthographic()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "either"
    event_ndim: ClassVar[Any] = (2, 2, 2)
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        EuclideanMetric: MetricRule(
            inner=_inner,
            gradient=_gradient,
            coordinates=_coordinates,
            inverse_coordinates=_inverse_coordinates,
            carry=keep_coordinates,
            hessian=_hessian,
        )
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Orthographic: RetractionRule(_retract, {EuclideanMetric: 2}, _inverse_retract)
    }

    def __post_init__(self) -> None:
        """Refuse a rank that is not a positive integer."""
        require_count("FactoredFixedRank", "rank", self.rank)
        super().__post_init__()

    def shape(self, *size: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """The shapes of the factors of matrices of size `(*batch, n, p)`."""
        if len(size) < 2 or not all(isinstance(k, int) for k in size):
            raise ValueError(
                f"FactoredFixedRank.shape: expected the sizes of a matrix, as in shape(60, 50), "
                f"got {size}"
            )
        *batch, n, p = size
        k = self.rank
        return (*batch, n, k), (*batch, k, k), (*batch, p, k)

    def factors(self, matrix: Tensor) -> Factors:
        """The factors of the nearest point to a dense matrix `(*batch, n, p)`."""
        k = self.rank
        u, s, vh = svd(matrix)
        middle = torch.diag_embed(s[..., :k]).to(matrix.dtype)
        factors: Factors = self.project((u[..., :k], middle, adjoint(vh)[..., :k]))
        return factors

    def dense(self, x: Factors) -> Tensor:
        """The matrix `u s v'`, `(*batch, n, p)`."""
        u, s, v = x
        return u @ s @ adjoint(v)

    def residual(self, x: Any) -> Tensor:
        """The residual of both bases; at least 1 for a matrix of smaller rank."""
        u, s, v = x
        worst = torch.maximum(gram_residual(u), gram_residual(v))
        wide = s.to(torch.promote_types(s.dtype, torch.float64))
        values = torch.linalg.svdvals(torch.nan_to_num(wide))
        lost = values[..., -1] <= _floor(u, v) / 2 * values[..., 0]
        worst = torch.where(lost, worst.clamp_min(1.0), worst)
        return torch.where(torch.isfinite(wide).all(-1).all(-1), worst, torch.nan)

    @in_working_precision
    def project(self, z: Any) -> Any:
        """Factors of the same matrix with orthonormal `u` and `v`, and a lifted rank."""
        self.check_shape(tuple(tuple(part.shape) for part in z))
        for part in z:
            self.check_dtype(part.dtype)
        u, s, v = z
        return _orthonormal(u, s, v, _floor(u, v))

    @guarded
    def tangent(self, x: Any, z: Any) -> Any:
        """`(z_u - u u'z_u, z_s, z_v - v v'z_v)`."""
        return _off(x[0], z[0]), z[1], _off(x[2], z[2])

    @in_working_precision
    def sample(self, z: Any) -> Any:
        """The factors of `z_u z_v' / rank^(1/2)`; the normal `z_s` is not needed."""
        u, s, v = z
        return _orthonormal(u, torch.eye(self.rank).to(s).expand(s.shape) / self.rank**0.5, v, 0.0)

    def check_shape(self, shape: Any) -> None:
        """Refuse anything but the shapes of three factors."""
        k = self.rank
        sizes = shape if isinstance(shape, tuple | list) else ()
        fits = len(sizes) == 3 and all(
            isinstance(part, tuple | list) and len(part) >= 2 and part[-1] == k for part in sizes
        )
        if not fits or sizes[1][-2] != k or min(sizes[0][-2], sizes[2][-2]) < k:
            raise ValueError(
                f"FactoredFixedRank({k}): a point has factors of the shapes (n, {k}), ({k}, {k}) "
                f"and (p, {k}) with n, p >= {k}, got {shape}; shape(n, p) gives them for an "
                f"n x p matrix"
            )

    def dim(self, shape: Any, dtype: torch.dtype | None = None) -> int:
        """`(n + p - rank) rank`, and twice as many for complex matrices."""
        self.check_shape(shape)
        degrees: int = (shape[0][-2] + shape[2][-2] - self.rank) * self.rank
        return 2 * degrees if is_complex(dtype) else degrees
