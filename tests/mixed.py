"""A model with ordinary weights and weights on several manifolds, and a way to train it."""

import torch
from torch import nn

import torchmanifold as tm


class Mixed(nn.Module):
    """Ordinary weights, and manifold weights of several kinds, some of them alike."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6, dtype=dtype) for _ in range(4))
        self.kernel = nn.Conv2d(2, 6, 3, dtype=dtype)
        self.unit = nn.Parameter(torch.randn(6, dtype=dtype))
        self.head = nn.Linear(6, 2, dtype=dtype)
        for layer in self.layers[:3]:
            tm.constrain(layer, "weight", tm.Stiefel(), how="riemannian")
        tm.constrain(self.layers[3], "weight", tm.SpecialOrthogonal(), how="riemannian")
        tm.constrain(self.kernel, "weight", tm.Stiefel(), how="riemannian", flatten=True)
        tm.constrain(self, "unit", tm.Sphere(), how="riemannian")

    def forward(self, x):
        x = self.kernel(x).mean((-1, -2))
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x * self.unit)

    def residuals(self):
        named = [(m, n) for m in self.modules() for n in getattr(m, "_manifolds", {})]
        return [tm.manifold_of(m, n).residual(getattr(m, n)).max().item() for m, n in named]


def batch(model, i=0, size=4):
    generator = torch.Generator().manual_seed(i)
    dtype = model.head.weight.dtype
    return torch.randn(size, 2, 5, 5, generator=generator).to(dtype)


def run(model, optimizer, steps=5, start=0):
    """Train on batches that depend only on the step."""
    for i in range(start, start + steps):
        optimizer.zero_grad()
        model(batch(model, i)).pow(2).sum().backward()
        optimizer.step()
