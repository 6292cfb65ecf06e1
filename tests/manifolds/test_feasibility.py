"""Rounding errors of steps do not add up, even if the gradient keeps its direction."""

import math

import pytest
import torch
from cases import ALWAYS_COMPLEX, CASES, entries, every, label, variants

import torchmanifold as tm

ORTHONORMAL = [
    (M, shape)
    for start, shape in ((tm.Stiefel(), (24, 8)), (tm.SpecialOrthogonal(), (12, 12)))
    for M in variants(start)
]


@pytest.mark.parametrize(("M", "shape"), ORTHONORMAL, ids=label)
def test_a_steady_gradient_does_not_pull_off_the_manifold(M, shape):
    """Rounding errors average out along random directions, and add up along a steady one.

    With the Gram matrix `I + v'v`, without the error of the point, the drift here is 900 eps.
    """
    generator = torch.Generator().manual_seed(0)
    x = M.random(*shape, generator=generator)
    pull = 30 * torch.randn(*shape, generator=generator)
    for _ in range(2000):
        x = M.retract(x, -3e-4 * M.gradient(x, pull))
    assert M.residual(x) <= M.tolerance(shape, torch.float32)


# Steps along these may overflow a dtype, because `x + v + v x^-1 v / 2` has a square.
UNBOUNDED = (tm.Quadratic, tm.BuresWasserstein)


@pytest.mark.parametrize(("M", "shape"), every((*CASES, *ALWAYS_COMPLEX)), ids=label)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_of_any_length_stays_on_the_manifold(M, shape, dtype):
    """Also for a step whose square overflows, or whose coordinates or normal part have rank one."""
    generator = torch.Generator().manual_seed(0)
    dtype = entries(M, dtype)
    largest = math.log10(torch.finfo(dtype).max)
    powers = (4, 8, 15, 0.45 * largest, 0.6 * largest, largest - 2)
    retraction = getattr(M, "manifold", M).retraction
    if isinstance(retraction, UNBOUNDED) or isinstance(M.metric, UNBOUNDED):
        powers = (4, 8, 0.3 * largest)
    x = M.random(shape, generator=generator, dtype=dtype)
    for power in powers:
        z = torch.randn(shape, generator=generator, dtype=dtype)
        vectors = [z]
        if z.ndim == 2:
            vectors.append(z[:, :1] * z[:1] / z[:1].abs().max())
        if not isinstance(retraction, tm.NewtonSchulz):  # of a normal vector it sees the rounding
            vectors.append(x)
        for v in vectors:
            v = v * 10**power
            for y in (M.trivialize(x, v), M.retract(x, M.coordinates(x, v))):
                stated = M.retraction_rule.residual
                allowed = M.tolerance(shape, dtype) + (stated(M, shape) if stated else 0)
                assert torch.isfinite(y).all()
                assert M.residual(y).max() <= allowed


@pytest.mark.parametrize(("M", "shape"), ORTHONORMAL, ids=label)
def test_a_long_normal_part_does_not_shorten_a_step(M, shape):
    x = M.random(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    v = 0.1 * M.random_tangent(x)
    coordinates = M.inverse_coordinates(x, v)
    ones = torch.ones(shape[-1], shape[-1], dtype=x.dtype)
    normal = ones if isinstance(M, tm.SpecialOrthogonal) else x @ ones
    y = M.trivialize(x, coordinates + 1e5 * normal)
    assert torch.allclose(y, M.trivialize(x, coordinates), rtol=0, atol=1e-9)
