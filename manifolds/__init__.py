"""Manifolds, and the maps that they are built from."""

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.correlation import Correlation
from torchmanifold.manifolds.elliptope import Elliptope
from torchmanifold.manifolds.euclidean import Euclidean
from torchmanifold.manifolds.fixed_rank import FixedRank
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
    Flattened,
    LogCholesky,
    LogEuclidean,
    Manifold,
    Metric,
    MetricRule,
    NewtonSchulz,
    Polar,
    Product,
    Projection,
    Quadratic,
    Retraction,
    RetractionRule,
    Scaled,
    Transposed,
    check_gradient,
    check_hessian,
    check_retraction,
    on_matrices,
    stein_divergence,
    thompson_distance,
)
from torchmanifold.manifolds.geometry.check_manifold import ManifoldCheck, check_manifold
from torchmanifold.manifolds.grassmann import Grassmann
from torchmanifold.manifolds.psd import PositiveSemidefinite
from torchmanifold.manifolds.skew_symmetric import SkewSymmetric
from torchmanifold.manifolds.spd import SymmetricPositiveDefinite
from torchmanifold.manifolds.special_orthogonal import SpecialOrthogonal
from torchmanifold.manifolds.special_positive_definite import SpecialPositiveDefinite
from torchmanifold.manifolds.spectrahedron import Spectrahedron
from torchmanifold.manifolds.sphere import Sphere
from torchmanifold.manifolds.stiefel import Stiefel
from torchmanifold.manifolds.symmetric import Symmetric

__all__ = [
    "Spectrahedron",
    "PositiveSemidefinite",
    "Elliptope",
    "Correlation",
    "EuclideanCholesky",
    "AffineInvariant",
    "Blocks",
    "BuresWasserstein",
    "Canonical",
    "Cayley",
    "Euclidean",
    "EuclideanMetric",
    "Exp",
    "FixedRank",
    "Flattened",
    "Grassmann",
    "LogCholesky",
    "LogEuclidean",
    "Manifold",
    "ManifoldCheck",
    "Metric",
    "MetricRule",
    "NewtonSchulz",
    "Polar",
    "Product",
    "Projection",
    "QR",
    "Quadratic",
    "Retraction",
    "RetractionRule",
    "Scaled",
    "SkewSymmetric",
    "SpecialOrthogonal",
    "SpecialPositiveDefinite",
    "Sphere",
    "Stiefel",
    "Symmetric",
    "SymmetricPositiveDefinite",
    "Transposed",
    "check_gradient",
    "check_hessian",
    "check_manifold",
    "check_retraction",
    "maps",
    "on_matrices",
    "stein_divergence",
    "thompson_distance",
]
