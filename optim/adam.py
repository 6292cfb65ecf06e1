"""Riemannian Adam and AMSGrad, with weight decay coupled or decoupled."""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from torchmanifold.manifolds import Manifold
from torchmanifold.optim.optimizer import ManifoldOptimizer
from torchmanifold.optim.options import (
    Betas,
    Nonfinite,
    NonNegative,
    Rate,
    SecondMoment,
    options_of,
)
from torchmanifold.optim.rule import State, extended, move, second_moment_of

__all__ = ["RiemannianAdam", "ordinary_adam", "riemannian_adam"]

_ADAM = options_of(adam)


def riemannian_adam(
    manifold: Manifold,
    x: Tensor,
    egrad: Tensor,
    state: State,
    *,
    lr: Rate,
    betas: Betas = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0,
    amsgrad: bool = False,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
    second_moment: SecondMoment = "matrix",
) -> tuple[Tensor, State]:
    """One step of points `x` of shape `(K, *batch, *event)`; nothing is changed in place.

    Args:
        manifold: the manifold of the points.
        x: K weights, each with its own count of steps.
        egrad: Euclidean gradients at `x`.
        state: empty at the first step, then the state that the last step returned.
        lr: learning rate.
        betas: decay of the two moments.
        eps: added to the denominator.
        weight_decay: strength of the pull towards zero.
        amsgrad: divide by the largest second moment so far.
        maximize: maximize instead of minimize.
        decoupled_weight_decay: keep weight decay out of the moments.
        second_moment: `"matrix"` or `"element"`, see `RiemannianAdam`.

    Returns:
        The new points, and the new state: `step`, `exp_avg`, `exp_avg_sq` (and `max_exp_avg_sq`).
    """
    g = -egrad if maximize else egrad
    if weight_decay != 0 and not decoupled_weight_decay:
        g = g.add(x, alpha=weight_decay)
    g = manifold.gradient(x, g)
    square = second_moment_of(manifold, x, g, second_moment)
    step = state["step"] + 1 if state else torch.ones(x.shape[0], device=x.device)
    mean = torch.lerp(state.get("exp_avg", torch.zeros_like(g)), g, 1 - betas[0])
    variance = torch.lerp(state.get("exp_avg_sq", torch.zeros_like(square)), square, 1 - betas[1])
    new = {"step": step, "exp_avg_sq": variance}
    if amsgrad:
        variance = torch.maximum(state.get("max_exp_avg_sq", variance), variance)
        new["max_exp_avg_sq"] = variance

    step = step.to(square.dtype)
    variance = variance / extended(_correction(betas[1], step), variance)
    d = mean / extended(variance.sqrt() + eps, mean) / extended(_correction(betas[0], step), mean)
    if second_moment == "element":
        d = manifold.tangent(x, d)
    if weight_decay != 0 and decoupled_weight_decay:
        d = d.add(manifold.gradient(x, x), alpha=weight_decay)
    y = move(manifold, x, d, lr)
    return y, {**new, "exp_avg": manifold.carry(x, y, mean)}


def _correction(beta: float, step: Tensor) -> Tensor:
    """`1 - beta^step`, accurate in float32, without reading `step` from the device."""
    return -torch.expm1(step * (math.log(beta) if beta > 0 else -math.inf))


def ordinary_adam(
    states: MutableMapping[Tensor, Any],
    group: dict[str, Any],
    params: list[Tensor],
    grads: list[Tensor],
) -> None:
    """Move ordinary weights as `torch.optim.Adam` and `AdamW` do."""
    for p in params:
        state = states[p]
        if "step" not in state:
            # On the host, as in PyTorch, unless a graph may capture the step.
            on_device = group["capturable"] or group["fused"]
            state["step"] = torch.zeros((), device=p.device if on_device else "cpu")
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = torch.zeros_like(p, memory_format=torch.preserve_format)
        if group["amsgrad"] and "max_exp_avg_sq" not in state:
            state["max_exp_avg_sq"] = torch.zeros_like(p, memory_format=torch.preserve_format)
    held = [states[p] for p in params]
    adam(
        params,
        grads,
        [s["exp_avg"] for s in held],
        [s["exp_avg_sq"] for s in held],
        [s["max_exp_avg_sq"] for s in held] if group["amsgrad"] else [],
        [s["step"] for s in held],
        has_complex=any(p.is_complex() for p in params),
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        **{name: group[name] for name in _ADAM if name in group},
    )


class RiemannianAdam(ManifoldOptimizer):
    r"""Adam on manifolds: the first moment is transported, the second is one number a matrix.

    With `g` the Riemannian gradient, `R` the retraction and `P_y` the projection to the tangent
    space at `y`, a weight `x` of a manifold moves by

        m <- beta1 m + (1 - beta1) g,    v <- beta2 v + (1 - beta2) <g, g>_x
        y  = R_x(-lr m^ / (sqrt(v^) + eps)),    m <- P_y m

    where `^` divides by `1 - beta^t`. The length of a step is therefore about `lr`, whatever the
    size of the matrix. Ordinary weights move exactly as under `torch.optim.Adam` (or `AdamW`).

    Args:
        params: a model, its parameters, groups of them, or `param_groups(model)`.
        lr: learning rate.
        betas: decay of the two moments.
        eps: added to the denominator.
        weight_decay: adds `weight_decay x` to the Euclidean gradient, or, if decoupled, its
            Riemannian gradient to the direction. On Stiefel, rotations and the sphere the norm is
            constant, and weight decay does nothing.
        amsgrad: divide by the largest second moment so far.
        maximize: maximize instead of minimize.
        decoupled_weight_decay: keep weight decay out of the moments, as in AdamW.
        second_moment: `"matrix"`: the squared norm of the gradient in the metric, one number for
            each point (Becigneul & Ganea 2019). `"element"`: the square of each entry of the
            Riemannian gradient, and the direction is projected to the tangent space again (Roy,
            Mhammedi & Harandi 2018); this depends on the coordinates of the embedding.
        capturable: let a CUDA graph capture steps of ordinary weights too, as in `torch.optim`;
            steps of weights on manifolds can always be captured.
        foreach, fused, nonfinite: as in `RiemannianSGD`.

    Raises:
        ValueError: for an option out of its range.

    Example:
        >>> import torch, torchmanifold as tm
        >>> layer = tm.constrain(torch.nn.Linear(4, 4), "weight", tm.Stiefel(), how="riemannian")
        >>> optimizer = tm.optim.RiemannianAdam(layer, lr=0.01)
        >>> layer(torch.ones(2, 4)).sum().backward()
        >>> optimizer.step()
        >>> bool(tm.Stiefel().residual(layer.weight) < 1e-5)
        True

    Source: Becigneul & Ganea, Riemannian adaptive optimization methods, ICLR 2019; Reddi, Kale &
    Kumar, ICLR 2018 (AMSGrad); Loshchilov & Hutter, ICLR 2019 (decoupled weight decay); Roy,
    Mhammedi & Harandi, CVPR 2018 (element-wise).
    """

    rule = staticmethod(riemannian_adam)

    def __init__(
        self,
        params: Any,
        lr: Rate = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        second_moment: SecondMoment = "matrix",
        capturable: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        nonfinite: Nonfinite = "propagate",
    ) -> None:
        super().__init__(params, locals())

    def _ordinary(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        ordinary_adam(self.state, group, params, grads)
