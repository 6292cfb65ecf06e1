"""Matrices with columns orthonormal in the inner product of a definite matrix: `x'b x = I`."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.geometry import (
    QR,
    Manifold,
    Metric,
    MetricRule,
    Polar,
    Retraction,
    RetractionRule,
    Weighted,
    guarded,
    is_complex,
)
from torchmanifold.manifolds.linalg import (
    adjoint,
    gram_residual,
    in_working_precision,
    inner,
    solve,
    sym,
)

__all__ = ["GeneralizedGrassmann", "GeneralizedStiefel"]


def _inner(M: _Generalized, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return inner(M.inward(u), M.inward(v))


def _gradient(M: _Generalized, x: Tensor, egrad: Tensor) -> Tensor:
    return M.raised(egrad) - x @ M.within(adjoint(x) @ egrad)


def _coordinates(M: _Generalized, x: Tensor, c: Tensor) -> Tensor:
    return M.outward(c) - x @ M.within(adjoint(M.inward(x)) @ c)


def _inverse_coordinates(M: _Generalized, x: Tensor, u: Tensor) -> Tensor:
    return M.inward(u)


def _orthogonal(M: _Generalized, x: Tensor, z: Tensor) -> Tensor:
    """The projection to the tangent space that is orthogonal in the metric."""
    return z - x @ M.within(adjoint(M.inward(x)) @ M.inward(z))


def _carry(M: _Generalized, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    return _orthogonal(M, y, w)


def _hessian(M: _Generalized, x: Tensor, egrad: Tensor, ehess: Tensor, v: Tensor) -> Tensor:
    return _orthogonal(M, x, M.raised(ehess) - v @ sym(adjoint(x) @ egrad))


def _polar(M: _Generalized, x: Tensor, v: Tensor) -> Tensor:
    return M.outward(maps.polar(M.inward(x + v)))


def _qr(M: _Generalized, x: Tensor, v: Tensor) -> Tensor:
    return M.outward(maps.qr(M.inward(x + v)))


@dataclass(frozen=True, eq=False)
class _Generalized(Manifold):
    """The parts that bases and subspaces share: `a x` is a point of the ordinary manifold.

    `a` is the adjoint of the Cholesky factor of `b`, so `b = a'a`.
    """

    b: Tensor
    metric: Metric = Weighted()
    retraction: Retraction = Polar()

    numbers: ClassVar[Literal["real", "complex", "either"]] = "either"
    event_ndim: ClassVar[int] = 2
    metrics: ClassVar[Mapping[type[Metric], MetricRule]] = {
        Weighted: MetricRule(
            inner=_inner,
            gradient=_gradient,
            coordinates=_coordinates,
            inverse_coordinates=_inverse_coordinates,
            carry=_carry,
            hessian=_hessian,
        )
    }
    retractions: ClassVar[Mapping[type[Retraction], RetractionRule]] = {
        Polar: RetractionRule(_polar, {Weighted: 2}),
        QR: RetractionRule(_qr, {Weighted: 1}),
    }

    def __post_init__(self) -> None:
        """Factor the matrix once.

        Raises:
            TypeError: if `b` is not a tensor of floating point or complex numbers.
            ValueError: if it is not Hermitian and positive definite.
        """
        name, b = type(self).__name__, self.b
        if not isinstance(b, Tensor) or not (b.is_floating_point() or b.is_complex()):
            found = str(b.dtype) if isinstance(b, Tensor) else type(b).__name__
            raise TypeError(f"{name}: b must be a tensor of floating point numbers, got {found}")
        if b.ndim != 2 or b.shape[0] != b.shape[1]:
            raise ValueError(f"{name}: b must be one square matrix, got the shape {tuple(b.shape)}")
        b = b.detach().clone()
        size = float(b.abs().max()) if b.numel() else 0.0
        rounding = 100 * torch.finfo(b.dtype).eps * size
        defect = float((b - adjoint(b)).abs().max())
        if not defect <= rounding:
            raise ValueError(
                f"{name}: b must be Hermitian, b - b' has an entry of size {defect:.3g}; use "
                f"(b + b') / 2"
            )
        wide = b.to(torch.promote_types(b.dtype, torch.float64))
        factor, info = torch.linalg.cholesky_ex(sym(wide))
        if int(info) or not bool(torch.isfinite(factor).all()):
            raise ValueError(
                f"{name}: b must be positive definite, its least eigenvalue is "
                f"{float(torch.linalg.eigvalsh(sym(wide))[0]):.3g}"
            )
        object.__setattr__(self, "b", b)
        entries = hashlib.sha256(b.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        object.__setattr__(self, "_key", (tuple(b.shape), b.dtype, entries.hexdigest()))
        object.__setattr__(self, "_factors", {(wide.dtype, wide.device): adjoint(factor)})
        super().__post_init__()

    def __eq__(self, other: object) -> bool:
        """Whether the choices and the entries of `b` are the same."""
        return isinstance(other, _Generalized) and self._value() == other._value()

    def __hash__(self) -> int:
        """A hash of the choices and of the entries of `b`."""
        return hash(self._value())

    def _value(self) -> tuple[Any, ...]:
        return type(self), self.metric, self.retraction, self._key  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        """The size of the matrix in place of its entries."""
        n = self.b.shape[0]
        return f"{type(self).__name__}(b of {n} x {n}, retraction={self.retraction!r})"

    def _factor(self, like: Tensor) -> Tensor:
        """`a` in the dtype and on the device of a tensor, kept for the next call."""
        kept: dict[Any, Tensor] = self._factors  # type: ignore[attr-defined]
        key = (like.dtype, like.device)
        if key not in kept:
            kept[key] = next(iter(kept.values())).to(device=like.device, dtype=like.dtype)
        return kept[key]

    @abstractmethod
    def within(self, s: Tensor) -> Tensor:
        """The part of the coefficients `s` that a vector `x s` has normal to the manifold."""

    def inward(self, x: Tensor) -> Tensor:
        """`a x`."""
        return self._factor(x) @ x

    def outward(self, y: Tensor) -> Tensor:
        """`a^-1 y`."""
        return torch.linalg.solve_triangular(self._factor(y), y, upper=True)

    def raised(self, e: Tensor) -> Tensor:
        """`b^-1 e`."""
        a = self._factor(e)
        return self.outward(torch.linalg.solve_triangular(adjoint(a), e, upper=False))

    def residual(self, x: Tensor) -> Tensor:
        """`||x'b x - I||_F`, evaluated in float64."""
        return gram_residual(self.inward(x.to(torch.promote_types(x.dtype, torch.float64))))

    def tolerance(self, shape: Any, dtype: torch.dtype) -> float:
        """The rounding of `Stiefel`, times the square root of the condition of `b`."""
        a = next(iter(self._factors.values())).diagonal().abs()  # type: ignore[attr-defined]
        return super().tolerance(shape, dtype) * float(a.max() / a.min())

    @in_working_precision
    def project(self, z: Tensor) -> Tensor:
        """The nearest point in the norm of `b`: `a^-1` times the polar factor of `a z`."""
        self.check_dtype(z.dtype)
        self.check_shape(tuple(z.shape))
        return self.outward(maps.polar(self.inward(z)))

    @in_working_precision
    def sample(self, z: Tensor) -> Tensor:
        """Uniform in the metric: `a^-1` times the Q factor of `z`."""
        return self.outward(maps.qr(z))

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse another number of rows than that of `b`, and a wide matrix."""
        n = self.b.shape[0]
        if len(shape) < 2 or shape[-2] != n or not 1 <= shape[-1] <= n:
            raise ValueError(
                f"{type(self).__name__}: b is {n} x {n}, so a point has {n} rows and at most {n} "
                f"columns, got the shape {tuple(shape)}"
            )


class GeneralizedStiefel(_Generalized):
    r"""Bases that are orthonormal in the inner product of `b`: `x'b x = I`, `(*batch, n, p)`.

    `b` is Hermitian and positive definite, and the metric is `tr(u'b v)`. The manifold is that of
    `Stiefel` under the change of variables `a x` with `b = a'a`. In a generalized eigenproblem
    `A x = b x diag(w)` the minimum of `tr(x'A x)` over the manifold is the sum of the least
    eigenvalues.

    The residual is `||x'b x - I||_F`, whose rounding grows with the condition of `b`. Manifolds are
    equal if their matrices have the same entries.

    Args:
        b: `(n, n)`, Hermitian and positive definite.

    Source: Absil, Mahony & Sepulchre 2008, section 4.5; Sato & Aihara, Cholesky QR-based retraction
    on the generalized Stiefel manifold, Comput. Optim. Appl. 72, 2019.

    Example:
        >>> import torch, torchmanifold as tm
        >>> M = tm.GeneralizedStiefel(torch.diag(torch.tensor([1.0, 4.0, 9.0])))
        >>> x = M.project(torch.eye(3, 2))
        >>> x.diagonal()
        tensor([1.0000, 0.5000])
    """

    def within(self, s: Tensor) -> Tensor:
        """The symmetric part."""
        return sym(s)

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z - b x s` with the symmetric `s` for which `x'b` times it is skew."""
        bx = adjoint(self._factor(x)) @ self.inward(x)
        inside = adjoint(bx) @ z
        return z - bx @ sym(maps.solve_lyapunov(adjoint(bx) @ bx, 2 * sym(inside)))

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`n p - p (p + 1) / 2`, and `2 n p - p^2` for complex matrices."""
        self.check_shape(shape)
        n, p = shape[-2:]
        return 2 * n * p - p * p if is_complex(dtype) else n * p - p * (p + 1) // 2


class GeneralizedGrassmann(_Generalized):
    r"""Subspaces, each held as a basis `x` with `x'b x = I`, `(*batch, n, p)`.

    `x` and `x q` with orthogonal `q` are the same point, so a loss must not depend on the basis.
    Tangent vectors are horizontal, `x'b v = 0`, and the metric is `tr(u'b v)`: the geometry of
    `Grassmann` under the change of variables `a x` with `b = a'a`.

    Args:
        b: `(n, n)`, Hermitian and positive definite.

    Source: Absil, Mahony & Sepulchre 2008, section 4.5; Edelman, Arias & Smith 1998, section 2.5.

    Example:
        >>> import torch, torchmanifold as tm
        >>> b = torch.diag(torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64))
        >>> a = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))
        >>> M = tm.GeneralizedGrassmann(b)
        >>> x0 = M.random(3, 2, dtype=torch.float64)
        >>> result = tm.minimize(lambda x: (x * (a @ x)).sum(), x0, M)
        >>> round(result.fun, 6)  # 1/4 + 2/2, the least eigenvalues of the pencil
        1.25
    """

    def within(self, s: Tensor) -> Tensor:
        """All of them."""
        return s

    @guarded
    def tangent(self, x: Tensor, z: Tensor) -> Tensor:
        """`z` without its part in the span of `b x`."""
        bx = adjoint(self._factor(x)) @ self.inward(x)
        return z - bx @ solve(adjoint(bx) @ bx, adjoint(bx) @ z)

    def dim(self, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> int:
        """`p (n - p)`, and twice as many for complex matrices."""
        self.check_shape(shape)
        n, p = shape[-2:]
        return p * (n - p) * (2 if is_complex(dtype) else 1)
