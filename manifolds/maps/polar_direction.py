"""The polar factor as a direction: by a few odd polynomials, to a stated accuracy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import add_product, frobenius, gram, in_working_precision

__all__ = ["QUINTICS", "polar_direction"]

#: Coefficients `(a, b, c)` of `a s + b s^3 + c s^5`, one row for each step. Each polynomial is the
#: best odd quintic: it maps an interval of singular values as near to 1 as possible, to
#: `[1 - e, 1 + e]`, which is the interval of the next. The first interval is `[0.001, 1]`. The last
#: polynomial is Taylor's, which equals all further ones to rounding.
QUINTICS = (
    (8.47032880385, -25.1080747067, 18.6292755991),
    (4.18283418329, -3.10870110989, 0.580606681351),
    (3.96185727896, -2.95406374636, 0.562976117954),
    (3.28658621703, -2.46472013453, 0.507357693861),
    (2.27374999443, -1.64466036791, 0.416190927497),
    (1.88871619735, -1.26515722534, 0.376518925557),
    (15 / 8, -10 / 8, 3 / 8),
)

#: rounding in half precision must not lead out of the interval
_SLACK = 1.01


@in_working_precision
def polar_direction(z: Tensor, steps: int = 5, dtype: torch.dtype | None = None) -> Tensor:
    """Approximate polar factor of `Z`: singular values become numbers near 1, and 0 stays 0.

    `X <- a X + b X X'X + c X (X'X)^2`, from `X = Z / ||Z||_F`, with the best coefficients for the
    number of steps. Singular values of at least `||Z||_F / 1000` become numbers in
    [0.88, 1.12] with 5 steps, in 1 +- 0.001 with 6 and 1 +- 1e-6 with 7. All operations are
    products. The direction of a skew matrix is skew, and the direction of zero is zero.

    Args:
        z: `(*batch, n, p)`.
        steps: number of steps, each of `2 + p / n` products `n x p` by `p x p` for `n >= p`.
        dtype: the dtype in which to multiply real matrices; by default the dtype of `z`, and at
            least float32. In bfloat16 the singular values after 5 steps lie in [0.78, 1.12], which
            is good enough for a direction.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import polar_direction
        >>> d = polar_direction(torch.tensor([[0.0, -3.0], [3.0, 0.0]]), steps=8)
        >>> torch.allclose(d, torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
        True

    Source: Amsel, Persson, Musco & Gower, The Polar Express: optimal matrix sign methods and
    their application to the Muon algorithm, arXiv 2505.16932; Jordan et al., Muon: an optimizer
    for hidden layers in neural networks, 2024.
    """
    if z.shape[-2] < z.shape[-1]:
        return polar_direction(z.mH, steps, dtype).mH
    tiny = torch.finfo(z.dtype).tiny
    # Division by the largest entry comes first, so the norm neither over- nor underflows.
    x = z / z.abs().amax((-2, -1), keepdim=True).clamp_min(tiny)
    x = x / frobenius(x).clamp_min(tiny)[..., None, None]
    if x.shape[-1] == 1:  # a column has one singular value, its norm
        return x
    slack = 1.0
    if dtype is not None and not x.is_complex():
        x, slack = x.to(dtype), _SLACK if torch.finfo(dtype).bits < 32 else 1.0
    batch = x.shape[:-2]
    x = x.reshape(-1, *x.shape[-2:]) if math.prod(batch) != 1 else x.reshape(x.shape[-2:])
    for step in range(steps):
        a, b, c = QUINTICS[min(step, len(QUINTICS) - 1)]
        k = slack if step < steps - 1 else 1.0
        r = gram(x)
        q = add_product(r, r, r, alpha=c / k**5, beta=b / k**3)
        x = add_product(x, x, q, beta=a / k)
    return x.reshape(*batch, *x.shape[-2:]).to(z.dtype)
