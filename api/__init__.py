"""torchmanifold: weights of PyTorch modules on manifolds, parametrized or by Riemannian updates.

A weight that must stay on a manifold is moved in one of two ways: as `retract(base, v)` with a
free tensor `v`, or directly with `retract(x, -lr * gradient)`. Every map is written once and
serves both.

    import torchmanifold as tm

    tm.constrain(rnn, "weight_hh_l0", tm.SpecialOrthogonal())
"""

from importlib.metadata import version

from torchmanifold import manifolds, nn, optim, parametrize
from torchmanifold.manifolds import (
    QR,
    AffineInvariant,
    Blocks,
    BuresWasserstein,
    Canonical,
    Cayley,
    Euclidean,
    EuclideanMetric,
    Exp,
    FixedRank,
    Flattened,
    Grassmann,
    LogEuclidean,
    Manifold,
    Metric,
    NewtonSchulz,
    Polar,
    Product,
    Projection,
    Quadratic,
    Retraction,
    SkewSymmetric,
    SpecialOrthogonal,
    Sphere,
    Stiefel,
    Symmetric,
    SymmetricPositiveDefinite,
    Transposed,
    check_gradient,
    check_hessian,
    check_manifold,
    check_retraction,
    maps,
)
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

__version__ = version("torchmanifold")

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
    "NewtonSchulz",
    "Polar",
    "Product",
    "Projection",
    "Quadratic",
    "Report",
    "Retraction",
    "SkewSymmetric",
    "SpecialOrthogonal",
    "Sphere",
    "Stiefel",
    "Symmetric",
    "SymmetricPositiveDefinite",
    "Transposed",
    "Trivialization",
    "__version__",
    "average_",
    "bake",
    "check_gradient",
    "check_hessian",
    "check_manifold",
    "check_retraction",
    "constrain",
    "is_constrained",
    "manifold_of",
    "manifolds",
    "maps",
    "nn",
    "optim",
    "parametrize",
    "place_",
    "project_state_dict",
    "rebase_",
    "report",
    "unconstrain",
]
