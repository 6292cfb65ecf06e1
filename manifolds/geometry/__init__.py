"""The interface of a manifold, and what follows from it."""

from torchmanifold.manifolds.geometry.affine_invariant import AFFINE_INVARIANT
from torchmanifold.manifolds.geometry.bures_wasserstein import BURES_WASSERSTEIN
from torchmanifold.manifolds.geometry.checks import (
    SlopeCheck,
    check_gradient,
    check_hessian,
    check_retraction,
)
from torchmanifold.manifolds.geometry.flat import FLAT, straight
from torchmanifold.manifolds.geometry.log_euclidean import LOG_EUCLIDEAN
from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.metrics import (
    AffineInvariant,
    BuresWasserstein,
    Canonical,
    EuclideanMetric,
    LogEuclidean,
    Metric,
    MetricRule,
    keep_coordinates,
    projected,
)
from torchmanifold.manifolds.geometry.orthonormal import (
    embedded_hessian,
    nearest_orthonormal,
    newton_schulz,
    polar,
    qr,
)
from torchmanifold.manifolds.geometry.product import Points, Product
from torchmanifold.manifolds.geometry.retractions import (
    QR,
    Cayley,
    Exp,
    NewtonSchulz,
    Polar,
    Projection,
    Quadratic,
    Retraction,
    RetractionRule,
)
from torchmanifold.manifolds.geometry.shapes import square_side
from torchmanifold.manifolds.geometry.views import Blocks, Flattened, Transposed

__all__ = [
    "AFFINE_INVARIANT",
    "AffineInvariant",
    "BURES_WASSERSTEIN",
    "Blocks",
    "BuresWasserstein",
    "Canonical",
    "Cayley",
    "EuclideanMetric",
    "Exp",
    "FLAT",
    "Flattened",
    "LOG_EUCLIDEAN",
    "LogEuclidean",
    "Manifold",
    "Metric",
    "MetricRule",
    "NewtonSchulz",
    "Points",
    "Polar",
    "Product",
    "Projection",
    "QR",
    "Quadratic",
    "Retraction",
    "RetractionRule",
    "SlopeCheck",
    "Transposed",
    "check_gradient",
    "check_hessian",
    "check_retraction",
    "embedded_hessian",
    "keep_coordinates",
    "nearest_orthonormal",
    "newton_schulz",
    "polar",
    "projected",
    "qr",
    "square_side",
    "straight",
]
