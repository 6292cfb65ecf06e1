"""The methods for a transformer: its matrices are trained as they are, or on a manifold.

Every method is one optimizer. Embeddings and the head are trained by Adam in all of them, and all
rates fall linearly to zero.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from torch import nn
from torch.optim import AdamW, Optimizer

from torchmanifold.manifolds import Flattened, Scaled, Sphere
from torchmanifold.optim import RiemannianAdam, RiemannianMuon
from torchmanifold.optim.compare.method import Config, Method
from torchmanifold.optim.compare.problem import Problem
from torchmanifold.optim.compare.problems.transformer import Transformer
from torchmanifold.weights import constrain

__all__ = ["TRANSFORMERS", "falling"]

BASE, OTHERS = 32, 1e-2  # the width at which muP changes nothing; the rate of embeddings and head

Groups = list[dict[str, Any]]


def falling(optimizer: Optimizer, steps: int) -> Optimizer:
    """Let the rates of all groups fall linearly to zero in so many steps.

    The number of steps is kept in the groups, so that a loaded state continues.

    Example:
        >>> import torch
        >>> optimizer = falling(torch.optim.SGD([torch.ones(2, requires_grad=True)], lr=1.0), 4)
        >>> optimizer.step()
        >>> optimizer.param_groups[0]["lr"]
        0.75
    """
    for group in optimizer.param_groups:
        group["first_lr"], group["fallen"] = group["lr"], 0

    def fall(*_: Any) -> None:
        for group in optimizer.param_groups:
            group["fallen"] += 1
            group["lr"] = group["first_lr"] * max(0.0, 1 - group["fallen"] / steps)

    optimizer.register_step_post_hook(fall)
    return optimizer


def _groups(model: Transformer, lr: float, **options: Any) -> Groups:
    """The matrices, embeddings, and the head, whose rate falls with the width (muP)."""
    ends = [model.embedding.weight, model.position]
    return [
        {"params": [matrix.weight for matrix in model.matrices()], "lr": lr},
        {"params": ends, "lr": OTHERS, **options},
        {"params": [model.head.weight], "lr": OTHERS * BASE / model.width, **options},
    ]


def _adamw(model: Transformer, lr: float) -> Optimizer:
    return AdamW(model.parameters(), lr, weight_decay=0)


def _adamw_mup(model: Transformer, lr: float) -> Optimizer:
    return AdamW(_groups(model, lr * BASE / model.width), weight_decay=0)


def _muon(model: Transformer, lr: float) -> Optimizer:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "RiemannianMuon: none of")  # without a constraint
        return RiemannianMuon(_groups(model, lr, matrices="adamw"), scale="spectral")


def _adam(model: Transformer, lr: float) -> Optimizer:
    return RiemannianAdam(_groups(model, lr))


def _sphere(model: Transformer) -> None:
    """Keep the Frobenius norm that each matrix has."""
    for matrix in model.matrices():
        norm = float(matrix.weight.detach().norm())
        constrain(matrix, "weight", Scaled(Flattened(Sphere(), 2), norm), how="riemannian")


@dataclass(frozen=True)
class _Trained:
    """Builds an optimizer whose rates fall.

    Args:
        make: makes it from the network and the rate of its matrices.
        fold: whether gains are multiplied into the matrices first.
        constrain: constrains the matrices, if the comparison has not done so.
    """

    make: Callable[[Transformer, float], Optimizer]
    fold: bool = False
    constrain: Callable[[Transformer], None] | None = None

    def __call__(self, model: nn.Module, config: Config) -> Optimizer:
        """The optimizer."""
        network = cast(Transformer, model)
        if self.fold:
            for matrix in network.matrices():
                matrix.fold()
        if self.constrain is not None:
            self.constrain(network)
        return falling(self.make(network, config["lr"]), config.steps)


def _is_transformer(problem: Problem) -> bool:
    return isinstance(problem.probe.initial, Transformer)


_method = partial(Method, applies=_is_transformer, family="transformer")
_free = partial(_method, how="plain", constrained=False)

TRANSFORMERS = (
    _free(
        name="lm-adamw",
        build=_Trained(_adamw, fold=True),
        grid={"lr": (1e-3, 3e-3, 1e-2, 3e-2)},
        about="AdamW, one rate for all weights",
    ),
    _free(
        name="lm-adamw-mup",
        build=_Trained(_adamw_mup, fold=True),
        grid={"lr": (1e-3, 3e-3, 1e-2, 3e-2)},
        about="AdamW, rates of matrices fall with the width (muP)",
    ),
    _free(
        name="lm-muon",
        build=_Trained(_muon, fold=True),
        grid={"lr": (0.01, 0.03, 0.1, 0.3)},
        about="Muon, no constraint",
    ),
    _method(
        name="lm-stiefel-adam",
        build=_Trained(_adam),
        grid={"lr": (0.03, 0.1, 0.3, 1.0)},
        about="RiemannianAdam, orthonormal columns or rows",
    ),
    _method(
        name="lm-stiefel-muon",
        build=_Trained(_muon),
        grid={"lr": (0.01, 0.03, 0.1, 0.3)},
        about="RiemannianMuon, orthonormal columns or rows",
    ),
    _method(
        name="lm-sphere-adam",
        build=_Trained(_adam, fold=True, constrain=_sphere),
        grid={"lr": (0.03, 0.1, 0.3, 1.0)},
        how="plain",
        about="RiemannianAdam, fixed Frobenius norms",
    ),
)
