"""The polar direction: optimal polynomials, their effect on singular values, and symmetries."""

import pytest
import torch

from torchmanifold.manifolds import maps
from torchmanifold.manifolds.linalg import skew
from torchmanifold.manifolds.maps.polar_direction import QUINTICS

F64 = torch.float64


def with_singular_values(values, n):
    p = len(values)
    u, v = (torch.linalg.qr(torch.randn(k, p, dtype=F64))[0] for k in (n, p))
    return (u * values) @ v.mT, u @ v.mT


def test_each_polynomial_is_the_best_of_its_degree():
    """Three coefficients, and four points with the largest error, with alternating signs."""
    low, high = 1e-3, 1.0
    for a, b, c in QUINTICS[:-1]:
        s = torch.linspace(low, high, 200001, dtype=F64)
        error = a * s + b * s**3 + c * s**5 - 1
        e = float(error.abs().max())
        inside = error[1:-1]
        turns = (inside > error[:-2]) & (inside >= error[2:])
        dips = (inside < error[:-2]) & (inside <= error[2:])
        found = [error[0], *inside[turns], *inside[dips], error[-1]]
        wanted = torch.tensor([-e, e, -e, e], dtype=F64)
        assert torch.allclose(torch.stack(found), wanted, rtol=0, atol=1e-8)
        low, high = 1 - e, 1 + e
    assert e < 1e-3


@pytest.mark.parametrize("shape", [(40, 40), (40, 10)], ids=str)
@pytest.mark.parametrize(
    ("steps", "dtype", "low", "high"),
    [
        (5, None, 0.885, 1.115),
        (6, None, 0.999, 1.001),
        (7, None, 1 - 2e-6, 1 + 2e-6),
        (12, None, 1 - 1e-6, 1 + 1e-6),
        (5, torch.bfloat16, 0.78, 1.13),
    ],
)
def test_singular_values_become_nearly_one(shape, steps, dtype, low, high):
    torch.manual_seed(0)
    values = torch.logspace(-3, 0, shape[1], dtype=F64)
    values = (values / values.norm()).clamp_min(1.1e-3)
    z, q = with_singular_values(1e4 * values, shape[0])
    d = maps.polar_direction(z.float(), steps, dtype)
    assert d.dtype == torch.float32
    s = torch.linalg.svdvals(d.double())
    assert low <= s.min() and s.max() <= high
    if steps > 6:
        assert torch.allclose(d.double(), q, atol=1e-4)
    if shape[0] > shape[1]:
        assert torch.equal(maps.polar_direction(z.mT.float(), steps, dtype), d.mT)


def test_a_stack_is_one_by_one_and_zero_stays_zero():
    z = torch.randn(2, 3, 6, 4, dtype=F64)
    z[0, 1] = 0
    d = maps.polar_direction(z)
    assert torch.equal(d[0, 1], z[0, 1])
    for i in range(2):
        for k in range(3):
            assert torch.allclose(d[i, k], maps.polar_direction(z[i, k]), rtol=0, atol=1e-13)


@pytest.mark.parametrize("n", [6, 7])
def test_skew_stays_skew_also_where_it_is_singular(n):
    a = skew(torch.randn(n, n, dtype=F64))
    d = maps.polar_direction(a, steps=8)
    assert torch.allclose(d, -d.mT, rtol=0, atol=1e-11)
    ones = torch.linalg.svdvals(d)
    assert torch.allclose(ones[: n - n % 2], torch.ones(n - n % 2, dtype=F64))
    assert ones[n - n % 2 :].abs().sum() < 1e-10


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e30, 1e38])
def test_tiny_and_huge_matrices(scale):
    torch.manual_seed(0)
    z = torch.rand(5, 3) + torch.eye(5, 3)
    d = maps.polar_direction(z * scale)
    assert torch.allclose(d, maps.polar_direction(z), atol=1e-5 if scale > 1e-40 else 0.1)


def test_complex_matrices_and_columns():
    z = torch.randn(4, 4, dtype=torch.complex128)
    u, _, vh = torch.linalg.svd(z)
    assert torch.allclose(maps.polar_direction(z, steps=12), u @ vh, atol=1e-10)
    v = torch.randn(3, 5, 1)
    assert torch.allclose(maps.polar_direction(v, dtype=torch.bfloat16), v / v.norm(dim=1)[:, None])
