"""Values against scipy and against peers, where they are right, in float64."""

import geoopt
import geotorch
import numpy as np
import pymanopt.manifolds as pm
import pytest
import scipy.linalg
import torch
from torch import Tensor

import torchmanifold as tm

F64 = torch.float64


def same(ours: Tensor, theirs: object, tolerance: float = 1e-12) -> None:
    theirs = torch.as_tensor(np.asarray(theirs))
    assert ours.shape == theirs.shape
    assert (ours - theirs).norm() <= tolerance * (1 + theirs.norm()), (ours - theirs).norm()


def pair(M: tm.Manifold, *shape: int) -> tuple[Tensor, Tensor, Tensor]:
    x, y = M.random(*shape, dtype=F64), M.random(*shape, dtype=F64)
    return x, y, 0.7 * M.random_tangent(x)


def test_sphere():
    M, peer = tm.Sphere(retraction=tm.Exp()), pm.Sphere(6)
    x, y, v = pair(M, 6)
    z = torch.randn(6, dtype=F64)
    h = torch.randn(6, dtype=F64)
    same(M.exp(x, v), peer.exp(x.numpy(), v.numpy()))
    for end in (y, -y):  # one of them is more than a right angle away
        same(M.log(x, end), peer.log(x.numpy(), end.numpy()))
        same(M.dist(x, end), peer.dist(x.numpy(), end.numpy()))
    same(M.tangent(x, z), peer.projection(x.numpy(), z.numpy()))
    same(
        M.hessian(x, z, h, v),
        peer.euclidean_to_riemannian_hessian(*(t.numpy() for t in (x, z, h, v))),
    )
    same(tm.Sphere().retract(x, v), geoopt.Sphere().retr(x, v))
    same(M.exp(x, v), geoopt.SphereExact().expmap(x, v))


def test_stiefel_against_pymanopt():
    peer_qr, peer_polar = pm.Stiefel(7, 3, retraction="qr"), pm.Stiefel(7, 3, retraction="polar")
    M = tm.Stiefel(retraction=tm.Exp())
    x, _, v = pair(M, 7, 3)
    z, h = torch.randn(7, 3, dtype=F64), torch.randn(7, 3, dtype=F64)
    a, u, w, e = (t.numpy() for t in (x, v, z, h))
    same(M.exp(x, v), peer_qr.exp(a, u))
    same(tm.Stiefel(retraction=tm.QR()).retract(x, v), peer_qr.retraction(a, u))
    same(tm.Stiefel(retraction=tm.Polar()).retract(x, v), peer_polar.retraction(a, u))
    same(M.tangent(x, z), peer_qr.projection(a, w))
    same(M.hessian(x, z, h, v), peer_qr.euclidean_to_riemannian_hessian(a, w, e, u))
    assert M.dim((7, 3)) == peer_qr.dim


def test_stiefel_exponential_against_the_full_matrix():
    """The canonical geodesic is `expm(A) x` with a skew `A` of size n (Edelman et al. 1998)."""
    M = tm.Stiefel(metric=tm.Canonical(), retraction=tm.Exp())
    x, _, v = pair(M, 7, 3)
    half = v @ x.mT - x @ (x.mT @ v) @ x.mT / 2
    generator = half - half.mT
    same(M.exp(x, v), scipy.linalg.expm(generator.numpy()) @ x.numpy())
    eye = torch.eye(7, dtype=F64)
    cayley = torch.linalg.solve(eye - generator / 2, (eye + generator / 2) @ x)
    same(tm.Stiefel(metric=tm.Canonical(), retraction=tm.Cayley()).retract(x, v), cayley)


def test_stiefel_gradients_against_geoopt():
    x = tm.Stiefel().random(7, 3, dtype=F64)
    g = torch.randn(7, 3, dtype=F64)
    same(tm.Stiefel().gradient(x, g), geoopt.EuclideanStiefel().egrad2rgrad(x, g))
    same(
        tm.Stiefel(metric=tm.Canonical()).gradient(x, g),
        geoopt.CanonicalStiefel().egrad2rgrad(x, g),
    )


def test_geoopt_canonical_retraction_is_no_retraction_and_ours_is():
    """The peer's derivative at 0 has an error of 10 to 30 % for any step; ours has O(t)."""
    M = tm.Stiefel(metric=tm.Canonical(), retraction=tm.Cayley())
    x = M.random(10, 4, dtype=F64)
    v = M.random_tangent(x)
    off = {}
    for t in (1e-3, 1e-5):
        off["geoopt", t] = float(((geoopt.CanonicalStiefel().retr(x, t * v) - x) / t - v).norm())
        off["ours", t] = float(((M.retract(x, t * v) - x) / t - v).norm())
    assert off["geoopt", 1e-3] > 0.05 and off["geoopt", 1e-5] > 0.05
    assert off["ours", 1e-3] < 1e-2 and off["ours", 1e-5] < 1e-4


def test_grassmann_against_pymanopt():
    M, peer = tm.Grassmann(), pm.Grassmann(7, 3)
    x, y, v = pair(M, 7, 3)
    z, h = torch.randn(7, 3, dtype=F64), torch.randn(7, 3, dtype=F64)
    z = y @ (y.mT @ x)  # the gradient of ||y'x||^2 / 2, which does not depend on the bases
    a, b, u, w, e = (t.numpy() for t in (x, y, v, z, h))
    moved = torch.as_tensor(peer.exp(a, u))
    same(M.exp(x, v) @ M.exp(x, v).mT, moved @ moved.mT)
    same(M.log(x, y), peer.log(a, b), 1e-11)
    same(M.dist(x, y), peer.dist(a, b))
    same(M.tangent(x, h), peer.projection(a, e))
    same(M.hessian(x, z, h, v), peer.euclidean_to_riemannian_hessian(a, w, e, u))
    assert M.dim((7, 3)) == peer.dim


@pytest.mark.parametrize("length", [0.0, 1e-4, 0.7, 3.0, 20.0])
def test_grassmann_transports_as_the_rotation_that_moves_the_point(length):
    M = tm.Grassmann()
    x, _, w = pair(M, 7, 3)
    v = M.random_tangent(x)
    v = (length * v / v.norm()).requires_grad_()
    turn = scipy.linalg.expm((v @ x.mT - x @ v.mT).detach().numpy())
    same(M.parallel_transport(x, v, w).detach(), turn @ w.numpy())
    assert torch.autograd.gradcheck(lambda v: M.parallel_transport(x, v, w), v)


def test_a_point_of_grassmann_is_a_subspace_and_not_its_basis():
    M = tm.Grassmann(retraction=tm.Exp())
    x, y, v = pair(M, 7, 3)
    q, r = (tm.Stiefel().random(3, 3, dtype=F64) for _ in range(2))
    assert M.dist(x, x @ q) < 1e-14
    same(M.dist(x @ q, y @ r), M.dist(x, y))
    same(M.log(x @ q, y @ r), M.log(x, y) @ q)
    same(M.retract(x @ q, v @ q), M.retract(x, v) @ q)


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
@pytest.mark.parametrize("angles", [(0.4, 0.4), (0.0, 1.2), (0.0, 0.0), (1e-5, 1.57)], ids=str)
def test_grassmann_at_repeated_zero_tiny_and_nearly_right_angles(angles, dtype):
    M = tm.Grassmann()
    x = torch.eye(5, 2, dtype=dtype)
    v = torch.zeros(5, 2, dtype=dtype)
    v[2, 0], v[3, 1] = angles
    y = (M.exp(x, v) @ tm.SpecialOrthogonal().random(2, 2, dtype=dtype)).requires_grad_()
    eps = torch.finfo(dtype).eps
    assert (M.dist(x, y) - v.norm()).abs() < 10 * eps
    assert (M.log(x, y) - v).norm() < 1e4 * eps  # near a right angle the tangent is large
    (slope,) = torch.autograd.grad(M.dist(x, y), y)
    length = float(v.norm() > 0)  # a distance grows at unit speed, and has a corner at zero
    assert (M.tangent(y, slope).norm() - length).abs() < 1e4 * eps


def test_special_orthogonal_against_scipy_and_geotorch():
    M = tm.SpecialOrthogonal(retraction=tm.Exp())
    x, y, v = pair(M, 5, 5)
    same(M.exp(x, v), x.numpy() @ scipy.linalg.expm((x.mT @ v).numpy()))
    same(M.log(x, y), x.numpy() @ np.real(scipy.linalg.logm((x.mT @ y).numpy())), 1e-10)
    so = geotorch.SO(torch.Size((5, 5)), triv="expm").double()
    so.right_inverse(x)  # the base becomes x
    raw = torch.randn(5, 5, dtype=F64)
    lower = raw.tril(-1)
    same(so.forward(raw).detach(), M.retract(x, x @ (lower - lower.mT)), 1e-10)


@pytest.mark.parametrize("shape", [(4, 4), (3, 4, 4)], ids=str)
def test_spd_affine_invariant(shape):
    M = tm.SymmetricPositiveDefinite()
    peer = pm.SymmetricPositiveDefinite(4, k=shape[0] if len(shape) == 3 else 1)
    x, y, v = pair(M, *shape)
    g = tm.Symmetric().random(*shape, dtype=F64)
    a, b, u, e = (t.numpy() for t in (x, y, v, g))
    same(M.exp(x, v), peer.exp(a, u), 1e-11)
    same(M.log(x, y), peer.log(a, b), 1e-11)
    same(torch.linalg.vector_norm(M.dist(x, y)), peer.dist(a, b), 1e-11)
    same(M.gradient(x, g), peer.euclidean_to_riemannian_gradient(a, e))
    same(M.hessian(x, g, g, v), peer.euclidean_to_riemannian_hessian(a, e, e, u), 1e-11)
    same(
        tm.SymmetricPositiveDefinite(retraction=tm.Quadratic()).retract(x, v),
        peer.retraction(a, u),
        1e-11,
    )
    same(M.exp(x, v), geoopt.SymmetricPositiveDefinite().expmap(x, v), 1e-11)


def test_spd_bures_wasserstein_against_scipy():
    M = tm.SymmetricPositiveDefinite(metric=tm.BuresWasserstein())
    x, y, v = pair(M, 4, 4)
    a, b = x.numpy(), y.numpy()
    root = scipy.linalg.sqrtm(a)
    trace = np.trace(a + b) - 2 * np.trace(np.real(scipy.linalg.sqrtm(root @ b @ root)))
    same(M.dist(x, y), np.sqrt(trace), 1e-7)
    product = np.real(scipy.linalg.sqrtm(a @ b))
    same(M.log(x, y), product + product.T - 2 * a, 1e-9)
    s = scipy.linalg.solve_continuous_lyapunov(a, v.numpy())
    same(M.exp(x, v), (np.eye(4) + s) @ a @ (np.eye(4) + s), 1e-11)


def test_spd_log_euclidean_against_scipy():
    M = tm.SymmetricPositiveDefinite(metric=tm.LogEuclidean())
    x, y, _v = pair(M, 4, 4)
    a, b = scipy.linalg.logm(x.numpy()), scipy.linalg.logm(y.numpy())
    same(M.dist(x, y), np.linalg.norm(a - b), 1e-11)
    _, moved = scipy.linalg.expm_frechet(a, b - a)
    same(M.log(x, y), moved, 1e-11)


def test_fixed_rank_against_pymanopt():
    M, peer = tm.FixedRank(2), pm.FixedRankEmbedded(6, 5, 2)
    x, _, _v = pair(M, 6, 5)
    z = torch.randn(6, 5, dtype=F64)
    u, s, vt = np.linalg.svd(x.numpy(), full_matrices=False)
    at = (u[:, :2], s[:2], vt[:2])
    embedded = peer.embedding(at, peer.projection(at, z.numpy()))
    dense = embedded[0] @ embedded[1] @ embedded[2].T
    same(M.tangent(x, z), dense, 1e-11)
    assert M.dim((6, 5)) == peer.dim


@pytest.mark.parametrize("shape", [(6, 6), (8, 3), (2, 5, 4)], ids=str)
def test_project_is_the_polar_factor(shape):
    z = torch.randn(*shape, dtype=F64)
    expected = np.stack([scipy.linalg.polar(m)[0] for m in z.reshape(-1, *shape[-2:]).numpy()])
    same(tm.Stiefel().project(z), expected.reshape(shape))


def test_the_nearest_rotation_is_nearer_than_others():
    M = tm.SpecialOrthogonal()
    z = torch.randn(200, 4, 4, dtype=F64)
    nearest = (M.project(z) - z).square().sum((-2, -1))
    others = (M.random(50, 1, 4, 4, dtype=F64) - z).square().sum((-2, -1))
    turned = M.retract(M.project(z), 1e-3 * M.random_tangent(M.project(z)))
    assert (torch.linalg.det(M.project(z)) > 0).all()
    assert (nearest <= others.amin(0)).all()
    assert (nearest <= (turned - z).square().sum((-2, -1)) + 1e-12).all()


def test_uniform_means_uniform():
    """Moments of the Haar measure: E x_ij = 0, E x_ij^2 = 1/n, both determinants on Stiefel."""
    x = tm.Stiefel().random(20000, 3, 3, dtype=F64)
    assert x.mean(0).abs().max() < 0.02 and (x.square().mean(0) - 1 / 3).abs().max() < 0.02
    assert abs(float((torch.linalg.det(x) > 0).double().mean()) - 0.5) < 0.02
    r = tm.SpecialOrthogonal().random(20000, 3, 3, dtype=F64)
    assert r.mean(0).abs().max() < 0.02
    # The angle of a Haar rotation of 3-space has density (1 - cos t) / pi: E trace = 0.
    assert abs(float(r.diagonal(dim1=-2, dim2=-1).sum(-1).mean())) < 0.03


def test_large_rotations_are_rotations():
    """A determinant of 512 pivots underflows in float32; its sign does not."""
    M = tm.SpecialOrthogonal()
    for x in (M.random(512, 512), M.project(torch.randn(512, 512))):
        assert M.residual(x) <= M.tolerance((512, 512), torch.float32)


def test_distances_at_the_cut_locus():
    """The distance exists at a half turn; the logarithm is not unique, so it is NaN."""
    eye = torch.eye(3, dtype=F64)
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=F64))
    M = tm.SpecialOrthogonal()
    same(M.dist(eye, half_turn), np.pi * np.sqrt(2))
    q = M.random(3, 3, dtype=F64)
    same(M.dist(eye, q @ half_turn @ q.mT), np.pi * np.sqrt(2))
    assert M.log(eye, half_turn).isnan().all()
    x = tm.Sphere().random(4, dtype=F64)
    same(tm.Sphere().dist(x, -x), np.pi)
    same(tm.Sphere().dist(x, x), 0.0)


def test_long_steps_do_not_overflow():
    x = tm.Sphere().random(4)
    y = tm.Sphere().retract(x, tm.Sphere().tangent(x, torch.full((4,), 1e25)))
    assert tm.Sphere().residual(y) < 1e-6
    M = tm.SpecialOrthogonal()
    x = M.random(20, 20)
    v = M.tangent(x, torch.randn(20, 1) @ torch.randn(1, 20))
    for size in (1e2, 1e3, 1e4):
        assert M.residual(M.retract(x, size * v)) <= M.tolerance((20, 20), torch.float32)


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_long_cayley_steps_keep_their_digits(size):
    """In float32 the solve alone would lose 20 eps and more."""
    M = tm.SpecialOrthogonal(retraction=tm.Cayley())
    x = M.random(64, 64)
    v = size * M.random_tangent(x)
    wide = M.retract(x.double(), M.tangent(x.double(), v.double()))
    assert (M.retract(x, v) - wide).abs().max() < 3 * torch.finfo(torch.float32).eps


def test_the_zero_matrix_is_not_positive_definite():
    M = tm.SymmetricPositiveDefinite()
    assert M.residual(torch.zeros(3, 3)) == 1 and M.residual(torch.eye(3)) == 0


def test_the_models_of_hyperbolic_space_are_isometric():
    """The stereographic projection takes the hyperboloid to the ball."""
    c = 0.7
    ball, lorentz = tm.PoincareBall(c), tm.Lorentz(c)
    x, y = lorentz.random(5, 4, dtype=F64), lorentz.random(5, 4, dtype=F64)
    root = c**-0.5

    def onto_the_ball(point: Tensor) -> Tensor:
        return root * point[..., 1:] / (root + point[..., :1])

    same(ball.dist(onto_the_ball(x), onto_the_ball(y)), lorentz.dist(x, y).numpy(), 1e-10)
    v = lorentz.random_tangent(x)
    _, pushed = torch.autograd.functional.jvp(onto_the_ball, x, v)
    same(ball.norm(onto_the_ball(x), pushed), lorentz.norm(x, v).numpy(), 1e-10)


def test_hyperbolic_spaces():
    M, peer = tm.PoincareBall(), pm.PoincareBall(4)
    x, y, v = pair(M, 4)
    same(M.exp(x, v), peer.exp(x.numpy(), v.numpy()))
    same(M.log(x, y), peer.log(x.numpy(), y.numpy()))
    same(M.dist(x, y), peer.dist(x.numpy(), y.numpy()))
    L, other = tm.Lorentz(), geoopt.Lorentz()
    x, y, v = pair(L, 5)
    same(L.exp(x, v), other.expmap(x, v), 1e-10)
    same(L.dist(x, y), other.dist(x, y), 1e-10)
    # Distances far below the precision of an inverse hyperbolic cosine.
    near = L.exp(x, 1e-9 * L.random_tangent(x))
    same(L.dist(x, near), 1e-9 * torch.ones(()).numpy(), 1e-6)


def test_positive_numbers():
    M, peer = tm.Positive(retraction=tm.Exp()), pm.Positive(1, 5)
    x, y, v = pair(M, 1, 5)
    same(M.exp(x, v), peer.exp(x.numpy(), v.numpy()))
    same(M.log(x, y), peer.log(x.numpy(), y.numpy()))
    same(M.dist(x, y)[0], peer.dist(x.numpy(), y.numpy()))


def test_multinomial_is_geoopt_s_sphere_of_roots():
    M, peer = tm.Multinomial(), geoopt.SphereExact()
    x, y, v = pair(M, 3, 5)
    v = 0.2 * v  # short enough to stay inside
    w = M.random_tangent(x)
    root, other = x.sqrt(), y.sqrt()
    same(M.dist(x, y), 2 * peer.dist(root, other), 1e-9)
    same(M.log(x, y), 2 * root * peer.logmap(root, other), 1e-9)
    same(M.exp(x, v), peer.expmap(root, v / (2 * root)).square(), 1e-9)
    same(M.inner(x, v, w), 4 * peer.inner(root, v / (2 * root), w / (2 * root)), 1e-9)


def test_doubly_stochastic_is_geoopt_s_polytope_but_for_the_scale_of_its_metric():
    M, peer = tm.DoublyStochastic(), geoopt.BirkhoffPolytope(max_iter=2000, tol=1e-14, eps=0.0)
    x, _, v = pair(M, 4, 4)
    z = torch.rand(4, 4, dtype=F64) + 0.1
    same(M.gradient(x, z), peer.egrad2rgrad(x, z), 1e-9)
    same(M.inner(x, v, v), 4 * peer.inner(x, v))  # geoopt divides by n, but not the gradient
    same(M.project(z), peer.projx(z[None])[0], 1e-9)
