"""Products of Householder reflections."""

from __future__ import annotations

import torch
from torch import Tensor

from torchmanifold.manifolds.linalg import adjoint, eye_like, in_working_precision

__all__ = ["householder"]


@in_working_precision
def householder(z: Tensor, signs: Tensor | None = None) -> Tensor:
    """The first `p` columns of a product of `p` Householder reflections.

    The columns `v_k` of the lower triangle of `z` are the normals, `H_k = I - 2 v v' / v'v`.
    The value does not change when a column is scaled, so weight decay does not move it. The
    product is `I - V S^-1 V'` with `S = diag(v'v) / 2 + triu(V'V, 1)`, which takes matrix products
    and one triangular solve.

    Args:
        z: `(*batch, n, p)`, `n >= p`; only the lower triangle is used. A zero column there reflects
            `e_k`.
        signs: `(*batch, p)`, multiplies the columns; ones by default.

    Example:
        >>> import torch
        >>> from torchmanifold.manifolds.maps import householder
        >>> householder(torch.tensor([[2.0], [0.0]])).abs()
        tensor([[1.],
                [0.]])

    Source: Likhosherstov et al., CWY parametrization (2020), arXiv:2004.08675, theorem 1.
    """
    if z.numel() == 0:
        return z
    v, p = z.tril(), z.shape[-1]
    # The value does not depend on the scale; without scaling the norm could over- or underflow.
    scale = v.detach().abs().amax(-2, keepdim=True)
    zero = scale == 0
    eye = torch.eye(z.shape[-2], p, dtype=z.dtype, device=z.device)
    v = v / scale.masked_fill(zero, 1) + zero * eye
    v = v / torch.linalg.vector_norm(v, dim=-2, keepdim=True)
    s = (adjoint(v) @ v).triu(1) + eye_like(v) / 2
    q = -v @ torch.linalg.solve_triangular(s, adjoint(v[..., :p, :]), upper=True)
    q = q + eye
    return q if signs is None else q * signs.unsqueeze(-2)
