"""The steepest direction in the spectral norm: tangent, and optimal where it is exact."""

import pytest
import torch
from cases import ALWAYS_COMPLEX, CASES, entries, every, label

import torchmanifold as tm
from torchmanifold.manifolds import maps
from torchmanifold.manifolds.linalg import skew

F64 = torch.float64
MATRICES = [
    (M, shape)
    for M, shape in every((*CASES, *ALWAYS_COMPLEX))
    if len(shape) <= 2 or M.event_ndim > 2
]


@pytest.mark.parametrize(("M", "shape"), MATRICES, ids=label)
def test_it_is_tangent_and_ascends(M, shape):
    torch.manual_seed(0)
    x = M.random(2, *shape, dtype=entries(M, F64))
    g = torch.randn(2, *shape, dtype=entries(M, F64))
    d = M.steepest(x, g)
    assert torch.allclose(d, M.tangent(x, d), rtol=0, atol=1e-10)
    assert ((g.conj() * d).real.flatten(1).sum(1) >= -1e-12).all()
    assert torch.allclose(d[1], M.steepest(x[1], g[1]), rtol=0, atol=1e-10)
    assert not M.steepest(x, torch.zeros_like(g)).any()


@pytest.mark.parametrize(
    ("M", "dtype"),
    [(tm.SpecialOrthogonal(), F64), (tm.Stiefel(), F64), (tm.Stiefel(), torch.complex128)],
    ids=str,
)
@pytest.mark.parametrize("n", [5, 6])
def test_on_square_matrices_it_is_the_best_direction(M, dtype, n):
    """`<g, x a>` over skew `a` of norm 1 is at most the nuclear norm of the skew part of `x'g`."""
    torch.manual_seed(0)
    x, g = M.random(n, n, dtype=dtype), torch.randn(n, n, dtype=dtype)
    d = M.steepest(x, g)
    best = torch.linalg.svdvals(skew(x.mH @ g)).sum()
    assert torch.linalg.matrix_norm(d, 2) <= 1.12
    assert 0.88 * best <= (g.conj() * d).real.sum() <= 1.12 * best
    exact = x @ maps.polar_direction(skew(x.mH @ g), steps=12)
    assert (g.conj() * exact).real.sum() == pytest.approx(float(best), rel=1e-12)


@pytest.mark.parametrize("n", [2, 3, 5, 6])
def test_on_special_unitary_matrices_it_is_the_best_direction(n):
    """`<g, x i h>` over `h` of norm 1 and trace 0 is at most the nuclear norm of `g - x i m`."""
    torch.manual_seed(0)
    M = tm.SpecialUnitary()
    x, g = (f(8, n, n, dtype=torch.complex128) for f in (M.random, torch.randn))
    d = M.steepest(x, g)
    values = torch.linalg.eigvalsh(-1j * skew(x.mH @ g))
    best = (values - values.median(-1, keepdim=True).values).abs().sum(-1)
    assert torch.allclose(torch.linalg.matrix_norm(d, 2), torch.ones(8, dtype=F64))
    assert torch.allclose((g.conj() * d).real.sum((-2, -1)), best)


def test_on_tall_matrices_it_is_near_the_best():
    """Against an upper bound by duality: the nuclear norm of `g + 2 x l` for any symmetric `l`."""
    torch.manual_seed(0)
    M = tm.Stiefel()
    x, g = M.random(40, 20, dtype=F64), torch.randn(40, 20, dtype=F64)
    multiplier = torch.zeros(20, 20, dtype=F64, requires_grad=True)
    descent = torch.optim.LBFGS([multiplier], max_iter=60, line_search_fn="strong_wolfe")

    def bound():
        descent.zero_grad()
        value = torch.linalg.svdvals(g + x @ (multiplier + multiplier.mT)).sum()
        value.backward()
        return value

    descent.step(bound)
    best = bound().detach()
    d = M.steepest(x, g)
    d = d / torch.linalg.matrix_norm(d, 2)
    assert 0.85 * best <= (g * d).sum() <= best


def test_views_go_inward_and_vectors_are_normalized():
    torch.manual_seed(0)
    M = tm.Blocks(tm.SpecialOrthogonal(), 3)
    x, g = M.random(9, 3, dtype=F64), torch.randn(9, 3, dtype=F64)
    parts = [M.manifold.steepest(a, b) for a, b in zip(x.chunk(3), g.chunk(3), strict=True)]
    assert torch.allclose(M.steepest(x, g), torch.cat(parts))
    S = tm.Sphere()
    x, g = S.random(4, 5, dtype=F64), torch.randn(4, 5, dtype=F64)
    expected = torch.nn.functional.normalize(S.gradient(x, g), dim=-1)
    assert torch.allclose(S.steepest(x, g), expected)
    M = tm.Scaled(tm.Stiefel(), 4.0)  # steps of the same angle
    x, g = M.random(6, 3, dtype=F64), torch.randn(6, 3, dtype=F64)
    assert torch.allclose(M.steepest(x, g), 4 * tm.Stiefel().steepest(x / 4, g))
    with pytest.raises(NotImplementedError, match="steepest direction"):
        E = tm.Euclidean(ndim=3)
        E.steepest(torch.ones(2, 2, 2), torch.ones(2, 2, 2))
