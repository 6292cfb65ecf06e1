"""Peers as oracles, step by step, where they are right; and where one is not."""

import math

import geoopt
import numpy as np
import pogo
import pymanopt.manifolds as pymanopt
import pytest
import torch
from torch import nn

import torchmanifold as tm

SPD = tm.SymmetricPositiveDefinite(retraction=tm.Quadratic())
PAIRS = {
    "Stiefel": (tm.Stiefel(), geoopt.EuclideanStiefel(), (7, 3)),
    "Sphere": (tm.Sphere(), geoopt.Sphere(), (6,)),
    "SPD": (SPD, geoopt.SymmetricPositiveDefinite(), (4, 4)),
}


def loss(x, a):
    return (a * torch.tanh(x + a)).sum()


def compare(name, ours, theirs, steps, **options):
    manifold, peer, shape = PAIRS[name]
    x = manifold.random(*shape, dtype=torch.float64)
    a = torch.randn(*shape, dtype=torch.float64)
    mine = nn.Parameter(x.clone())
    tm.place_(mine, manifold)
    other = geoopt.ManifoldParameter(x.clone(), manifold=peer)
    pairs = [(mine, ours([mine], **options)), (other, theirs([other], **options))]
    for p, optimizer in pairs:
        for _ in range(steps):
            optimizer.zero_grad()
            loss(p, a).backward()
            optimizer.step()
    assert (mine - x).abs().max() > 1e-2
    assert torch.allclose(mine, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", PAIRS)
def test_sgd_is_geoopt(name):
    compare(name, tm.optim.RiemannianSGD, geoopt.optim.RiemannianSGD, 10, lr=0.05)


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("name", ["Stiefel", "Sphere"])
def test_adam_is_geoopt(name, amsgrad):
    """SPD matrices are left out, because geoopt has a second moment for each entry there."""
    ours, theirs = tm.optim.RiemannianAdam, geoopt.optim.RiemannianAdam
    compare(name, ours, theirs, 10, lr=0.05, betas=(0.8, 0.9), amsgrad=amsgrad)


PYMANOPT = {
    "Stiefel, QR": (tm.Stiefel(), pymanopt.Stiefel(7, 3, retraction="qr"), (7, 3)),
    "Stiefel, polar": (
        tm.Stiefel(retraction=tm.Polar()),
        pymanopt.Stiefel(7, 3, retraction="polar"),
        (7, 3),
    ),
    "rotations": (
        tm.SpecialOrthogonal(retraction=tm.QR()),
        pymanopt.SpecialOrthogonalGroup(5, retraction="qr"),
        (5, 5),
    ),
    "sphere": (tm.Sphere(), pymanopt.Sphere(6), (6,)),
    "SPD": (SPD, pymanopt.SymmetricPositiveDefinite(4), (4, 4)),
}


@pytest.mark.parametrize("name", PYMANOPT)
def test_descent_is_pymanopt(name):
    """Steps of a fixed length with pymanopt's own gradient and retraction."""
    manifold, peer, shape = PYMANOPT[name]
    x = manifold.random(*shape, dtype=torch.float64)
    a = torch.randn(*shape, dtype=torch.float64)
    mine = nn.Parameter(x.clone())
    tm.place_(mine, manifold)
    optimizer = tm.optim.RiemannianSGD([mine], lr=0.05)
    # pymanopt holds tangent vectors of rotations in the Lie algebra.
    y = x.numpy().copy()
    for _ in range(10):
        optimizer.zero_grad()
        loss(mine, a).backward()
        optimizer.step()
        z = torch.tensor(y, requires_grad=True)
        loss(z, a).backward()
        gradient = peer.euclidean_to_riemannian_gradient(y, z.grad.numpy())
        y = peer.retraction(y, -0.05 * gradient)
    assert (mine - x).abs().max() > 1e-2
    assert np.abs(mine.detach().numpy() - y).max() <= 1e-11


def first_order_defect(retract, x, u, h):
    """`||R(x, h u) - x - h u|| / h`, which goes to 0 with h for a retraction."""
    return float((retract(x, h * u) - x - h * u).norm() / h)


def test_canonical_retraction_of_geoopt_is_none_and_ours_is():
    manifold = tm.Stiefel(metric=tm.Canonical(), retraction=tm.Cayley())
    x = manifold.random(10, 4, dtype=torch.float64)
    u = manifold.random_tangent(x)
    ours = [first_order_defect(manifold.retract, x, u, h) for h in (1e-2, 1e-4)]
    theirs = [first_order_defect(geoopt.CanonicalStiefel().retr, x, u, h) for h in (1e-2, 1e-4)]
    slope = math.log(ours[0] / ours[1]) / math.log(1e2)
    assert slope == pytest.approx(1, abs=0.1)
    assert theirs[1] > 0.1
    assert theirs[0] / theirs[1] == pytest.approx(1, abs=0.1)


class Average:
    """The momentum for POGO, in PyTorch's form (`pogo.base` needs a compiler)."""

    def __init__(self, momentum):
        self.momentum = momentum
        self.buffer = None

    def get_defaults(self):
        return {}

    def __call__(self, point, grad, state, group):
        self.buffer = grad if self.buffer is None else self.momentum * self.buffer + grad
        return self.buffer


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("steps", [1, 10])
def test_pogo_is_a_setting(momentum, steps):
    """POGO moves along half the canonical gradient, and averages Euclidean gradients."""
    manifold = tm.Stiefel(metric=tm.Canonical(), retraction=tm.NewtonSchulz(1))
    x = manifold.random(1, 8, 3, dtype=torch.float64)
    a = torch.randn(1, 8, 3, dtype=torch.float64)
    mine, other = nn.Parameter(x.clone()), nn.Parameter(x.clone())
    tm.place_(mine, manifold)
    options = {"momentum": momentum, "average": "euclidean"}
    stepper = tm.optim.RiemannianSGD([mine], lr=0.005, **options)
    peer = pogo.POGO([other], Average(momentum), lr=0.01, rows=False)
    for p, optimizer in ((mine, stepper), (other, peer)):
        for _ in range(steps):
            optimizer.zero_grad()
            loss(p, a).backward()
            optimizer.step()
    assert (mine - x).abs().max() > 1e-3
    # On the manifold they are the same formula; off it, POGO multiplies the gradient by x'x.
    defect = float(manifold.residual(other.detach()).max())
    assert (mine - other).abs().max() <= (1e-15 if steps == 1 else max(defect, 1e-14))
