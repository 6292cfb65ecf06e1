"""Optimizers that keep weights on their manifolds."""

from torchmanifold.optim.adam import RiemannianAdam
from torchmanifold.optim.clipping import clip_grad_norm_
from torchmanifold.optim.groups import param_groups
from torchmanifold.optim.landing import Landing
from torchmanifold.optim.muon import RiemannianMuon
from torchmanifold.optim.rmsprop import RiemannianRMSprop
from torchmanifold.optim.sgd import RiemannianSGD
from torchmanifold.weights.rebase import rebase_every

__all__ = [
    "Landing",
    "RiemannianAdam",
    "RiemannianMuon",
    "RiemannianRMSprop",
    "RiemannianSGD",
    "clip_grad_norm_",
    "param_groups",
    "rebase_every",
]
