"""Operations on matrices that maps and manifolds share: tensors, no geometry.

Matrices live in the last two dimensions; every function takes leading batch dimensions.
"""

from torchmanifold.manifolds.linalg.basic import (
    add_to_diagonal_,
    adjoint,
    eye_like,
    frobenius,
    gram_residual,
    inner,
    relative,
    skew,
    skew_norm_bound,
    sym,
    trace,
    transposed,
)
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
)
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
    "MatrixFunction",
    "accumulate",
    "add_product",
    "add_product_",
    "add_to_diagonal_",
    "adjoint",
    "cholesky",
    "congruence",
    "determinant_sign",
    "eigh",
    "everywhere",
    "eye_like",
    "frobenius",
    "gram",
    "gram_excess",
    "gram_residual",
    "in_working_precision",
    "inner",
    "inverse",
    "move",
    "narrow",
    "newton_schulz_step",
    "polish",
    "polish_change",
    "reads_values",
    "relative",
    "single",
    "skew",
    "skew_norm_bound",
    "skew_square",
    "solve",
    "svd",
    "sym",
    "times_upper",
    "times_upper_adjoint",
    "trace",
    "transposed",
    "upper_product",
    "whiten",
    "wide",
]
