"""Orthogonal and unitary groups: components, half turns, and the logarithm near them."""

import math

import pytest
import scipy.linalg
import torch

import torchmanifold as tm


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


def test_what_is_real_and_what_is_complex():
    with pytest.raises(TypeError, match="points are real"):
        tm.Orthogonal().project(torch.randn(3, 3, dtype=torch.complex64))
    with pytest.raises(TypeError, match="points are complex"):
        tm.Unitary().project(torch.randn(3, 3))
    with pytest.raises(ValueError, match="Stiefel"):
        tm.Orthogonal().random(4, 3)
    layer = tm.constrain(torch.nn.Linear(3, 3), "weight", tm.Orthogonal(), how="riemannian")
    assert tm.Orthogonal().residual(layer.weight) < 1e-6
