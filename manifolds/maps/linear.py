"""Linear and elementwise maps, and smooth coordinates of sets of square matrices.

Symmetric, skew, triangular, unit norm, positive; matrices of positive or unit determinant, and
stable (Hurwitz) matrices.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
import torch
from torch import Tensor, nn

from torchmanifold.manifolds.linalg import (
    adjoint,
    determinant_sign,
    eye_like,
    in_working_precision,
    skew,
    sym,
    trace,
)
from torchmanifold.manifolds.maps.domain import (
    largest,
    require_finite,
    require_part,
    require_real,
    require_rotation,
    require_skew,
    require_square,
    require_symmetric,
    single,
    slack,
)
from torchmanifold.manifolds.maps.exponential import expm_skew, log_orthogonal
from torchmanifold.manifolds.maps.orthonormal import polar
from torchmanifold.manifolds.maps.sets import (
    SetMap,
    positive_determinant,
    stable,
    unit_determinant,
)
from torchmanifold.manifolds.maps.spectral import spd_exp, spd_log

__all__ = [
    "Hurwitz",
    "Positive",
    "PositiveDeterminant",
    "Skew",
    "Symmetric",
    "Triangular",
    "UnitDeterminant",
    "UnitNorm",
]


class Symmetric(nn.Module):
    """Symmetric (Hermitian) part `(z + z') / 2`.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Symmetric
        >>> Symmetric()(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
        tensor([[1., 1.],
                [1., 1.]])
    """

    batched = True
    config: tuple[()] = ()

    def forward(self, z: Tensor) -> Tensor:
        """`(z + z') / 2`."""
        return sym(z)

    def right_inverse(self, s: Tensor) -> Tensor:
        """`s` itself; raises ValueError if it is not symmetric."""
        require_symmetric(s, type(self).__name__)
        return s


class Skew(nn.Module):
    """Skew-symmetric (skew-Hermitian) part `(z - z') / 2`.

    The orthogonal projection: gradient descent on `z` is gradient descent on the skew matrix.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Skew
        >>> Skew()(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
        tensor([[ 0.,  1.],
                [-1.,  0.]])
    """

    batched = True
    config: tuple[()] = ()

    def forward(self, z: Tensor) -> Tensor:
        """`(z - z') / 2`."""
        return skew(z)

    def right_inverse(self, a: Tensor) -> Tensor:
        """`a` itself; raises ValueError if it is not skew."""
        require_skew(a, type(self).__name__)
        return a


class Triangular(SetMap):
    """Upper or lower triangle.

    Args:
        upper: the upper triangle instead of the lower.
        diagonal: offset of the last diagonal kept, as in `torch.tril`.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Triangular
        >>> Triangular()(torch.ones(2, 2))
        tensor([[1., 0.],
                [1., 1.]])
    """

    batched = True

    def __init__(self, *, upper: bool = False, diagonal: int = 0) -> None:
        super().__init__()
        self.upper, self.diagonal = upper, diagonal

    @property
    def config(self) -> tuple[bool, int]:
        """What must agree for two of these maps to be evaluated together."""
        return (self.upper, self.diagonal)

    def forward(self, z: Tensor) -> Tensor:
        """The triangle of `z`."""
        return z.triu(self.diagonal) if self.upper else z.tril(self.diagonal)

    def project(self, z: Tensor) -> Tensor:
        """The triangle of `z`."""
        return self(z)

    def right_inverse(self, x: Tensor) -> Tensor:
        """`x` itself; raises ValueError if it is not triangular."""
        require_finite(x, "Triangular")
        require_part(x, self.forward(x), "Triangular", "triangular")
        return x


def _first(z: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """The first coordinate vector along `dim`, with no other dimension."""
    dims = {d % z.ndim for d in (dim if isinstance(dim, tuple) else (dim,))}
    first = z.new_zeros([n if d in dims else 1 for d, n in enumerate(z.shape)])
    first[(0,) * z.ndim] = 1
    return first


class UnitNorm(SetMap):
    """Vectors scaled to norm 1: the sphere. A zero vector becomes the first coordinate vector.

    Args:
        dim: dimensions of one vector; the last by default.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import UnitNorm
        >>> UnitNorm()(torch.tensor([3.0, 4.0]))
        tensor([0.6000, 0.8000])
    """

    batched = False

    def __init__(self, dim: int | tuple[int, ...] = -1) -> None:
        super().__init__()
        self.dim = dim
        self.event = dim if isinstance(dim, tuple) else (dim,)
        # Leading dimensions may be added only if the vectors are counted from the end.
        self.batched = all(d < 0 for d in self.event)

    @property
    def config(self) -> int | tuple[int, ...]:
        """What must agree for two of these maps to be evaluated together."""
        return self.dim

    def _require_entries(self, x: Tensor) -> None:
        dims = self.dim if isinstance(self.dim, tuple) else (self.dim,)
        if any(x.shape[d] == 0 for d in dims):
            raise ValueError(
                f"UnitNorm: a vector without entries has no norm of 1; got shape {tuple(x.shape)} "
                f"with the vectors along dim={self.dim}"
            )

    @in_working_precision
    def forward(self, z: Tensor) -> Tensor:
        """`z / ||z||`; raises ValueError if the vectors have no entries."""
        self._require_entries(z)
        # The value does not depend on the scale, which alone could over- or underflow the norm.
        scale = z.detach().abs().amax(self.dim, keepdim=True)
        zero = scale == 0
        z = z / scale.masked_fill(zero, 1) + zero * _first(z, self.dim)
        return z / torch.linalg.vector_norm(z, dim=self.dim, keepdim=True)

    def project(self, z: Tensor) -> Tensor:
        """`z / ||z||`."""
        return self(z)

    def right_inverse(self, x: Tensor) -> Tensor:
        """`x` itself; raises ValueError if a norm is not 1."""
        self._require_entries(x)
        require_finite(x, "UnitNorm")
        if x.is_meta:
            return x
        off = largest(torch.linalg.vector_norm(single(x), dim=self.dim) - 1)
        if not off <= slack(x):
            raise ValueError(
                f"UnitNorm.right_inverse: a norm differs from 1 by {off:.3g}; take "
                f"torchmanifold.maps.UnitNorm({self.dim}).project(x)"
            )
        return x


@in_working_precision
def _inverse_softplus(x: Tensor) -> Tensor:
    return x + torch.log(-torch.expm1(-x))


class Positive(SetMap):
    """Entries made positive by `log(1 + exp(z))`, which is lifted where it would round to zero.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Positive
        >>> Positive()(torch.zeros(1))
        tensor([0.6931])
    """

    event = ()
    batched = True
    config: tuple[()] = ()

    @in_working_precision
    def forward(self, z: Tensor) -> Tensor:
        """Softplus, without a threshold."""
        return torch.logaddexp(z, torch.zeros_like(z)).clamp_min(torch.finfo(z.dtype).tiny)

    def project(self, z: Tensor) -> Tensor:
        """`z`, with `eps` for what is not positive."""
        return torch.where(z <= 0, torch.finfo(z.dtype).eps, z)

    def right_inverse(self, x: Tensor) -> Tensor:
        """Inverse softplus; raises ValueError if an entry is not positive."""
        require_finite(x, "Positive")
        if not x.is_meta and not bool((x > 0).all()):
            raise ValueError(
                "Positive.right_inverse: entries must be positive, the least is "
                f"{float(x.amin()):.3g}; take torchmanifold.maps.Positive().project(x)"
            )
        return _inverse_softplus(x)


def _rotation_times_positive(z: Tensor, symmetric: Tensor) -> Tensor:
    return expm_skew(skew(z)) @ spd_exp(symmetric)


@in_working_precision
def _polar_logarithms(x: Tensor, name: str) -> Tensor:
    """`log q + log p` of the polar decomposition `x = q p`: its skew and its symmetric part."""
    if not x.is_meta and not bool((determinant_sign(x) > 0).all()):
        raise ValueError(
            f"{name}.right_inverse: the determinant must be positive; take "
            f"torchmanifold.maps.{name}().project(x)"
        )
    q = polar(x)
    require_rotation(q, name)
    return log_orthogonal(q) + spd_log(sym(adjoint(q) @ x))


class PositiveDeterminant(SetMap):
    """Square matrices of positive determinant, GL+(n), by their polar decomposition.

    `exp(skew(z)) exp(sym(z))`: n^2 numbers for the n^2 dimensions, onto, and never singular.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import PositiveDeterminant
        >>> PositiveDeterminant()(torch.zeros(2, 2))
        tensor([[1., 0.],
                [0., 1.]])

    Source: Hall, Lie Groups, Lie Algebras, and Representations (2015), section 2.5.
    """

    batched = True
    config: tuple[()] = ()

    @in_working_precision
    def forward(self, z: Tensor) -> Tensor:
        """`exp(skew(z)) exp(sym(z))`."""
        return _rotation_times_positive(z, sym(z))

    def project(self, z: Tensor) -> Tensor:
        """`z`; where its determinant is not positive, the least singular value goes through zero.

        It stops at a hundredth of the largest: nearer to the boundary, the nearest point, the right
        inverse has fewer digits.
        """
        return positive_determinant(z)

    def right_inverse(self, x: Tensor) -> Tensor:
        """Logarithms of the polar factors; raises ValueError if the determinant is not positive."""
        require_real(x, "PositiveDeterminant")
        require_square(x, "PositiveDeterminant")
        return _polar_logarithms(x, "PositiveDeterminant")


class UnitDeterminant(SetMap):
    """Square matrices of determinant 1, SL(n), by their polar decomposition.

    `exp(skew(z)) exp(s)` with `s` the traceless part of `sym(z)`: `det exp(s) = exp(tr s) = 1`.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import UnitDeterminant
        >>> UnitDeterminant()(torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])

    Source: Hall, Lie Groups, Lie Algebras, and Representations (2015), section 2.5.
    """

    batched = True
    config: tuple[()] = ()

    @in_working_precision
    def forward(self, z: Tensor) -> Tensor:
        """`exp(skew(z)) exp(sym(z) - tr(z) / n)`."""
        s = sym(z)
        mean = trace(s)[..., None, None] / z.shape[-1]
        return _rotation_times_positive(z, s - mean * eye_like(z))

    def project(self, z: Tensor) -> Tensor:
        """`z`, its least singular value turned if needed, over the n-th root of its determinant."""
        return unit_determinant(z)

    def right_inverse(self, x: Tensor) -> Tensor:
        """Logarithms of the polar factors; raises ValueError if the determinant is not 1."""
        require_real(x, "UnitDeterminant")
        require_square(x, "UnitDeterminant")
        size = torch.linalg.svdvals(single(x)).log().sum(-1).exp()
        off = 0.0 if x.is_meta else largest(determinant_sign(x) * size - 1)
        if not off <= slack(x) * x.shape[-1]:
            raise ValueError(
                f"UnitDeterminant.right_inverse: the determinant differs from 1 by {off:.3g}; "
                "take torchmanifold.maps.UnitDeterminant().project(x)"
            )
        return _polar_logarithms(x, "UnitDeterminant")


class Hurwitz(SetMap):
    """Stable matrices: every eigenvalue has real part below `-margin`.

    `(skew(z) - I) P - margin I` with `P = exp(sym(z))`: n^2 numbers for the n^2 dimensions, one
    to one and onto. Stable, because `x'Px` falls along `x' = (J - I) P x`. Back: `A X + X A' =
    -2 I` has one solution, positive definite, and `P = X^-1`, `skew(z) = skew(A X)`.

    Args:
        margin: bound on the rate of decay, at least 0.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import Hurwitz
        >>> Hurwitz()(torch.zeros(1, 1))
        tensor([[-1.]])

    Source: Gillis and Sharma, On computing the distance to stability for matrices using linear
    dissipative Hamiltonian systems, Automatica 85 (2017).
    """

    batched = True

    def __init__(self, margin: float = 0.0) -> None:
        super().__init__()
        if not margin >= 0:
            raise ValueError(f"Hurwitz: margin must be at least 0, got {margin}")
        self.margin = margin

    @property
    def config(self) -> tuple[float]:
        """What must agree for two of these maps to be evaluated together."""
        return (self.margin,)

    @in_working_precision
    def forward(self, z: Tensor) -> Tensor:
        """`(skew(z) - I) exp(sym(z)) - margin I`."""
        eye = eye_like(z)
        return (skew(z) - eye) @ spd_exp(z) - self.margin * eye

    def project(self, z: Tensor) -> Tensor:
        """`z`, or `z - t I`, stable by a hundredth of its norm."""
        return stable(z, self.margin)

    def right_inverse(self, a: Tensor) -> Tensor:
        """Solves a Lyapunov equation; raises ValueError if `a` is not stable."""
        require_square(a, "Hurwitz")
        if a.is_meta or a.numel() == 0:
            return a
        shifted = a.detach().to(torch.promote_types(a.dtype, torch.float64))
        shifted = shifted + self.margin * eye_like(shifted)
        right = float(torch.linalg.eigvals(shifted).real.amax())
        if not right < 0:
            raise ValueError(
                f"Hurwitz.right_inverse: an eigenvalue has real part {right - self.margin:.7g}, "
                f"which is not below {0.0 - self.margin}; take torchmanifold.maps.Hurwitz("
                f"{self.margin}).project(a)"
            )
        # At registration only, so one matrix after the other is fast enough.
        n = a.shape[-1]
        solutions = [
            scipy.linalg.solve_continuous_lyapunov(m, -2 * np.eye(n))
            for m in shifted.cpu().reshape(-1, n, n).numpy()
        ]
        x = sym(torch.from_numpy(np.stack(solutions)).reshape(shifted.shape).to(a.device))
        z = (skew(shifted @ x) - spd_log(x)).to(a.dtype)
        off = largest(single(self(z)) - single(a)) / largest(a)
        if not off <= max(slack(a), torch.finfo(a.dtype).eps ** 0.5):
            raise ValueError(
                f"Hurwitz.right_inverse: the matrix is so near to unstable ones that in {a.dtype} "
                f"the map gives it back with a relative error of {off:.2g}; subtract a multiple of "
                "the identity, or take float64"
            )
        return z
