"""torchmanifold: weights of PyTorch modules on manifolds, parametrized or by Riemannian updates.

A weight that must stay on a manifold is moved in one of two ways: as `retract(base, v)` with a
free tensor `v`, or directly with `retract(x, -lr * gradient)`. Every map is written once and
serves both.

    import torchmanifold as tm

    tm.constrain(rnn, "weight_hh_l0", tm.SpecialOrthogonal())
"""

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from torchmanifold import manifolds, nn, optim, parametrize
from torchmanifold.manifolds import (
    QR,
    AffineInvariant,
    Blocks,
    BuresWasserstein,
    Canonical,
    Cayley,
    ComplexCircle,
    Correlation,
    Elliptope,
    Euclidean,
    EuclideanCholesky,
    EuclideanMetric,
    Exp,
    FixedRank,
    Flattened,
    Grassmann,
    Hyperbolic,
    LogCholesky,
    LogEuclidean,
    Lorentz,
    Manifold,
    Metric,
    NewtonSchulz,
    Oblique,
    Orthogonal,
    PoincareBall,
    Polar,
    Positive,
    PositiveSemidefinite,
    Product,
    Projection,
    Quadratic,
    Retraction,
    Scaled,
    SkewSymmetric,
    SpecialOrthogonal,
    SpecialPositiveDefinite,
    Spectrahedron,
    Sphere,
    Stiefel,
    Symmetric,
    SymmetricPositiveDefinite,
    Transposed,
    Unitary,
    check_gradient,
    check_hessian,
    check_manifold,
    check_retraction,
    maps,
    stein_divergence,
    thompson_distance,
)
from torchmanifold.optim.solvers import argmin, minimize, stop
from torchmanifold.weights import (
    Report,
    Trivialization,
    average_,
    bake,
    constrain,
    is_constrained,
    manifold_of,
    place_,
    project_state_dict,
    rebase_,
    report,
    unconstrain,
)

if TYPE_CHECKING:
    from torchmanifold.optim import compare

__version__ = version("torchmanifold")

__all__ = [
    "QR",
    "AffineInvariant",
    "Blocks",
    "BuresWasserstein",
    "Canonical",
    "Cayley",
    "ComplexCircle",
    "Correlation",
    "Elliptope",
    "Euclidean",
    "EuclideanCholesky",
    "EuclideanMetric",
    "Exp",
    "FixedRank",
    "Flattened",
    "Grassmann",
    "Hyperbolic",
    "LogCholesky",
    "LogEuclidean",
    "Lorentz",
    "Manifold",
    "Metric",
    "NewtonSchulz",
    "Oblique",
    "Orthogonal",
    "PoincareBall",
    "Polar",
    "Positive",
    "PositiveSemidefinite",
    "Product",
    "Projection",
    "Quadratic",
    "Report",
    "Retraction",
    "Scaled",
    "SkewSymmetric",
    "SpecialOrthogonal",
    "SpecialPositiveDefinite",
    "Spectrahedron",
    "Sphere",
    "Stiefel",
    "Symmetric",
    "SymmetricPositiveDefinite",
    "Transposed",
    "Trivialization",
    "Unitary",
    "__version__",
    "argmin",
    "average_",
    "bake",
    "check_gradient",
    "check_hessian",
    "check_manifold",
    "check_retraction",
    "compare",
    "constrain",
    "is_constrained",
    "manifold_of",
    "manifolds",
    "maps",
    "minimize",
    "nn",
    "optim",
    "parametrize",
    "place_",
    "project_state_dict",
    "rebase_",
    "report",
    "stein_divergence",
    "stop",
    "thompson_distance",
    "unconstrain",
]


def __getattr__(name: str) -> Any:
    """`tm.compare`, loaded at first use: it needs more than the library itself."""
    if name == "compare":
        return importlib.import_module("torchmanifold.optim.compare")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
