"""Correlations and semidefinite matrices against scipy and pymanopt, where it is right."""

import numpy as np
import pymanopt.manifolds as pm
import pytest
import scipy.linalg
import torch

import torchmanifold as tm

F64 = torch.float64
FACTORS = (tm.Elliptope(), tm.PositiveSemidefinite(), tm.Spectrahedron())


def pair(M, *shape, dtype=F64):
    x, y = M.random(*shape, dtype=dtype), M.random(*shape, dtype=dtype)
    return x, y, 0.3 * M.random_tangent(x)


def invariant_derivatives(y, v):
    """Gradient and Hessian of `tr(a y y') + tr((y y')^3) / 9`, which is the same for all `y q`."""
    a = torch.arange(25, dtype=F64).reshape(5, 5).cos()
    a = a + a.mT

    def gradient(y):
        p = y @ y.mT
        return 2 * a @ y + 2 / 3 * p @ p @ y

    return gradient(y), torch.autograd.functional.jvp(gradient, y, v)[1]


@pytest.mark.parametrize("M", FACTORS, ids=repr)
def test_a_point_is_not_its_factor(M):
    x, y, v = pair(M, 5, 2)
    q, r = (tm.Stiefel().random(2, 2, dtype=F64) for _ in range(2))
    assert torch.allclose(M.retract(x @ q, v @ q), M.retract(x, v) @ q, atol=1e-13)
    assert torch.allclose(M.tangent(x, x @ (q - q.mT)), torch.zeros_like(x), atol=1e-14)
    if M.offers("log"):
        assert torch.allclose(M.log(x @ q, y @ r), M.log(x, y) @ q, atol=1e-12)
        assert torch.allclose(M.dist(x @ q, y @ r), M.dist(x, y), atol=1e-12)
        assert M.dist(x, x @ q) < 1e-14


def test_semidefinite_against_pymanopt_and_bures_wasserstein():
    M, peer = tm.PositiveSemidefinite(), pm.PSDFixedRank(5, 2)
    x, _, v = pair(M, 5, 2)
    g, h = invariant_derivatives(x, v)
    a, u = x.numpy(), v.numpy()
    z = torch.randn(5, 2, dtype=F64)
    assert np.allclose(M.tangent(x, z), peer.projection(a, z.numpy()), atol=1e-12)
    assert np.allclose(M.retract(x, v), peer.retraction(a, u), atol=1e-13)
    theirs = peer.euclidean_to_riemannian_hessian(a, g.numpy(), h.numpy(), u)
    assert np.allclose(M.hessian(x, g, h, v), theirs, atol=1e-11)
    x, y, _ = pair(M, 3, 3)
    full = tm.SymmetricPositiveDefinite(metric=tm.BuresWasserstein())
    assert torch.allclose(M.dist(x, y), full.dist(x @ x.mT, y @ y.mT), atol=1e-12)


def test_pymanopt_elliptope_projection_is_no_projection_and_ours_is():
    """In pymanopt one side of the Lyapunov equation has the wrong sign."""
    M, peer = tm.Elliptope(), pm.Elliptope(5, 3)
    x, _, v = pair(M, 5, 3)
    z = torch.randn(5, 3, dtype=F64)
    once = peer.projection(x.numpy(), z.numpy())
    assert np.abs(peer.projection(x.numpy(), once) - once).max() > 0.1
    ours = M.tangent(x, z)
    assert (M.tangent(x, ours) - ours).abs().max() < 1e-14
    assert np.allclose(M.retract(x, v), peer.retraction(x.numpy(), v.numpy()), atol=1e-14)


def test_bures_angle_of_density_matrices_against_scipy():
    M = tm.Spectrahedron()
    x, y, _ = pair(M, 3, 3, dtype=torch.complex128)
    rho, sigma = ((t @ t.mH).numpy() for t in (x, y))
    # The trace of the square root of rho sigma; scipy 1.13's own root is right to 1e-7 only.
    fidelity = np.sqrt(np.abs(scipy.linalg.eigvals(rho @ sigma))).sum()
    assert abs(M.dist(x, y) - np.arccos(fidelity)) < 1e-13
    # For pure states it is the angle between lines.
    x, y, _ = pair(M, 4, 1, dtype=torch.complex128)
    assert abs(M.dist(x, y) - torch.arccos((x.mH @ y).abs())) < 1e-13


@pytest.mark.parametrize("M", FACTORS, ids=repr)
def test_horizontal_in_single_precision_beside_a_column_of_a_thousandth(M):
    x = M.project(torch.randn(20, 3) * torch.tensor([1.0, 1e-3, 1e-3]))
    v = M.tangent(x, torch.randn(20, 3))
    defect = x.mT @ v - v.mT @ x
    assert defect.abs().max() < 1e-5 * (x.norm() * v.norm()) ** 0.5


def test_correlation_is_flat_in_its_chart():
    M = tm.Correlation()
    x, y, _ = pair(M, 5, 5)

    def chart(c):
        factor = scipy.linalg.cholesky(c.numpy(), lower=True)
        return factor / np.diag(factor)[:, None]

    assert abs(M.dist(x, y) - np.linalg.norm(chart(x) - chart(y))) < 1e-12
    middle = M.exp(x, M.log(x, y) / 2)
    assert np.abs(chart(middle) - (chart(x) + chart(y)) / 2).max() < 1e-12


def test_correlation_keeps_its_diagonal_to_the_bit():
    M = tm.Correlation()
    x = M.random(6, 6)
    for _ in range(50):
        x = M.retract(x, M.random_tangent(x))
    assert (x.diagonal() == 1).all() and M.residual(x) == 0
    z = torch.randn(6, 6)
    c = M.project(z @ z.mT)
    assert torch.allclose(M.project(c), c, rtol=0, atol=1e-6) and (c.diagonal() == 1).all()


@pytest.mark.parametrize("power", [-30, -15, 15, 30])
def test_a_factor_of_any_size_in_float32_has_tangent_vectors(power):
    """The Gram matrix of such a factor would over- or underflow without scaling."""
    M = tm.PositiveSemidefinite()
    x, z = M.random(5, 2), torch.randn(5, 2)
    size = 10.0**power
    assert torch.allclose(M.tangent(size * x, size * z) / size, M.tangent(x, z), atol=1e-5)
