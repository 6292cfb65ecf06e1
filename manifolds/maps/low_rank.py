"""Functions of singular values: truncation to a rank, bounds; and the factored low-rank weight.

An odd function `f` acts on a matrix through its singular values, `U diag(f(s)) V'`. Its
derivative needs `f[s_i, s_j]` and `f[s_i, -s_j] = (f(s_i) + f(s_j)) / (s_i + s_j)`, and is
finite where singular values coincide; differentiating an SVD divides by zero there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import adjoint, in_working_precision
from torchmanifold.manifolds.maps.batching import MatrixFunction
from torchmanifold.manifolds.maps.domain import require_finite, single, slack
from torchmanifold.manifolds.maps.orthonormal import polar
from torchmanifold.manifolds.maps.sets import SetMap, of_rank, semidefinite
from torchmanifold.manifolds.maps.spectral import (
    SpectralFunction,
    directional_derivative,
    semidefinite_factor,
    spd_exp,
    svd,
)

__all__ = [
    "FixedRank",
    "LowRank",
    "PositiveSemidefinite",
    "SpectralBound",
    "clamp_singular_values",
    "truncate",
]


def _blocks(z: Tensor) -> Tensor:
    """`[[0, z], [z', 0]]`: its eigenvalues are plus and minus the singular values of `z`."""
    n, p = z.shape[-2:]
    top = torch.cat([z.new_zeros(*z.shape[:-2], n, n), z], -1)
    bottom = torch.cat([adjoint(z), z.new_zeros(*z.shape[:-2], p, p)], -1)
    return torch.cat([top, bottom], -2)


class _Singular(MatrixFunction):
    """`U diag(f(s)) V'` for `f(s)` given by `value`.

    `fit` gives the odd function, from the singular values or from the eigenvalues of `_blocks(z)`.
    """

    @staticmethod
    def forward(
        z: Tensor,
        value: Callable[[Tensor], Tensor],
        fit: Callable[[Tensor], SpectralFunction],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        u, s, vh = svd(z)
        return (u * value(s).unsqueeze(-2)) @ vh, u, s, vh

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        z, _, ctx.fit = inputs
        _, *factors = output
        ctx.mark_non_differentiable(*factors)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(z, *factors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, None, None]:
        if grad is None:
            return None, None, None
        z, u, s, vh = ctx.saved_tensors
        n, p = z.shape[-2:]
        if torch.is_grad_enabled():
            # To be differentiated again: as a function of the symmetric matrix of the blocks.
            whole = directional_derivative(_blocks(z), _blocks(grad), ctx.fit)
            return whole[..., :n, n:], None, None
        first = ctx.fit(s).first
        x, y = s.unsqueeze(-1), s.unsqueeze(-2)
        left, right = adjoint(u) @ grad, grad @ adjoint(vh)
        e = left @ adjoint(vh)
        inner = first(x, y) * (e + adjoint(e)) / 2 + first(x, -y) * (e - adjoint(e)) / 2
        g = u @ inner @ vh
        slope = first(s, torch.zeros_like(s))
        if n > p:
            g = g + ((right - u @ e) * slope.unsqueeze(-2)) @ vh
        elif n < p:
            g = g + u @ (slope.unsqueeze(-1) * (left - e @ vh))
        return g, None, None


def _quotient(x: Tensor, y: Tensor, fx: Tensor, fy: Tensor) -> Tensor:
    gap = x - y
    zero = gap == 0
    return ((fx - fy) / gap.masked_fill(zero, 1)).masked_fill(zero, 0)


def _piecewise_linear(
    value: Callable[[Tensor], Tensor], piece: Callable[[Tensor], Tensor]
) -> SpectralFunction:
    """Divided differences of a function that is linear on pieces.

    `piece` numbers the pieces, so that points of one piece need no quotient: the first
    difference there is the slope, and the second is zero. Odd numbers have slope 1, even 0.
    """

    def first(x: Tensor, y: Tensor) -> Tensor:
        x, y = torch.broadcast_tensors(x, y)
        i, j = piece(x), piece(y)
        return torch.where(i == j, (i % 2).to(x.dtype), _quotient(x, y, value(x), value(y)))

    def second(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        low, mid, high = torch.stack(torch.broadcast_tensors(x, y, z)).sort(0).values.unbind(0)
        difference = _quotient(high, low, first(mid, high), first(low, mid))
        i, j, k = piece(low), piece(mid), piece(high)
        return difference.masked_fill((i == j) & (j == k), 0)

    return SpectralFunction(value, first, second)


@in_working_precision
def truncate(z: Tensor, rank: int) -> Tensor:
    """Nearest matrix of rank at most `rank`: the singular value decomposition, truncated.

    The derivative is finite also where singular values coincide, as long as the last kept one
    is larger than the first dropped one (otherwise the nearest matrix is not unique).

    Args:
        z: `(*batch, n, p)`.
        rank: number of singular values kept.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import truncate
        >>> truncate(torch.diag(torch.tensor([3.0, 1.0])), 1)
        tensor([[3., 0.],
                [0., 0.]])

    Source: Eckart and Young, Psychometrika 1 (1936); Vandereycken, Low-rank matrix completion
    by Riemannian optimization, SIAM J. Optim. 23 (2013).
    """
    everything = rank >= min(z.shape[-2:])

    def value(s: Tensor) -> Tensor:
        return s * (torch.arange(s.shape[-1], device=s.device) < rank)

    def fit(spectrum: Tensor) -> SpectralFunction:
        if everything:
            # Every singular value is kept, also a zero one; the map is the identity.
            return SpectralFunction(
                lambda x: x,
                lambda x, y: torch.ones_like(x + y),
                lambda x, y, z: torch.zeros_like(x + y + z),
            )
        cut = spectrum.topk(rank + 1).values[..., rank - 1 :].mean(-1)

        def kept(x: Tensor) -> Tensor:
            return x.abs() > cut.reshape(cut.shape + (1,) * (x.ndim - cut.ndim))

        # All kept points lie on one line through zero, whatever their sign.
        return _piecewise_linear(lambda x: x * kept(x), lambda x: kept(x).long())

    return _Singular.apply(z, value, fit)[0]


@in_working_precision
def clamp_singular_values(z: Tensor, low: float, high: float) -> Tensor:
    """Nearest matrix with all singular values between `low` and `high`.

    With `low = high = 1` the polar factor; with `low = 0` the projection onto the ball of the
    spectral norm. The derivative is finite at repeated singular values.

    Args:
        z: `(*batch, n, p)`; of full rank if `low > 0`.
        low: least singular value, at least 0.
        high: largest singular value.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import clamp_singular_values
        >>> clamp_singular_values(torch.diag(torch.tensor([3.0, 0.5])), 0.0, 1.0)
        tensor([[1.0000, 0.0000],
                [0.0000, 0.5000]])

    Source: Bhatia, Matrix Analysis (1997), chapter IX.
    """
    if z.numel() == 0:
        return z

    def fit(spectrum: Tensor) -> SpectralFunction:
        # The square matrix of the blocks has zero eigenvalues of rounding size, which must not
        # be taken for small singular values.
        noise = 100 * torch.finfo(spectrum.dtype).eps * spectrum.amax(-1, keepdim=True)

        def sign(x: Tensor) -> Tensor:
            zero = x.abs() <= noise.reshape(noise.shape + (1,) * (x.ndim - noise.ndim))
            return x.sign().masked_fill(zero, 0)

        def value(x: Tensor) -> Tensor:
            return x.abs().clamp(low, high) * sign(x)

        def piece(x: Tensor) -> Tensor:
            size = x.abs()
            level = torch.where(size >= high, 4, torch.where(size > low, 3, 2))
            number = 10 + sign(x).long() * level
            # Without a lower bound the two pieces in the middle are one, through zero.
            return number if low > 0 else torch.where(size < high, 9, number)

        return _piecewise_linear(value, piece)

    return _Singular.apply(z, lambda s: s.clamp(low, high), fit)[0]


def _leading(z: Tensor, rank: int, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """`u`, `diag(s)`, `v` of the truncated singular value decomposition."""
    if z.ndim < 2 or min(z.shape[-2:]) < rank:
        raise ValueError(
            f"{name}.right_inverse: rank {rank} needs both dimensions at least that large, got "
            f"shape {tuple(z.shape)}"
        )
    require_finite(z, name)
    factors = _truncated(z, rank)
    require_finite(factors[1], name)  # a singular value may be larger than all entries
    return factors


@in_working_precision
def _truncated(z: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    u, s, vh = torch.linalg.svd(z, full_matrices=False)
    m = torch.diag_embed(s[..., :rank]).to(z.dtype)
    return u[..., :rank].contiguous(), m, adjoint(vh[..., :rank, :]).contiguous()


class _OfRank(SetMap):
    """A map of factors, whose number of columns is the rank."""

    batched = True

    def __init__(self, rank: int) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"{type(self).__name__}: rank must be at least 1, got {rank}")
        self.rank = rank

    @property
    def config(self) -> tuple[int]:
        """What must agree for two of these maps to be evaluated together."""
        return (self.rank,)

    def _point(self, z: Tensor) -> Tensor:
        return self.project(z)


class LowRank(_OfRank):
    """`U M V'` with orthonormal `U` (n x r), `V` (p x r) and a full `r x r` matrix `M`.

    A full `M` keeps the Jacobian at the rank of the manifold also where singular values
    coincide, where a diagonal one loses it. The factors of the parametrization may be any
    full-rank matrices; their polar factors are used.

    Args:
        rank: r.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import LowRank
        >>> map = LowRank(1)
        >>> [tuple(factor.shape) for factor in map.right_inverse(torch.ones(2, 3))]
        [(2, 1), (1, 1), (3, 1)]

    Source: Vandereycken, Low-rank matrix completion by Riemannian optimization, SIAM J. Optim.
    23 (2013); Meyer, Bonnabel and Sepulchre, ICML 2011.
    """

    @in_working_precision
    def forward(self, u: Tensor, m: Tensor, v: Tensor) -> Tensor:
        """`polar(u) m polar(v)'`."""
        return polar(u) @ m @ adjoint(polar(v))

    def project(self, z: Tensor) -> Tensor:
        """The nearest matrix of rank `rank` at most: the truncated singular value decomposition."""
        return truncate(z, self.rank)

    def right_inverse(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Factors of the nearest matrix of this rank, by the truncated SVD."""
        return _leading(z, self.rank, type(self).__name__)


class FixedRank(_OfRank):
    """`U exp(S) V'` with orthonormal `U` (n x r), `V` (p x r) and symmetric `S`: of rank r always.

    Every matrix of rank r is `U P V'` with positive definite `P`, and the Jacobian has the rank of
    the manifold everywhere: a value cannot lose rank, as one of `LowRank` can. The factors of the
    parametrization may be any full-rank `u`, `v` and any `m`; polar factors and the symmetric
    part are used.

    Args:
        rank: r.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import FixedRank
        >>> FixedRank(1)(torch.eye(2, 1), torch.zeros(1, 1), torch.eye(3, 1))
        tensor([[1., 0., 0.],
                [0., 0., 0.]])

    Source: Meyer, Bonnabel and Sepulchre, Linear regression under fixed-rank constraints: a
    Riemannian approach, ICML 2011, section 3.2 (the polar factorization).
    """

    @in_working_precision
    def forward(self, u: Tensor, m: Tensor, v: Tensor) -> Tensor:
        """`polar(u) exp(sym(m)) polar(v)'`."""
        return polar(u) @ spd_exp(m) @ adjoint(polar(v))

    def project(self, z: Tensor) -> Tensor:
        """The truncated SVD; a vanishing singular value becomes a hundredth of the largest."""
        return of_rank(z, self.rank, type(self).__name__)

    def right_inverse(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Factors of the nearest matrix of this rank, by the truncated SVD.

        Raises:
            ValueError: a side of `z` is shorter than the rank, or `z` has a smaller rank.
        """
        name = type(self).__name__
        u, s, v = _leading(z, self.rank, name)
        return u, _log_diagonal(s, max(z.shape[-2:]), name), v


class PositiveSemidefinite(_OfRank):
    """`U exp(S) U'` with orthonormal `U` (n x r) and symmetric `S`: semidefinite, of rank r always.

    Args:
        rank: r.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import PositiveSemidefinite
        >>> PositiveSemidefinite(1)(torch.ones(2, 1), torch.zeros(1, 1))
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])

    Source: Bonnabel and Sepulchre, Riemannian metric and geometric mean for positive semidefinite
    matrices of fixed rank, SIAM J. Matrix Anal. Appl. 31 (2009), section 2.
    """

    @in_working_precision
    def forward(self, u: Tensor, m: Tensor) -> Tensor:
        """`polar(u) exp(sym(m)) polar(u)'`."""
        factor = polar(u) @ spd_exp(m / 2)  # symmetric to the last bit, and semidefinite
        return factor @ adjoint(factor)

    def project(self, z: Tensor) -> Tensor:
        """The largest eigenvalues of `sym(z)`; for one not positive, a hundredth of the first."""
        return semidefinite(z, self.rank, type(self).__name__)

    def right_inverse(self, p: Tensor) -> tuple[Tensor, Tensor]:
        """Eigenvectors, and logarithms of the eigenvalues.

        Raises:
            ValueError: `p` is not symmetric positive semidefinite of this rank.
        """
        name = type(self).__name__
        # p = z z' with z = u s v', hence u s^2 u'.
        u, s, _ = _leading(semidefinite_factor(p, self.rank, name), self.rank, name)
        return u, 2 * _log_diagonal(s, p.shape[-1], name)


@in_working_precision
def _log_diagonal(s: Tensor, size: int, name: str) -> Tensor:
    """Logarithm of a diagonal matrix of singular values, none of which may vanish."""
    values = s.diagonal(dim1=-2, dim2=-1)
    if not s.is_meta:
        least, most = values[..., -1].real, values[..., 0].real
        if not bool((least > size * torch.finfo(s.dtype).eps * most).all()):
            raise ValueError(
                f"{name}.right_inverse: the matrix has a smaller rank than {s.shape[-1]}: its "
                f"singular value number {s.shape[-1]} is {float(least.min()):.3g}"
            )
    return torch.diag_embed(values.log())


class SpectralBound(SetMap):
    """Singular values between `low` and `high`, by projection.

    `SpectralBound()` bounds the spectral norm by 1; `SpectralBound(1 - a, 1 + a)` is almost
    orthogonal. The gradient along a singular value beyond the bounds is zero.

    Args:
        low: least singular value.
        high: largest singular value.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import SpectralBound
        >>> SpectralBound()(3 * torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])
    """

    batched = True

    def __init__(self, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        if not 0 <= low <= high:
            raise ValueError(f"SpectralBound: needs 0 <= low <= high, got low={low}, high={high}")
        self.low, self.high = low, high

    @property
    def config(self) -> tuple[float, float]:
        """What must agree for two of these maps to be evaluated together."""
        return (self.low, self.high)

    def forward(self, z: Tensor) -> Tensor:
        """`clamp_singular_values(z, low, high)`."""
        return clamp_singular_values(z, self.low, self.high)

    def project(self, z: Tensor) -> Tensor:
        """`clamp_singular_values(z, low, high)`, the nearest matrix."""
        return self(z)

    def right_inverse(self, x: Tensor) -> Tensor:
        """`x` itself; raises ValueError if a singular value is out of bounds."""
        require_finite(x, "SpectralBound")
        if x.is_meta or x.numel() == 0:
            return x
        s = torch.linalg.svdvals(single(x))
        off = slack(x) / 10 * max(self.high, 1.0)
        if not bool(((s >= self.low - off) & (s <= self.high + off)).all()):
            raise ValueError(
                f"SpectralBound.right_inverse: singular values lie in [{float(s.amin()):.4g}, "
                f"{float(s.amax()):.4g}], not in [{self.low:g}, {self.high:g}]; take "
                f"torchmanifold.maps.SpectralBound({self.low}, {self.high}).project(x)"
            )
        return x
