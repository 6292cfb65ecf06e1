"""Riemannian RMSprop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.rmsprop import rmsprop

from torchmanifold.manifolds import Manifold
from torchmanifold.optim.optimizer import ManifoldOptimizer
from torchmanifold.optim.options import (
    Fraction,
    Nonfinite,
    NonNegative,
    Rate,
    SecondMoment,
    options_of,
)
from torchmanifold.optim.rule import State, extended, move, second_moment_of

__all__ = ["RiemannianRMSprop", "riemannian_rmsprop"]

_RMSPROP = options_of(rmsprop)


def riemannian_rmsprop(
    manifold: Manifold,
    x: Tensor,
    egrad: Tensor,
    state: State,
    *,
    lr: Rate,
    alpha: Fraction = 0.99,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0,
    momentum: NonNegative = 0,
    centered: bool = False,
    maximize: bool = False,
    second_moment: SecondMoment = "matrix",
) -> tuple[Tensor, State]:
    """One step of points `x` of shape `(*batch, *event)`; nothing is changed in place.

    Args:
        manifold: the manifold of the points.
        x: the points.
        egrad: Euclidean gradients at `x`.
        state: empty at the first step, then the state that the last step returned.
        lr: learning rate.
        alpha: decay of the second moment.
        eps: added to the denominator.
        weight_decay: strength of the pull towards zero.
        momentum: momentum factor.
        centered: divide by the deviation of the gradient instead of its length.
        maximize: maximize instead of minimize.
        second_moment: `"matrix"` or `"element"`, see `RiemannianAdam`.

    Returns:
        The new points, and the new state: `square_avg`; `momentum_buffer` with momentum, and
        `grad_avg` if centered.
    """
    g = -egrad if maximize else egrad
    if weight_decay != 0:
        g = g.add(x, alpha=weight_decay)
    g = manifold.gradient(x, g)
    square = second_moment_of(manifold, x, g, second_moment)
    square = torch.lerp(state.get("square_avg", torch.zeros_like(square)), square, 1 - alpha)
    spread, carried = square, {}
    if centered:
        mean = torch.lerp(state.get("grad_avg", torch.zeros_like(g)), g, 1 - alpha)
        spread = (square - second_moment_of(manifold, x, mean, second_moment)).clamp_min(0)
        carried["grad_avg"] = mean
    d = g / extended(spread.sqrt() + eps, g)
    if second_moment == "element":
        d = manifold.tangent(x, d)
    if momentum != 0:
        if "momentum_buffer" in state:
            d = d.add(state["momentum_buffer"], alpha=momentum)
        carried["momentum_buffer"] = d
    y = move(manifold, x, d, lr)
    moments = {name: manifold.carry(x, y, w) for name, w in carried.items()}
    return y, {"square_avg": square, **moments}


class RiemannianRMSprop(ManifoldOptimizer):
    r"""RMSprop on manifolds: the gradient over a running average of its length.

    With `g` the Riemannian gradient, `R` the retraction and `P_y` the projection to the tangent
    space at `y`, a weight `x` of a manifold moves by

        s <- alpha s + (1 - alpha) <g, g>_x,    b <- momentum b + g / (sqrt(s) + eps)
        y  = R_x(-lr b),    b <- P_y b

    Ordinary weights move exactly as under `torch.optim.RMSprop`.

    Args:
        params: a model, its parameters, groups of them, or `param_groups(model)`.
        lr: learning rate.
        alpha: decay of the second moment.
        eps: added to the denominator.
        weight_decay: adds `weight_decay x` to the Euclidean gradient.
        momentum: momentum factor.
        centered: subtract from `s` the squared length of a transported average of the gradients.
        maximize: maximize instead of minimize.
        second_moment: `"matrix"` or `"element"`, as in `RiemannianAdam`.
        capturable: as in `RiemannianAdam`.
        foreach, nonfinite: as in `RiemannianSGD`.

    Raises:
        ValueError: for an option out of its range.

    Example:
        >>> import torch, torchmanifold as tm
        >>> layer = tm.constrain(torch.nn.Linear(4, 4), "weight", tm.Stiefel(), how="riemannian")
        >>> optimizer = tm.optim.RiemannianRMSprop(layer, lr=0.01)
        >>> layer(torch.ones(2, 4)).sum().backward()
        >>> optimizer.step()
        >>> bool(tm.Stiefel().residual(layer.weight) < 1e-5)
        True

    Source: Tieleman & Hinton 2012; Becigneul & Ganea, ICLR 2019, for one number a point; Roy,
    Mhammedi & Harandi, CVPR 2018, element-wise.
    """

    rule = staticmethod(riemannian_rmsprop)

    def __init__(
        self,
        params: Any,
        lr: Rate = 1e-2,
        alpha: Fraction = 0.99,
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0,
        momentum: NonNegative = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
        second_moment: SecondMoment = "matrix",
        capturable: bool = False,
        foreach: bool | None = None,
        nonfinite: Nonfinite = "propagate",
    ) -> None:
        super().__init__(params, locals())

    def _ordinary(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        centered, momentum = group["centered"], group["momentum"] > 0
        names = ["square_avg", *["grad_avg"] * centered, *["momentum_buffer"] * momentum]
        for p in params:
            state = self.state[p]
            # On the host, as in PyTorch, unless a graph may capture the step.
            state.setdefault(
                "step", torch.zeros((), device=p.device if group["capturable"] else "cpu")
            )
            for name in names:
                if name not in state:
                    state[name] = torch.zeros_like(p, memory_format=torch.preserve_format)
        states = [self.state[p] for p in params]
        rmsprop(
            params,
            grads,
            [s["square_avg"] for s in states],
            [s["grad_avg"] for s in states] if centered else [],
            [s["momentum_buffer"] for s in states] if momentum else [],
            [s["step"] for s in states],
            has_complex=any(p.is_complex() for p in params),
            **{name: group[name] for name in _RMSPROP if name in group},
        )
