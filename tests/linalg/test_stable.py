"""The Lyapunov equation of a stable matrix against scipy."""

import numpy as np
import pytest
import scipy.linalg
import torch

from torchmanifold.manifolds.linalg import stable_lyapunov


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("n", [1, 2, 7, 40])
@pytest.mark.parametrize("decay", [1.0, 1e-4, 1e-8])
def test_residual_is_at_most_that_of_scipy(dtype, n, decay):
    g = torch.Generator().manual_seed(n)
    a = torch.randn(3, n, n, dtype=dtype, generator=g)
    eye = torch.eye(n, dtype=dtype)
    a = a - (torch.linalg.eigvals(a).real.amax(-1)[:, None, None] + decay) * eye
    x = stable_lyapunov(a, 2 * eye.expand_as(a))
    assert torch.equal(x, x.mH)
    for one, found in zip(a.numpy(), x.numpy(), strict=True):
        expected = scipy.linalg.solve_continuous_lyapunov(one, -2 * np.eye(n))

        def residual(y, one=one):
            off = np.linalg.norm(one @ y + y @ one.conj().T + 2 * np.eye(n))
            return off / (np.linalg.norm(one) * np.linalg.norm(y))

        assert residual(found) <= max(residual(expected), 1e-15)
