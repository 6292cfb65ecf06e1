"""Orthogonal and unitary groups: components, half turns, and the logarithm near them."""

import itertools
import math

import pytest
import scipy.linalg
import torch

import torchmanifold as tm

C128 = torch.complex128


def rotation(angle, axis, dtype=torch.float64):
    """Rodrigues' formula."""
    a = axis / axis.norm()
    k = torch.zeros(3, 3, dtype=torch.float64)
    k[0, 1], k[0, 2], k[1, 2] = -a[2], a[1], -a[0]
    k = k - k.mT
    return k, (torch.eye(3, dtype=torch.float64) + math.sin(angle) * k
               + (1 - math.cos(angle)) * k @ k).to(dtype)  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gap", [1.0, 1e-2, 4e-4, 1e-4, 1e-5])
def test_the_logarithm_is_right_up_to_a_half_turn(dtype, gap):
    axis = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)
    k, r = rotation(math.pi - gap, axis, dtype)
    eye = torch.eye(3, dtype=dtype)
    M = tm.SpecialOrthogonal()
    expected = (math.pi - gap) * k
    eps = torch.finfo(dtype).eps
    # float32 is computed in float64; in float64 itself rounding grows towards the half turn.
    tol = 20 * eps if dtype == torch.float32 else 40 * eps / gap
    assert torch.linalg.matrix_norm(M.log(eye, r).double() - expected) < tol
    assert abs(M.dist(eye, r).double() - math.sqrt(2) * (math.pi - gap)) < 20 * eps
    assert torch.linalg.matrix_norm(M.exp(eye, M.log(eye, r)) - r) < 2 * tol


@pytest.mark.parametrize("M", [tm.SpecialOrthogonal(), tm.Orthogonal()], ids=str)
def test_at_a_half_turn_there_are_two_logarithms_and_none_is_given(M):
    half = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    assert torch.isnan(M.log(torch.eye(3), half)).all()
    assert M.dist(torch.eye(3), half) == pytest.approx(math.sqrt(2) * math.pi, rel=1e-6)


def test_the_two_components_of_the_orthogonal_group():
    M = tm.Orthogonal()
    g = torch.Generator().manual_seed(0)
    points = M.random(64, 3, 3, generator=g)
    signs = torch.linalg.det(points).sign()
    assert 10 < int((signs > 0).sum()) < 54
    z = torch.randn(64, 3, 3, generator=g)
    assert torch.equal(torch.linalg.det(M.project(z)).sign(), torch.linalg.det(z).sign())
    for retraction in M.retractions:
        N = tm.Orthogonal(retraction=retraction())
        moved = N.retract(points, 3 * N.random_tangent(points, generator=g))
        assert torch.equal(torch.linalg.det(moved).sign(), signs)
    x, y = points[signs > 0][0], points[signs < 0][0]
    assert M.dist(x, y) == math.inf and torch.isnan(M.log(x, y)).all()


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_the_unitary_group_against_scipy(dtype):
    M, g = tm.Unitary(), torch.Generator().manual_seed(0)
    x, y = M.random(2, 5, 5, generator=g, dtype=dtype)
    expected = scipy.linalg.logm((x.mH @ y).to(torch.complex128).numpy())
    tol = 1e3 * torch.finfo(dtype).eps
    assert torch.linalg.matrix_norm(x.mH @ M.log(x, y) - torch.from_numpy(expected)) < tol
    assert abs(M.dist(x, y) - torch.linalg.matrix_norm(torch.from_numpy(expected))) < tol
    a = torch.randn(5, 5, generator=g, dtype=dtype)
    v = x @ (a - a.mH) / 2
    moved = torch.from_numpy(scipy.linalg.expm((x.mH @ v).to(torch.complex128).numpy()))
    assert torch.linalg.matrix_norm(M.exp(x, v) - x.to(torch.complex128) @ moved) < tol
    assert M.dim((5, 5)) == 25


def unitary(angles, dtype, seed=0):
    """A unitary matrix with these angles, in a random basis."""
    n = len(angles)
    q = tm.Unitary().random(n, n, generator=torch.Generator().manual_seed(seed), dtype=C128)
    return (q * torch.exp(1j * torch.tensor(angles, dtype=torch.float64)) @ q.mH).to(dtype)


@pytest.mark.parametrize("dtype", [torch.complex64, C128], ids=str)
def test_special_unitary_points_have_determinant_one(dtype):
    M, g = tm.SpecialUnitary(), torch.Generator().manual_seed(0)
    eps = torch.finfo(dtype).eps

    def off(x):
        return (torch.linalg.det(x.to(C128)) - 1).abs().max()

    x = M.random(8, 5, 5, generator=g, dtype=dtype)
    z = torch.randn(8, 5, 5, generator=g, dtype=dtype)
    for points in (x, M.project(z), M.project(1e20 * z), M.project(0 * z)):
        assert off(points) < 10 * eps
    pull = torch.randn(5, 5, generator=g, dtype=dtype)
    for _ in range(1000):
        x = M.retract(x, -0.01 * M.gradient(x, pull))
    assert off(x) < 10 * eps
    a = x.mH @ M.random_tangent(x, generator=g)
    trace = a.diagonal(dim1=-2, dim2=-1).sum(-1).abs().max()
    assert trace < 10 * eps and (a + a.mH).abs().max() < 10 * eps
    # i I is unitary, and its determinant -i is a quarter turn from 1.
    residual = M.residual(1j * torch.eye(3, dtype=dtype))
    assert residual == pytest.approx(math.pi / 2 / math.sqrt(3), rel=1e-6)


def near_and_far():
    """Matrices whose nearest point has small angles, or one angle beyond a right angle."""
    g = torch.Generator().manual_seed(0)
    z = torch.randn(4, 3, 3, generator=g, dtype=C128)
    u, s, vh = torch.linalg.svd(z)
    s[2:, -1] *= 0.1
    phase = (torch.linalg.det(u @ vh)).angle()
    turn = torch.exp(1j * (torch.tensor([0.3, -1.0, 3.0, -2.9]) - phase) / 3)
    return turn[:, None, None] * (u * s[:, None]) @ vh


def test_the_nearest_special_unitary_matrix_and_its_derivatives():
    """No other point is nearer, among many and among the results of descent from them.

    At the nearest point `z = x (h - i m I)`, with a Hermitian `h` that is definite beside phases.
    """
    M, g = tm.SpecialUnitary(), torch.Generator().manual_seed(1)
    z = near_and_far()
    x = M.project(z)
    defect = x.mH @ z
    h = (defect + defect.mH) / 2
    rest = defect - h
    m = rest.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    assert (rest - m * torch.eye(3)).abs().max() < 1e-13
    assert (torch.linalg.eigvalsh(h)[:, 0] < 0).tolist() == [False, False, True, True]
    size = torch.linalg.matrix_norm
    y = M.random(200, 4, 3, 3, generator=g, dtype=C128)
    for _ in range(300):
        y = M.retract(y, -0.2 * M.gradient(y, y - z))
    reached = size(y - z).amin(0)
    assert (size(x - z) <= reached + 1e-12).all() and (reached - size(x - z)).max() < 1e-3
    for matrix in z:
        matrix = matrix.clone().requires_grad_()
        assert torch.autograd.gradcheck(M.project, (matrix,))
        assert torch.autograd.gradgradcheck(M.project, (matrix,))


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_the_special_unitary_logarithm_is_the_shortest_of_trace_zero(n):
    """Against all choices of multiples of a turn, which scipy's logarithm does not make."""
    M, g = tm.SpecialUnitary(), torch.Generator().manual_seed(0)
    x, y = M.random(2, 40, n, n, generator=g, dtype=C128)
    v = M.log(x, y)
    assert (M.exp(x, v) - y).abs().max() < 1e-12
    assert (M.tangent(x, v) - v).abs().max() < 1e-13
    angles = torch.linalg.eigvals(x.mH @ y).angle()
    turns = torch.tensor(list(itertools.product((-1.0, 0.0, 1.0), repeat=n)), dtype=torch.float64)
    choices = angles[:, None] + 2 * math.pi * turns
    lengths = choices.norm(dim=-1).where(choices.sum(-1).abs() < 1e-6, math.inf)
    expected = lengths.amin(-1)
    assert (torch.linalg.matrix_norm(v) - expected).abs().max() < 1e-12
    assert (M.dist(x, y) - expected).abs().max() < 1e-12
    beyond = angles.sum(-1).abs() > 1
    assert n < 4 or 0 < beyond.sum() < 40  # where the principal logarithm has another trace


@pytest.mark.parametrize("dtype", [torch.complex64, C128], ids=str)
def test_the_special_unitary_logarithm_up_to_the_cut_locus(dtype):
    M, eye = tm.SpecialUnitary(), torch.eye(3, dtype=dtype)
    eps = torch.finfo(dtype).eps
    for gap in (1.0, 1e-2, 1e-4, 1e-5):
        angles = [math.pi - gap / 2, -math.pi + gap / 2, 0.0]
        y, length = unitary(angles, dtype), math.sqrt(2) * (math.pi - gap / 2)
        v = M.log(eye, y)
        tol = 40 * eps if dtype == torch.complex64 else 40 * eps / gap
        assert torch.linalg.matrix_norm(M.exp(eye, v) - y) < tol
        assert torch.linalg.matrix_norm(v) == pytest.approx(length, abs=tol)
        assert M.dist(eye, y) == pytest.approx(length, abs=20 * eps)
    # Two angles a turn apart: there are two logarithms, and none is given.
    for angles in ([math.pi, -math.pi, 0.0], [math.pi + 0.5, 0.5 - math.pi, -1.0]):
        y = unitary(angles, dtype)
        assert torch.isnan(M.log(eye, y)).all()
        assert M.dist(eye, y) == pytest.approx(math.hypot(*angles), abs=20 * eps)
    # An eigenvalue -1 alone is no cut, nor are principal angles that add up to a turn.
    for parts in ([1.0, -0.5, -0.5], [-1.2, 0.7, 0.5]):
        angles = [math.pi * part for part in parts]
        y = unitary(angles, dtype)
        v = M.log(eye, y)
        assert torch.linalg.matrix_norm(M.exp(eye, v) - y) < 40 * eps
        assert torch.linalg.matrix_norm(v) == pytest.approx(math.hypot(*angles), abs=40 * eps)
    assert M.injectivity_radius((3, 3)) == pytest.approx(math.sqrt(2) * math.pi)


def test_the_special_unitary_group_is_not_landed_on():
    """Landing keeps the columns orthonormal, but not the determinant."""
    layer = torch.nn.Linear(3, 3, dtype=torch.complex64)
    tm.constrain(layer, "weight", tm.SpecialUnitary(), how="riemannian")
    with pytest.raises(ValueError, match="give it to RiemannianSGD"):
        tm.optim.Landing(layer)


def test_what_is_real_and_what_is_complex():
    with pytest.raises(TypeError, match="points are real, got torch.complex64; use torch.float32"):
        tm.Orthogonal().project(torch.randn(3, 3, dtype=torch.complex64))
    with pytest.raises(
        TypeError, match="points are complex, got torch.float32; use torch.complex64"
    ):
        tm.Unitary().project(torch.randn(3, 3))
    with pytest.raises(ValueError, match="Stiefel"):
        tm.Orthogonal().random(4, 3)
    layer = tm.constrain(torch.nn.Linear(3, 3), "weight", tm.Orthogonal(), how="riemannian")
    assert tm.Orthogonal().residual(layer.weight) < 1e-6
