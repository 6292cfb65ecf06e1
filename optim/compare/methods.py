"""The methods of the comparison, by name in one table. A method knows no problem.

A method turns a module with a plain weight on a manifold into an optimizer whose steps keep it
there: by a parametrization that any optimizer of PyTorch trains, by a Riemannian optimizer, or as
a peer library does it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from torchmanifold.manifolds import (
    QR,
    Cayley,
    Exp,
    FixedRank,
    Manifold,
    Polar,
    Projection,
    Quadratic,
    Retraction,
    SpecialOrthogonal,
    Stiefel,
    SymmetricPositiveDefinite,
)
from torchmanifold.optim import RiemannianAdam, RiemannianSGD, rebase_every
from torchmanifold.optim.compare import peers
from torchmanifold.weights import constrain

__all__ = ["METHODS", "Method", "applicable", "manifolds_of"]

MOMENTUM = 0.9
EVERY = 10

Prepare = Callable[[nn.Module, str, Manifold, float], Optimizer]


@dataclass(frozen=True)
class Method:
    """A way to train a module whose weight lies on a manifold.

    Args:
        name: name on the command line.
        family: what it is compared within, in figures.
        about: one line for `torchmanifold list`.
        applies: whether it works on a kind of manifold.
        prepare: `(model, weight, manifold, lr) -> optimizer`; changes the model.
        constrained: whether the weight stays on the manifold.
    """

    name: str
    family: str
    about: str
    applies: Callable[[type[Manifold]], bool]
    prepare: Prepare
    constrained: bool = True


MANIFOLDS = (Stiefel, SpecialOrthogonal, SymmetricPositiveDefinite, FixedRank)

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

EUCLIDEAN: Mapping[str, Callable[..., Optimizer]] = {
    "sgd": partial(torch.optim.SGD, momentum=MOMENTUM),
    "adam": torch.optim.Adam,
}

RIEMANNIAN: Mapping[str, Callable[..., Optimizer]] = {
    "sgd": partial(RiemannianSGD, momentum=MOMENTUM),
    "adam": RiemannianAdam,
}


def _owner(model: nn.Module, weight: str) -> tuple[nn.Module, str]:
    path, _, name = weight.rpartition(".")
    return model.get_submodule(path), name


def _parametrized(retraction: Retraction, every: int | None, optimizer: Any) -> Prepare:
    def prepare(model: nn.Module, weight: str, manifold: Manifold, lr: float) -> Optimizer:
        module, name = _owner(model, weight)
        chosen = dataclasses.replace(manifold, retraction=retraction)  # type: ignore[call-arg]
        constrain(module, name, chosen)
        stepper: Optimizer = optimizer(model.parameters(), lr=lr)
        if every is not None:
            rebase_every(model, stepper, steps=every)
        return stepper

    return prepare


def _riemannian(optimizer: Any) -> Prepare:
    def prepare(model: nn.Module, weight: str, manifold: Manifold, lr: float) -> Optimizer:
        module, name = _owner(model, weight)
        constrain(module, name, manifold, how="riemannian")
        stepper: Optimizer = optimizer(model, lr=lr)
        return stepper

    return prepare


def _registered(register: peers.Register, optimizer: Any) -> Prepare:
    def prepare(model: nn.Module, weight: str, manifold: Manifold, lr: float) -> Optimizer:
        module, name = _owner(model, weight)
        register(module, name, manifold)
        stepper: Optimizer = optimizer(model.parameters(), lr=lr)
        return stepper

    return prepare


def _has(retraction: Retraction, kind: type[Manifold]) -> bool:
    return type(retraction) in kind.retractions  # type: ignore[operator]


def _everywhere(kind: type[Manifold]) -> bool:
    return True


def _leave(module: nn.Module, name: str, manifold: Manifold) -> None:
    """Leave the weight as it is: the unconstrained baseline."""


def _methods() -> list[Method]:
    rows = [
        Method(
            name=f"{name}{suffix}-{optimizer}",
            family=name,
            about=f"{type(retraction).__name__} parametrization, {words}",
            applies=partial(_has, retraction),
            prepare=_parametrized(retraction, every, EUCLIDEAN[optimizer]),
        )
        for name, retraction in RETRACTIONS.items()
        for suffix, (every, words) in REBASING.items()
        for optimizer in EUCLIDEAN
    ]
    for optimizer in EUCLIDEAN:
        rows += [
            Method(
                name=f"riemannian-{optimizer}",
                family="others",
                about="Riemannian update of a plain weight",
                applies=_everywhere,
                prepare=_riemannian(RIEMANNIAN[optimizer]),
            ),
            Method(
                name=f"torch-orthogonal-{optimizer}",
                family="others",
                about="torch.nn.utils.parametrizations.orthogonal",
                applies=lambda kind: kind in peers.TORCH,
                prepare=_registered(peers.torch_orthogonal, EUCLIDEAN[optimizer]),
            ),
            Method(
                name=f"geotorch-{optimizer}",
                family="others",
                about="the constraint of geotorch",
                applies=lambda kind: kind in peers.GEOTORCH,
                prepare=_registered(peers.geotorch_constraint, EUCLIDEAN[optimizer]),
            ),
            Method(
                name=f"unconstrained-{optimizer}",
                family="others",
                about="no constraint",
                applies=_everywhere,
                prepare=_registered(_leave, EUCLIDEAN[optimizer]),
                constrained=False,
            ),
        ]
    return rows


METHODS: Mapping[str, Method] = {method.name: method for method in _methods()}


def manifolds_of(method: Method) -> list[type[Manifold]]:
    """The kinds of manifold on which a method works.

    Example:
        >>> [kind.__name__ for kind in manifolds_of(METHODS["cayley-sgd"])]
        ['Stiefel', 'SpecialOrthogonal']
    """
    return [kind for kind in MANIFOLDS if method.applies(kind)]


def applicable(method: Method, manifold: Manifold, optional: bool) -> bool:
    """Whether a method works on a manifold, where the constraint is `optional` or not."""
    return method.applies(type(manifold)) and (method.constrained or optional)
