"""The maps as modules, with right inverses."""

from torchmanifold.manifolds.maps.modules.definite import (
    Cholesky,
    Softplus,
    SpdExponential,
    SpdLogarithm,
    Square,
)
from torchmanifold.manifolds.maps.modules.determinant import PositiveDeterminant, UnitDeterminant
from torchmanifold.manifolds.maps.modules.hurwitz import Hurwitz
from torchmanifold.manifolds.maps.modules.linear import (
    Positive,
    Skew,
    Symmetric,
    Triangular,
    UnitNorm,
)
from torchmanifold.manifolds.maps.modules.low_rank import (
    FixedRank,
    LowRank,
    PositiveSemidefinite,
    SpectralBound,
)
from torchmanifold.manifolds.maps.modules.orthonormal import QR, Householder, NewtonSchulz, Polar
from torchmanifold.manifolds.maps.modules.rotations import CayleyMap, MatrixExponential
from torchmanifold.manifolds.maps.modules.stochastic import DoublyStochastic

__all__ = [
    "QR",
    "CayleyMap",
    "Cholesky",
    "DoublyStochastic",
    "FixedRank",
    "Householder",
    "Hurwitz",
    "LowRank",
    "MatrixExponential",
    "NewtonSchulz",
    "Polar",
    "Positive",
    "PositiveDeterminant",
    "PositiveSemidefinite",
    "Skew",
    "Softplus",
    "SpdExponential",
    "SpdLogarithm",
    "SpectralBound",
    "Square",
    "Symmetric",
    "Triangular",
    "UnitDeterminant",
    "UnitNorm",
]
