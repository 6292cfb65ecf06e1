"""Positive definite matrices: metrics and distances against scipy and pymanopt."""

import numpy as np
import pymanopt.manifolds as pm
import pytest
import scipy.linalg
import torch

import torchmanifold as tm

F64 = torch.float64


def pair(M, *shape):
    x, y = M.random(*shape, dtype=F64), M.random(*shape, dtype=F64)
    return x, y, 0.7 * M.random_tangent(x)


def test_log_cholesky_is_flat_in_the_factor_with_log_diagonal():
    M = tm.SymmetricPositiveDefinite(metric=tm.LogCholesky())
    x, y, _ = pair(M, 5, 5)

    def chart(p):
        factor = scipy.linalg.cholesky(p.numpy(), lower=True)
        return np.tril(factor, -1) + np.diag(np.log(np.diag(factor)))

    assert abs(M.dist(x, y) - np.linalg.norm(chart(x) - chart(y))) < 1e-13
    middle = M.exp(x, M.log(x, y) / 2)
    assert np.abs(chart(middle) - (chart(x) + chart(y)) / 2).max() < 1e-13


def test_log_cholesky_has_derivatives_at_repeated_eigenvalues():
    M = tm.SymmetricPositiveDefinite(metric=tm.LogCholesky())
    x = torch.eye(3, dtype=F64).requires_grad_()
    y = M.random(3, 3, dtype=F64)
    assert torch.autograd.gradcheck(lambda x: M.dist((x + x.mT) / 2, y), x)


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
def test_distances_of_close_matrices_keep_their_digits(dtype):
    x = torch.eye(3, dtype=dtype)
    for step in (1e-2, 1e-5):
        y = x + step * torch.diag(torch.tensor([1.0, -2.0, 0.5], dtype=dtype))
        changes = (y - x).diagonal().double()
        stein = (torch.log1p(changes / 2) - torch.log1p(changes) / 2).sum()
        exact = {
            tm.stein_divergence: (changes**2 / (8 * (1 + changes))).sum() if step < 1e-3 else stein,
            tm.thompson_distance: changes.log1p().abs().amax(),
            tm.SymmetricPositiveDefinite(metric=tm.LogCholesky()).dist: (
                changes.log1p() / 2
            ).norm(),
        }
        for function, value in exact.items():
            assert abs(function(x, y) / value - 1) < 30 * torch.finfo(dtype).eps + step**2


def test_stein_and_thompson_against_scipy():
    M = tm.SymmetricPositiveDefinite()
    x, y, _ = pair(M, 4, 4)
    values = torch.as_tensor(scipy.linalg.eigh(y.numpy(), x.numpy(), eigvals_only=True))
    assert abs(tm.thompson_distance(x, y) - values.log().abs().max()) < 1e-13
    mean = torch.logdet((x + y) / 2) - (torch.logdet(x) + torch.logdet(y)) / 2
    assert abs(tm.stein_divergence(x, y) - mean) < 1e-13
    a = torch.randn(4, 4, dtype=F64)
    for distance in (tm.thompson_distance, tm.stein_divergence):
        assert abs(distance(a @ x @ a.mT, a @ y @ a.mT) - distance(x, y)) < 1e-10
        assert torch.autograd.gradcheck(lambda y: distance(x, (y + y.mT) / 2), y.requires_grad_())  # noqa: B023


def test_determinant_one_against_pymanopt():
    M, peer = tm.SpecialPositiveDefinite(), pm.SpecialHermitianPositiveDefinite(4)
    x, y, v = pair(M, 4, 4)
    g = torch.randn(4, 4, dtype=F64)
    a, b, u = (t.numpy() for t in (x, y, v))
    found = {
        "exp": (M.exp(x, v), peer.exp(a, u)),
        "log": (M.log(x, y), peer.log(a, b)),
        "dist": (M.dist(x, y), peer.dist(a, b)),
        "gradient": (
            M.gradient(x, g),
            peer.euclidean_to_riemannian_gradient(a, (g + g.mT).numpy() / 2),
        ),
    }
    for name, (ours, theirs) in found.items():
        assert torch.allclose(ours, torch.as_tensor(np.asarray(theirs)).real, atol=1e-11), name
