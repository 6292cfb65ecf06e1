"""Arguments that are no points get an error with the remedy; projections under vmap."""

import numpy as np
import pytest
import torch
from cases import ALWAYS_COMPLEX, CASES, entries, label

import torchmanifold as tm
from torchmanifold import maps

EACH = [(case.manifold, case.shapes[0]) for case in (*CASES, *ALWAYS_COMPLEX)]
over_each = pytest.mark.parametrize(("M", "shape"), EACH, ids=label)


@over_each
def test_projections_under_vmap_are_those_of_the_loop(M, shape):
    z = torch.randn(3, *shape, dtype=entries(M, torch.float64))
    each = torch.stack([M.project(one) for one in z])
    torch.testing.assert_close(torch.func.vmap(M.project)(z), each)


@pytest.mark.parametrize(
    "module",
    [
        maps.FixedRank(2),
        maps.LowRank(2),
        maps.PositiveDeterminant(),
        maps.PositiveSemidefinite(2),
        maps.SpectralBound(1.0),
        maps.UnitDeterminant(),
    ],
    ids=lambda module: type(module).__name__,
)
def test_projections_of_maps_under_vmap_are_those_of_the_loop(module):
    z = torch.randn(3, 4, 4, dtype=torch.float64)
    each = torch.stack([module.project(one) for one in z])
    torch.testing.assert_close(torch.func.vmap(module.project)(z), each)


@over_each
def test_arrays_integers_and_seeds_are_refused(M, shape):
    x = M.random(shape, dtype=entries(M, torch.float64))
    with pytest.raises(TypeError, match=r"points and vectors are tensors, got ndarray|as_tensor"):
        M.tangent(x, np.ones(shape))
    with pytest.raises(TypeError, match=r"torch.as_tensor"):
        M.project(np.ones(shape))
    with pytest.raises(TypeError, match=r"got torch.int64"):
        M.retract(x.real.long(), x.real.long())
    with pytest.raises(TypeError, match=r"a seed is torch.Generator\(\).manual_seed\(0\)"):
        M.random(shape, generator=0)
    with pytest.raises(TypeError, match=r"a seed is torch.Generator\(\).manual_seed\(0\)"):
        M.random_tangent(x, generator=0)


@pytest.mark.parametrize(
    ("M", "shape", "dtype"),
    [
        *((case.manifold, case.shapes[0], torch.float32) for case in ALWAYS_COMPLEX),
        (tm.SpecialOrthogonal(), (3, 3), torch.complex64),
        (tm.Positive(), (3,), torch.complex64),
    ],
    ids=str,
)
def test_real_points_of_complex_manifolds_are_refused_and_the_reverse(M, shape, dtype):
    x = torch.ones(shape, dtype=dtype)
    for call in (M.tangent, M.retract, M.transport):
        arguments = (x, x, x) if call == M.transport else (x, x)
        with pytest.raises(TypeError, match=r"points are (real|complex), got"):
            call(*arguments)


@pytest.mark.parametrize("distance", [tm.thompson_distance, tm.stein_divergence])
def test_divergences_name_shapes_that_do_not_fit(distance):
    with pytest.raises(ValueError, match=r"of one size, got the shapes \(3, 3\) and \(4, 4\)"):
        distance(torch.eye(3), torch.eye(4))
    with pytest.raises(TypeError, match="x must be a tensor, got ndarray"):
        distance(np.eye(3), torch.eye(3))


def test_a_time_is_a_number():
    x = torch.tensor([1.0, 0.0])
    with pytest.raises(TypeError, match="t must be a number or a tensor of numbers, got 'half'"):
        tm.Sphere().geodesic(x, x.flip(0), "half")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: maps.LowRank(2)(torch.ones(3, 3), torch.eye(2), torch.ones(3, 2)), "got .3, 3.,"),
        (lambda: maps.SpectralBound(1.0)(torch.ones(3)), "expected a matrix .* got the shape .3,."),
        (lambda: maps.Triangular()(torch.ones(3)), "expected a matrix .* got the shape .3,."),
        (lambda: tm.optim.RiemannianSGD([], lr=0.1), "RiemannianSGD: params is empty; pass a"),
    ],
)
def test_shapes_of_maps_and_empty_lists_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
