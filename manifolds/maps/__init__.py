"""Maps between sets of matrices: pure functions with their derivatives, and their modules."""

from torchmanifold.manifolds.maps.cayley import cayley, cayley_step, cayley_thin, inverse_cayley
from torchmanifold.manifolds.maps.exponential import (
    exp_step,
    exp_thin,
    expm,
    expm1,
    expm1_skew,
    expm_skew,
    log_orthogonal,
)
from torchmanifold.manifolds.maps.householder import householder
from torchmanifold.manifolds.maps.lyapunov import solve_lyapunov
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
from torchmanifold.manifolds.maps.newton_schulz import newton_schulz
from torchmanifold.manifolds.maps.polar import nearest_rotation, polar, polar_step
from torchmanifold.manifolds.maps.polar_direction import polar_direction
from torchmanifold.manifolds.maps.projected_qr import projected_qr_step
from torchmanifold.manifolds.maps.qr import qr, qr_step
from torchmanifold.manifolds.maps.scalar_functions import SpectralFunction
from torchmanifold.manifolds.maps.singular import clamp_singular_values, truncate
from torchmanifold.manifolds.maps.spectral import (
    apply_spectral,
    d2_exp,
    d_exp,
    d_log,
    directional_derivative,
    spd_exp,
    spd_inv_sqrt,
    spd_log,
    spd_sqrt,
    spectral,
)
from torchmanifold.manifolds.maps.stiefel_log import log_canonical, log_euclidean
from torchmanifold.manifolds.maps.stochastic import doubly_stochastic, scaling_tangent

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
    "SpectralFunction",
    "Square",
    "Symmetric",
    "Triangular",
    "UnitDeterminant",
    "UnitNorm",
    "apply_spectral",
    "cayley",
    "cayley_step",
    "cayley_thin",
    "clamp_singular_values",
    "d2_exp",
    "d_exp",
    "d_log",
    "directional_derivative",
    "doubly_stochastic",
    "exp_step",
    "exp_thin",
    "expm",
    "expm1",
    "expm1_skew",
    "expm_skew",
    "householder",
    "inverse_cayley",
    "log_canonical",
    "log_euclidean",
    "log_orthogonal",
    "nearest_rotation",
    "newton_schulz",
    "polar",
    "polar_direction",
    "polar_step",
    "projected_qr_step",
    "qr",
    "qr_step",
    "scaling_tangent",
    "solve_lyapunov",
    "spd_exp",
    "spd_inv_sqrt",
    "spd_log",
    "spd_sqrt",
    "spectral",
    "truncate",
]
