"""Clipping measures the Riemannian gradients of weights on manifolds."""

import pytest
import torch
from mixed import Mixed, batch
from torch import nn

import torchmanifold as tm

F64 = torch.float64
MANIFOLDS = [
    (tm.Stiefel(), (6, 3)),
    (tm.Stiefel(metric=tm.Canonical()), (6, 3)),
    (tm.SymmetricPositiveDefinite(), (4, 4)),
    (tm.SymmetricPositiveDefinite(metric=tm.BuresWasserstein()), (4, 4)),
    (tm.FixedRank(2), (5, 4)),
    (tm.Sphere(), (5,)),
    (tm.Flattened(tm.Transposed(tm.Stiefel()), ndim=4), (4, 2, 2, 2)),
]


@pytest.mark.parametrize(("manifold", "shape"), MANIFOLDS, ids=str)
def test_the_normal_part_does_not_count(manifold, shape):
    torch.manual_seed(0)
    x = tm.place_(manifold.random(*shape, dtype=F64), manifold)
    z, n = torch.randn(2, *shape, dtype=F64)
    clipped = []
    for size in (0, 1e4):
        x.grad = z + size * (n - manifold.tangent(x, n))
        total = tm.optim.clip_grad_norm_([x], 1.0)
        step = manifold.gradient(x, x.grad)
        assert total == pytest.approx(float(manifold.norm(x, manifold.gradient(x, z))), rel=1e-8)
        assert manifold.norm(x, step) == pytest.approx(min(float(total), 1.0), rel=1e-5)
        clipped.append(step)
    assert torch.allclose(*clipped, rtol=0, atol=1e-8)


def test_a_model_counts_as_its_parts():
    torch.manual_seed(0)
    model = Mixed(F64)
    model(batch(model)).pow(2).sum().backward()
    squares = []
    for p in model.parameters():
        M = tm.manifold_of(p)
        squares.append(p.grad.norm() ** 2 if M is None else M.norm(p, M.gradient(p, p.grad)) ** 2)
    total = torch.stack([square.sum() for square in squares]).sum().sqrt().detach()
    before = [p.grad.clone() for p in model.parameters()]
    assert tm.optim.clip_grad_norm_(model, 0.01) == pytest.approx(float(total))
    for p, g in zip(model.parameters(), before, strict=True):
        assert torch.allclose(p.grad, 0.01 / (total + 1e-6) * g)
    assert tm.optim.clip_grad_norm_(model.parameters(), 1.0) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("order", [1.0, 2.0, torch.inf])
def test_ordinary_and_parametrized_weights_count_as_under_torch(order):
    nets = []
    for clip in (tm.optim.clip_grad_norm_, torch.nn.utils.clip_grad_norm_):
        torch.manual_seed(0)
        net = tm.constrain(nn.Linear(5, 3), "weight", tm.Stiefel())
        net(torch.ones(2, 5)).pow(2).sum().backward()
        nets.append((net, clip(net.parameters(), 0.1, order)))
    (ours, total), (theirs, expected) = nets
    assert torch.equal(total, expected)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)


def test_a_norm_that_is_not_finite_can_raise():
    model = Mixed()
    model(batch(model)).pow(2).sum().backward()
    model.unit.grad[0] = torch.nan
    before = model.head.weight.grad.clone()
    with pytest.raises(RuntimeError, match="non-finite"):
        tm.optim.clip_grad_norm_(model, 1.0, error_if_nonfinite=True)
    assert torch.equal(model.head.weight.grad, before)
