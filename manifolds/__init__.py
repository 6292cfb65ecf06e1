"""Manifolds, and the maps from which they are built."""

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.complex_circle import ComplexCircle
from torchmanifold.manifolds.correlation import Correlation
from torchmanifold.manifolds.doubly_stochastic import DoublyStochastic
from torchmanifold.manifolds.elliptope import Elliptope
from torchmanifold.manifolds.euclidean import Euclidean
from torchmanifold.manifolds.factored_fixed_rank import FactoredFixedRank
from torchmanifold.manifolds.fixed_rank import FixedRank
from torchmanifold.manifolds.flag import Flag
from torchmanifold.manifolds.generalized import GeneralizedGrassmann, GeneralizedStiefel
from torchmanifold.manifolds.geometry import (
    QR,
    AffineInvariant,
    Blocks,
    BuresWasserstein,
    Canonical,
    Cayley,
    EuclideanCholesky,
    EuclideanMetric,
    Exp,
    Fisher,
    Flattened,
    LogCholesky,
    LogEuclidean,
    Manifold,
    Mean,
    Metric,
    MetricRule,
    NewtonSchulz,
    Orthographic,
    Polar,
    Product,
    Projection,
    Quadratic,
    Retraction,
    RetractionRule,
    Scaled,
    Screw,
    Sinkhorn,
    Softmax,
    Transposed,
    Weighted,
    check_gradient,
    check_hessian,
    check_retraction,
    on_matrices,
    require_manifold,
    stein_divergence,
    thompson_distance,
)
from torchmanifold.manifolds.geometry.check_manifold import ManifoldCheck, check_manifold
from torchmanifold.manifolds.geometry.metrics import ConstantCurvature, Hyperbolic
from torchmanifold.manifolds.grassmann import Grassmann
from torchmanifold.manifolds.linalg import Entries
from torchmanifold.manifolds.lorentz import Lorentz
from torchmanifold.manifolds.multinomial import Multinomial
from torchmanifold.manifolds.oblique import Oblique
from torchmanifold.manifolds.orthogonal import Orthogonal
from torchmanifold.manifolds.orthogonal_columns import OrthogonalColumns
from torchmanifold.manifolds.poincare_ball import PoincareBall
from torchmanifold.manifolds.positive import Positive
from torchmanifold.manifolds.psd import PositiveSemidefinite
from torchmanifold.manifolds.skew_symmetric import SkewSymmetric
from torchmanifold.manifolds.spd import SymmetricPositiveDefinite
from torchmanifold.manifolds.special_euclidean import SpecialEuclidean
from torchmanifold.manifolds.special_orthogonal import SpecialOrthogonal
from torchmanifold.manifolds.special_positive_definite import SpecialPositiveDefinite
from torchmanifold.manifolds.special_unitary import SpecialUnitary
from torchmanifold.manifolds.spectrahedron import Spectrahedron
from torchmanifold.manifolds.sphere import Sphere
from torchmanifold.manifolds.stereographic import Stereographic
from torchmanifold.manifolds.stiefel import Stiefel
from torchmanifold.manifolds.symmetric import Symmetric
from torchmanifold.manifolds.unitary import Unitary

__all__ = [
    "QR",
    "AffineInvariant",
    "Blocks",
    "BuresWasserstein",
    "Canonical",
    "Cayley",
    "ComplexCircle",
    "ConstantCurvature",
    "Correlation",
    "DoublyStochastic",
    "Elliptope",
    "Entries",
    "Euclidean",
    "EuclideanCholesky",
    "EuclideanMetric",
    "Exp",
    "FactoredFixedRank",
    "Fisher",
    "FixedRank",
    "Flag",
    "Flattened",
    "GeneralizedGrassmann",
    "GeneralizedStiefel",
    "Grassmann",
    "Hyperbolic",
    "LogCholesky",
    "LogEuclidean",
    "Lorentz",
    "Manifold",
    "ManifoldCheck",
    "Mean",
    "Metric",
    "MetricRule",
    "Multinomial",
    "NewtonSchulz",
    "Oblique",
    "Orthogonal",
    "OrthogonalColumns",
    "Orthographic",
    "PoincareBall",
    "Polar",
    "Positive",
    "PositiveSemidefinite",
    "Product",
    "Projection",
    "Quadratic",
    "Retraction",
    "RetractionRule",
    "Scaled",
    "Screw",
    "Sinkhorn",
    "SkewSymmetric",
    "Softmax",
    "SpecialEuclidean",
    "SpecialOrthogonal",
    "SpecialPositiveDefinite",
    "SpecialUnitary",
    "Spectrahedron",
    "Sphere",
    "Stereographic",
    "Stiefel",
    "Symmetric",
    "SymmetricPositiveDefinite",
    "Transposed",
    "Unitary",
    "Weighted",
    "check_gradient",
    "check_hessian",
    "check_manifold",
    "check_retraction",
    "maps",
    "on_matrices",
    "require_manifold",
    "stein_divergence",
    "thompson_distance",
]
