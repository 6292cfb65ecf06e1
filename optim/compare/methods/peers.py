"""The constraints of torch and geotorch, as methods."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer

from torchmanifold.optim.compare.method import Config, Method
from torchmanifold.optim.compare.methods import libraries
from torchmanifold.optim.compare.methods.descent import (
    EUCLIDEAN,
    KERNEL_FACTOR,
    RATES,
    Make,
    groups_of,
)
from torchmanifold.optim.compare.problem import Problem

__all__ = ["PEERS", "Registered", "geotorch_serves", "torch_serves"]


@dataclass(frozen=True)
class Registered:
    """Registers another library's parametrization of every constrained weight.

    Args:
        register: `register(module, name, manifold)`.
        make: makes the optimizer from groups and a learning rate.
    """

    register: libraries.Register
    make: Make

    def __call__(self, model: nn.Module, config: Config) -> Optimizer:
        """The optimizer."""
        for weight, manifold in config.weights.items():
            path, _, name = weight.rpartition(".")
            self.register(model.get_submodule(path), name, manifold)
        return self.make(groups_of(model, config), lr=config["lr"])


def torch_serves(problem: Problem) -> bool:
    """Whether torch's parametrization has the manifolds of a problem."""
    return all(type(manifold) in libraries.TORCH for manifold in problem.manifolds)


def geotorch_serves(problem: Problem) -> bool:
    """Whether geotorch has the manifolds of a problem."""
    return all(type(manifold) in libraries.GEOTORCH for manifold in problem.manifolds)


PEERS = tuple(
    Method(
        name=f"{name}-{optimizer}",
        build=Registered(register, make),
        grid={"lr": RATES},
        accepts=(KERNEL_FACTOR,),
        how="plain",
        about=about,
        applies=applies,
    )
    for name, register, applies, about in (
        ("torch-orthogonal", libraries.torch_orthogonal, torch_serves,
         "torch.nn.utils.parametrizations.orthogonal"),
        ("geotorch", libraries.geotorch_constraint, geotorch_serves, "the constraint of geotorch"),
    )
    for optimizer, make in EUCLIDEAN.items()
)  # fmt: skip
