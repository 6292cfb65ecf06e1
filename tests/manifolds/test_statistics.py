"""Means, geodesics and pairwise distances of every manifold with a logarithm."""

import pytest
import torch
from cases import ALWAYS_COMPLEX, CASES, PRODUCTS, entries, label

import torchmanifold as tm
from torchmanifold.manifolds.geometry.structure import leaves, mapped

WITH_LOG = [
    (case.manifold, case.shapes[0])
    for case in (*CASES, *ALWAYS_COMPLEX, *PRODUCTS)
    if case.manifold.offers("log") and case.manifold.offers("exp")
]


def cloud(M, shape, size=0.5):
    """Six points in each of two batches, within a ball."""
    g = torch.Generator().manual_seed(0)
    x = M.random(shape, generator=g, dtype=entries(M, torch.float64))
    many = mapped(lambda part: part.expand(6, 2, *part.shape).contiguous(), x)
    v = M.random_tangent(many, generator=g)
    return M.exp(many, mapped(lambda part: size * part, v))


@pytest.mark.parametrize(("M", "shape"), WITH_LOG, ids=label)
def test_the_mean_is_a_stationary_point_and_is_lower_than_its_neighbours(M, shape):
    points = cloud(M, shape)
    weights = torch.arange(1.0, 7.0, dtype=torch.float64)
    found = M.mean(points, weights)
    assert found.converged.all(), found

    def cost(x):
        return (weights[:, None] * M.dist(x, points).square()).sum(0)

    v = M.random_tangent(found.point, generator=torch.Generator().manual_seed(1))
    for sign in (-1, 1):
        near = M.exp(found.point, mapped(lambda part, sign=sign: 0.01 * sign * part, v))
        assert (cost(near) >= cost(found.point) - 1e-12).all()
    # A batch gives the same result alone and beside another.
    alone = M.mean(mapped(lambda part: part[:, 1], points), weights)
    other = mapped(lambda part: part[1], found.point)
    assert (
        max(
            float((a - b).abs().max())
            for a, b in zip(leaves(alone.point), leaves(other), strict=True)
        )
        < 1e-9
    )


@pytest.mark.parametrize(("M", "shape"), WITH_LOG, ids=label)
def test_geodesics_and_distances_agree(M, shape):
    points = cloud(M, shape)
    x, y = (mapped(lambda part, i=i: part[i], points) for i in (0, 1))
    d = M.dist(x, y)
    t = torch.tensor([0.25, 0.5], dtype=torch.float64)
    torch.testing.assert_close(M.dist(x, M.geodesic(x, y, t)), t * d, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(M.dist(M.geodesic(x, y, 0.3), y), 0.7 * d, rtol=1e-7, atol=1e-9)
    first = mapped(lambda part: part[:, 0], points)
    some = mapped(lambda part: part[:4, 1], points)
    table = M.pairwise_dist(first, some)
    assert table.shape == (6, 4)
    one = M.dist(mapped(lambda part: part[2], first), mapped(lambda part: part[3], some))
    torch.testing.assert_close(table[2, 3], one)
    itself = M.pairwise_dist(first)
    torch.testing.assert_close(itself, itself.mT, rtol=1e-6, atol=1e-9)


def test_known_means_and_what_is_refused():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(tm.Sphere().mean(x).point, torch.full((2,), 0.5**0.5).double())
    numbers = torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.float64)
    assert tm.Positive().mean(numbers).point.item() == pytest.approx(2.0, rel=1e-12)
    flat = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(tm.Euclidean(ndim=1).mean(flat).point, flat.mean(0))
    with pytest.raises(ValueError, match="weights must not be negative"):
        tm.Sphere().mean(x, torch.tensor([1.0, -1.0]))
    with pytest.raises(NotImplementedError, match="log"):
        tm.FixedRank(1).mean(torch.ones(2, 3, 3))
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert not tm.Sphere().mean(opposite).converged
