"""Initial kernels: orthogonal, with the spectra that the papers state."""

import math

import pytest
import torch

import torchmanifold as tm
from torchmanifold.nn import init


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("name", init.INITIALIZATIONS)
@pytest.mark.parametrize("size", [1, 2, 7, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotations(name, size, dtype):
    x = init.INITIALIZATIONS[name](size, generator=generator(), dtype=dtype)
    M = tm.SpecialOrthogonal()
    assert x.shape == (size, size) and x.dtype == dtype
    assert M.residual(x) <= M.tolerance(x.shape, dtype)
    again = init.INITIALIZATIONS[name](size, generator=generator(), dtype=dtype)
    assert torch.equal(x, again)


def angles(x):
    found = torch.linalg.eigvals(x).angle().sort().values
    torch.testing.assert_close(found, -found.flip(0), atol=1e-9, rtol=0)  # conjugate pairs
    return found[len(found) // 2 :]


def uniform_on(sample, low, high):
    """Within the 1 in 10^4 band of Kolmogorov and Smirnov."""
    sample = (sample.sort().values - low) / (high - low)
    steps = torch.arange(1, len(sample) + 1) / len(sample)
    return (sample - steps).abs().max() < 2.2 / math.sqrt(len(sample))


def test_henaff_has_all_frequencies():
    found = angles(init.henaff(1000, generator=generator(), dtype=torch.float64))
    assert uniform_on(found, 0, math.pi)


def test_cayley_has_the_right_half_of_the_circle():
    x = init.cayley(1000, generator=generator(), dtype=torch.float64)
    assert uniform_on(angles(x), 0, math.pi / 2)


def test_cayley_is_the_cayley_image_of_the_published_skew_matrix():
    x = init.cayley(7, generator=generator(), dtype=torch.float64)
    theta = torch.empty(3, dtype=torch.float64).uniform_(0, math.pi / 2, generator=generator())
    s = -torch.sqrt((1 - theta.cos()) / (1 + theta.cos()))
    a = torch.zeros(7, 7, dtype=torch.float64)
    for i in range(3):
        a[2 * i, 2 * i + 1], a[2 * i + 1, 2 * i] = s[i], -s[i]
    eye = torch.eye(7, dtype=torch.float64)
    torch.testing.assert_close(x, torch.linalg.solve(eye + a, eye - a))


def test_henaff_is_the_exponential_of_the_published_skew_matrix():
    x = init.henaff(5, generator=generator(), dtype=torch.float64)
    s = torch.empty(2, dtype=torch.float64).uniform_(-math.pi, math.pi, generator=generator())
    a = torch.zeros(5, 5, dtype=torch.float64)
    for i in range(2):
        a[2 * i, 2 * i + 1], a[2 * i + 1, 2 * i] = s[i], -s[i]
    torch.testing.assert_close(x, torch.linalg.matrix_exp(a))


def test_haar_spreads_over_all_entries():
    g = generator()
    x = torch.stack([init.haar(6, generator=g, dtype=torch.float64) for _ in range(2000)])
    torch.testing.assert_close(
        x.square().mean(0), torch.full((6, 6), 1 / 6, dtype=torch.float64), atol=0.02, rtol=0
    )
    assert x.mean(0).abs().max() < 0.04
