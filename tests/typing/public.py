"""Typical use of the public names; checked by mypy in `make types`, never run."""

from typing import assert_type

import torch
from torch import Tensor, nn

import torchmanifold as tm

layer = tm.constrain(nn.Linear(4, 3), "weight", tm.Stiefel())
tm.constrain(layer, "bias", tm.Sphere(), how="riemannian")
assert_type(tm.is_constrained(layer), bool)
tm.rebase_(layer)
tm.unconstrain(layer, "weight")

manifold = tm.Stiefel(metric=tm.Canonical(), retraction=tm.Cayley())
x = manifold.random(5, 2, dtype=torch.float64)
assert_type(x, Tensor)
v = manifold.random_tangent(x)
assert_type(manifold.retract(x, v), Tensor)
assert_type(manifold.gradient(x, torch.ones_like(x)), Tensor)
assert_type(manifold.residual(x), Tensor)
assert_type(manifold.dim((5, 2)), int)

optimizer: torch.optim.Optimizer = tm.optim.RiemannianSGD(layer, lr=0.1, momentum=0.9)
adam: torch.optim.Optimizer = tm.optim.RiemannianAdam(layer, lr=0.1)
tm.optim.rebase_every(layer, optimizer, steps=100)
