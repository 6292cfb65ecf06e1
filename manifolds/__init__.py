"""Manifolds, the maps they are built from, and the ways to put a weight on one."""

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.averaging import average_
from torchmanifold.manifolds.checkpoint import project_state_dict
from torchmanifold.manifolds.checks import check_gradient, check_hessian, check_retraction
from torchmanifold.manifolds.combinators import Blocks, Flattened, Transposed
from torchmanifold.manifolds.constrain import constrain, unconstrain
from torchmanifold.manifolds.euclidean import Euclidean
from torchmanifold.manifolds.fixed_rank import FixedRank
from torchmanifold.manifolds.geometry import (
    QR,
    AffineInvariant,
    BuresWasserstein,
    Canonical,
    Cayley,
    EuclideanMetric,
    Exp,
    LogEuclidean,
    Metric,
    MetricRule,
    NewtonSchulz,
    Polar,
    Projection,
    Quadratic,
    Retraction,
    RetractionRule,
)
from torchmanifold.manifolds.grassmann import Grassmann
from torchmanifold.manifolds.linear import SkewSymmetric, Symmetric
from torchmanifold.manifolds.manifold import Manifold
from torchmanifold.manifolds.product import Product
from torchmanifold.manifolds.record import is_constrained, manifold_of, stamp
from torchmanifold.manifolds.report import Report, report
from torchmanifold.manifolds.spd import SymmetricPositiveDefinite
from torchmanifold.manifolds.special_orthogonal import SpecialOrthogonal
from torchmanifold.manifolds.sphere import Sphere
from torchmanifold.manifolds.stiefel import Stiefel
from torchmanifold.manifolds.trivialization import Trivialization, rebase_

__all__ = [
    "QR",
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
    "LogEuclidean",
    "Manifold",
    "Metric",
    "MetricRule",
    "NewtonSchulz",
    "Polar",
    "Product",
    "Projection",
    "Quadratic",
    "Report",
    "Retraction",
    "RetractionRule",
    "SkewSymmetric",
    "SpecialOrthogonal",
    "Sphere",
    "Stiefel",
    "Symmetric",
    "SymmetricPositiveDefinite",
    "Transposed",
    "Trivialization",
    "average_",
    "check_gradient",
    "check_hessian",
    "check_retraction",
    "constrain",
    "is_constrained",
    "manifold_of",
    "maps",
    "project_state_dict",
    "rebase_",
    "report",
    "stamp",
    "unconstrain",
]
