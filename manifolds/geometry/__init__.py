"""The interface of a manifold, and the parts that manifolds share."""

from torchmanifold.manifolds.geometry.affine_invariant import AFFINE_INVARIANT
from torchmanifold.manifolds.geometry.bures_wasserstein import BURES_WASSERSTEIN
from torchmanifold.manifolds.geometry.canonical import (
    canonical_cayley,
    canonical_coordinates,
    canonical_exp,
    canonical_gradient,
    canonical_hessian,
    canonical_inner,
    canonical_inverse_coordinates,
)
from torchmanifold.manifolds.geometry.check_manifold import ManifoldCheck, check_manifold
from torchmanifold.manifolds.geometry.checks import (
    SlopeCheck,
    check_gradient,
    check_hessian,
    check_retraction,
)
from torchmanifold.manifolds.geometry.definite import (
    bures_exp,
    kept_definite,
    lifted,
    longest_step,
    quadratic,
    short_exp,
    within,
)
from torchmanifold.manifolds.geometry.divergences import stein_divergence, thompson_distance
from torchmanifold.manifolds.geometry.factors import aligned, horizontal, refuse_wide
from torchmanifold.manifolds.geometry.flat import FLAT, straight
from torchmanifold.manifolds.geometry.great_circles import (
    circle_angle,
    circle_dot,
    circle_exp,
    circle_log,
    circle_transport,
    circle_unit,
)
from torchmanifold.manifolds.geometry.group import (
    GROUP_METRIC,
    GROUP_RETRACTIONS,
    group_dist,
    group_log,
    phase_radius,
)
from torchmanifold.manifolds.geometry.guard import guarded
from torchmanifold.manifolds.geometry.gyrovectors import (
    GYROVECTORS,
    StereographicModel,
    gyro_exp,
    gyro_inside,
    gyro_log,
)
from torchmanifold.manifolds.geometry.implicit import implicit_dist, implicit_log
from torchmanifold.manifolds.geometry.log_cholesky import LOG_CHOLESKY
from torchmanifold.manifolds.geometry.log_euclidean import LOG_EUCLIDEAN
from torchmanifold.manifolds.geometry.manifold import Manifold
from torchmanifold.manifolds.geometry.metrics import (
    AffineInvariant,
    BuresWasserstein,
    Canonical,
    ConstantCurvature,
    EuclideanCholesky,
    EuclideanMetric,
    Fisher,
    Hyperbolic,
    LogCholesky,
    LogEuclidean,
    Metric,
    MetricRule,
    Weighted,
    keep_coordinates,
)
from torchmanifold.manifolds.geometry.orthonormal import (
    nearest_orthonormal,
    newton_schulz,
    newton_schulz_residual,
    polar,
    qr,
    weingarten,
)
from torchmanifold.manifolds.geometry.product import Product, ProductMetric, ProductRetraction
from torchmanifold.manifolds.geometry.required import require_manifold
from torchmanifold.manifolds.geometry.retractions import (
    QR,
    Cayley,
    Exp,
    NewtonSchulz,
    Orthographic,
    Polar,
    Projection,
    Quadratic,
    Retraction,
    RetractionRule,
    Screw,
    Sinkhorn,
    Softmax,
)
from torchmanifold.manifolds.geometry.scaled import Scaled
from torchmanifold.manifolds.geometry.shapes import (
    is_complex,
    require_count,
    require_positive,
    require_square,
)
from torchmanifold.manifolds.geometry.statistics import Mean
from torchmanifold.manifolds.geometry.steepest import square_steepest
from torchmanifold.manifolds.geometry.views import Blocks, Flattened, Transposed, View, on_matrices

__all__ = [
    "AFFINE_INVARIANT",
    "BURES_WASSERSTEIN",
    "FLAT",
    "GROUP_METRIC",
    "GROUP_RETRACTIONS",
    "GYROVECTORS",
    "LOG_CHOLESKY",
    "LOG_EUCLIDEAN",
    "QR",
    "AffineInvariant",
    "Blocks",
    "BuresWasserstein",
    "Canonical",
    "Cayley",
    "ConstantCurvature",
    "EuclideanCholesky",
    "EuclideanMetric",
    "Exp",
    "Fisher",
    "Flattened",
    "Hyperbolic",
    "LogCholesky",
    "LogEuclidean",
    "Manifold",
    "ManifoldCheck",
    "Mean",
    "Metric",
    "MetricRule",
    "NewtonSchulz",
    "Orthographic",
    "Polar",
    "Product",
    "ProductMetric",
    "ProductRetraction",
    "Projection",
    "Quadratic",
    "Retraction",
    "RetractionRule",
    "Scaled",
    "Screw",
    "Sinkhorn",
    "SlopeCheck",
    "Softmax",
    "StereographicModel",
    "Transposed",
    "View",
    "Weighted",
    "aligned",
    "bures_exp",
    "canonical_cayley",
    "canonical_coordinates",
    "canonical_exp",
    "canonical_gradient",
    "canonical_hessian",
    "canonical_inner",
    "canonical_inverse_coordinates",
    "check_gradient",
    "check_hessian",
    "check_manifold",
    "check_retraction",
    "circle_angle",
    "circle_dot",
    "circle_exp",
    "circle_log",
    "circle_transport",
    "circle_unit",
    "group_dist",
    "group_log",
    "guarded",
    "gyro_exp",
    "gyro_inside",
    "gyro_log",
    "horizontal",
    "implicit_dist",
    "implicit_log",
    "is_complex",
    "keep_coordinates",
    "kept_definite",
    "lifted",
    "longest_step",
    "nearest_orthonormal",
    "newton_schulz",
    "newton_schulz_residual",
    "on_matrices",
    "phase_radius",
    "polar",
    "qr",
    "quadratic",
    "refuse_wide",
    "require_count",
    "require_manifold",
    "require_positive",
    "require_square",
    "short_exp",
    "square_steepest",
    "stein_divergence",
    "straight",
    "thompson_distance",
    "weingarten",
    "within",
]
