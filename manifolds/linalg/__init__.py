"""Operations on matrices that maps and manifolds share, without geometry.

A matrix is the last two dimensions of a tensor; every function takes leading batch dimensions.
"""

from torchmanifold.manifolds.linalg.basic import (
    add_to_diagonal_,
    adjoint,
    event_sum,
    eye_like,
    frobenius,
    gram_residual,
    inner,
    largest_finite,
    relative,
    skew,
    skew_norm_bound,
    sym,
    trace,
    transposed,
)
from torchmanifold.manifolds.linalg.entries import Entries
from torchmanifold.manifolds.linalg.factor import (
    cholesky,
    congruence,
    determinant_sign,
    eigh,
    inverse,
    solve,
    svd,
    whiten,
)
from torchmanifold.manifolds.linalg.function import MatrixFunction, everywhere
from torchmanifold.manifolds.linalg.precision import (
    HALF,
    in_working_precision,
    narrow,
    reads_values,
    single,
    wide,
)
from torchmanifold.manifolds.linalg.products import (
    accumulate,
    add_product,
    add_product_,
    move,
    newton_schulz_step,
    polish,
    polish_change,
    product_in,
)
from torchmanifold.manifolds.linalg.scalars import asinhc, cos_sinc, cosh_sinhc, tanhc
from torchmanifold.manifolds.linalg.stable import stable_lyapunov
from torchmanifold.manifolds.linalg.triangular import (
    gram,
    gram_excess,
    skew_square,
    times_upper,
    times_upper_adjoint,
    upper_product,
)

__all__ = [
    "HALF",
    "Entries",
    "MatrixFunction",
    "accumulate",
    "add_product",
    "add_product_",
    "add_to_diagonal_",
    "adjoint",
    "asinhc",
    "cholesky",
    "congruence",
    "cos_sinc",
    "cosh_sinhc",
    "determinant_sign",
    "eigh",
    "event_sum",
    "everywhere",
    "eye_like",
    "frobenius",
    "gram",
    "gram_excess",
    "gram_residual",
    "in_working_precision",
    "inner",
    "inverse",
    "largest_finite",
    "move",
    "narrow",
    "newton_schulz_step",
    "polish",
    "polish_change",
    "product_in",
    "reads_values",
    "relative",
    "single",
    "skew",
    "skew_norm_bound",
    "skew_square",
    "solve",
    "stable_lyapunov",
    "svd",
    "sym",
    "tanhc",
    "times_upper",
    "times_upper_adjoint",
    "trace",
    "transposed",
    "upper_product",
    "whiten",
    "wide",
]
