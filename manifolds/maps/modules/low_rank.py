"""Matrices of low rank and of bounded spectral norm, as modules."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import adjoint, in_working_precision, single
from torchmanifold.manifolds.maps.modules.definite import semidefinite_factor
from torchmanifold.manifolds.maps.modules.domain import require_finite, require_matrix, slack
from torchmanifold.manifolds.maps.modules.sets import SetMap, of_rank, semidefinite
from torchmanifold.manifolds.maps.polar import polar
from torchmanifold.manifolds.maps.singular import clamp_singular_values, truncate
from torchmanifold.manifolds.maps.spectral import spd_exp

__all__ = ["FixedRank", "LowRank", "PositiveSemidefinite", "SpectralBound"]


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
        """The settings; maps with equal settings can be evaluated together."""
        return (self.rank,)

    def _point(self, z: Tensor) -> Tensor:
        return self.project(z)


class LowRank(_OfRank):
    """`U M V'` with orthonormal `U` (n x r), `V` (p x r) and a full `r x r` matrix `M`.

    With a full `M` the Jacobian has the rank of the manifold even where singular values coincide;
    with a diagonal `M` it would lose rank there. The factors of the parametrization may be any
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
        """`polar(u) m polar(v)'`.

        Raises:
            ValueError: for factors of other shapes.
        """
        k = self.rank
        shapes = [tuple(part.shape) for part in (u, m, v)]
        fits = all(len(shape) >= 2 and shape[-1] == k for shape in shapes)
        if not (fits and m.shape[-2] == k and min(u.shape[-2], v.shape[-2]) >= k):
            raise ValueError(
                f"{type(self).__name__}({k}): expected factors of the shapes (n, {k}), ({k}, {k}) "
                f"and (p, {k}) with n, p >= {k}, got {', '.join(map(str, shapes))}"
            )
        return polar(u) @ m @ adjoint(polar(v))

    def project(self, z: Tensor) -> Tensor:
        """The nearest matrix of rank `rank` at most: the truncated singular value decomposition."""
        return truncate(z, self.rank)

    def right_inverse(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Factors of the nearest matrix of this rank, by the truncated SVD."""
        return _leading(z, self.rank, type(self).__name__)


class FixedRank(_OfRank):
    """`U exp(S) V'` with orthonormal `U` (n x r), `V` (p x r) and symmetric `S`; always of rank r.

    Every matrix of rank r is `U P V'` with positive definite `P`, and the Jacobian has the rank of
    the manifold everywhere. A value cannot lose rank, as a value of `LowRank` can. The factors of
    the parametrization may be any full-rank `u`, `v` and any `m`; polar factors and the symmetric
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
    """`U exp(S) U'` with orthonormal `U` (n x r) and symmetric `S`; semidefinite, always of rank r.

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
        """The largest eigenvalues of `sym(z)`; at least a hundredth of the first."""
        return semidefinite(z, self.rank, type(self).__name__)

    def right_inverse(self, p: Tensor) -> tuple[Tensor, Tensor]:
        """Eigenvectors, and logarithms of the eigenvalues.

        Raises:
            ValueError: `p` is not symmetric positive semidefinite of this rank.
        """
        name = type(self).__name__
        # With z = u s v', p = z z' is u s^2 u'.
        u, s, _ = _leading(semidefinite_factor(p, self.rank, name), self.rank, name)
        return u, 2 * _log_diagonal(s, p.shape[-1], name)


@in_working_precision
def _log_diagonal(s: Tensor, size: int, name: str) -> Tensor:
    """Logarithm of a diagonal matrix of singular values; raises if one vanishes."""
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
        """The settings; maps with equal settings can be evaluated together."""
        return (self.low, self.high)

    def forward(self, z: Tensor) -> Tensor:
        """`clamp_singular_values(z, low, high)`.

        Raises:
            ValueError: if `z` is not a matrix.
        """
        require_matrix(z, "SpectralBound")
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
