"""Descent of this library: parametrized, with or without rebasing, or by Riemannian updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from torchmanifold.manifolds import QR, Cayley, Exp, Polar, Projection, Quadratic, Retraction
from torchmanifold.optim import (
    RiemannianAdam,
    RiemannianRMSprop,
    RiemannianSGD,
    param_groups,
    rebase_every,
)
from torchmanifold.optim.compare.method import Config, Method

__all__ = ["DESCENT", "EUCLIDEAN", "KERNEL_FACTOR", "RATES", "Descent", "Free", "groups_of"]

MOMENTUM = 0.9
EVERY = 10
RATES = (0.003, 0.03, 0.3)
KERNEL_FACTOR = "kernel_factor"  # the rate of constrained weights in units of `lr`

Make = Callable[..., Optimizer]

EUCLIDEAN: Mapping[str, Make] = {
    "sgd": partial(torch.optim.SGD, momentum=MOMENTUM),
    "adam": torch.optim.Adam,
}

RIEMANNIAN: Mapping[str, Make] = {
    "sgd": partial(RiemannianSGD, momentum=MOMENTUM),
    "adam": RiemannianAdam,
    "rmsprop": RiemannianRMSprop,
}

RETRACTIONS: Mapping[str, Retraction] = {
    "exp": Exp(),
    "cayley": Cayley(),
    "polar": Polar(),
    "qr": QR(),
    "quadratic": Quadratic(),
    "projection": Projection(),
}

REBASING: Mapping[str, tuple[int | None, str]] = {
    "": (None, "never rebased"),
    f"-every{EVERY}": (EVERY, f"rebased every {EVERY} steps"),
    "-every1": (1, "rebased after every step"),
}


def groups_of(model: nn.Module, config: Config) -> list[dict[str, Any]]:
    """Groups of ordinary and of constrained weights, also for parametrizations of other libraries.

    The learning rate of the constrained weights is `kernel_factor` times that of the others.
    """
    lr, kernel_lr = config["lr"], config["lr"] * config.get(KERNEL_FACTOR, 1.0)
    foreign = {p for name, p in model.named_parameters() if "parametrizations." in name}
    groups = param_groups(model, lr=lr, manifold_lr=kernel_lr)
    if len(groups) == 2 or not foreign:
        return groups
    rest = [p for p in model.parameters() if p not in foreign]
    found = [{"params": rest, "lr": lr}, {"params": list(foreign), "lr": kernel_lr}]
    return [group for group in found if group["params"]]


@dataclass(frozen=True)
class Descent:
    """Builds an optimizer for a constrained model, and rebases it at intervals.

    Args:
        make: makes the optimizer from groups and a learning rate.
        every: the number of steps between two rebases; None for never.
        options: further arguments of the optimizer.
    """

    make: Make
    every: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, model: nn.Module, config: Config) -> Optimizer:
        """The optimizer."""
        optimizer = self.make(groups_of(model, config), lr=config["lr"], **self.options)
        if self.every is not None:
            rebase_every(model, optimizer, steps=self.every)
        return optimizer


@dataclass(frozen=True)
class Free:
    """Builds an optimizer of all weights without constraints."""

    make: Make

    def __call__(self, model: nn.Module, config: Config) -> Optimizer:
        """The optimizer."""
        return self.make(model.parameters(), lr=config["lr"])


def _parametrized() -> list[Method]:
    return [
        Method(
            name=f"{name}{suffix}-{optimizer}",
            build=Descent(make, every),
            grid={"lr": RATES},
            accepts=(KERNEL_FACTOR,),
            how="parametrized",
            retraction=retraction,
            family=name,
            about=f"{type(retraction).__name__} parametrization, {words}",
        )
        for name, retraction in RETRACTIONS.items()
        for suffix, (every, words) in REBASING.items()
        for optimizer, make in EUCLIDEAN.items()
    ]


def _riemannian() -> list[Method]:
    return [
        Method(
            name=f"riemannian-{optimizer}",
            build=Descent(make),
            grid={"lr": RATES},
            accepts=(KERNEL_FACTOR,),
            family="riemannian",
            about="Riemannian update of a plain weight",
        )
        for optimizer, make in RIEMANNIAN.items()
    ]


def _free() -> list[Method]:
    return [
        Method(
            name=f"unconstrained-{optimizer}",
            build=Free(make),
            grid={"lr": RATES},
            how="plain",
            about="no constraint",
            constrained=False,
        )
        for optimizer, make in EUCLIDEAN.items()
    ]


DESCENT = (*_parametrized(), *_riemannian(), *_free())
