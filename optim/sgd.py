"""Riemannian stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from torchmanifold.manifolds import Manifold
from torchmanifold.optim.optimizer import ManifoldOptimizer
from torchmanifold.optim.options import (
    Average,
    Nonfinite,
    NonNegative,
    Rate,
    options_of,
    require,
)
from torchmanifold.optim.rule import State, move

__all__ = ["RiemannianSGD", "check_nesterov", "ordinary_sgd", "riemannian_sgd"]

_SGD = options_of(sgd)


def riemannian_sgd(
    manifold: Manifold,
    x: Tensor,
    egrad: Tensor,
    state: State,
    *,
    lr: Rate,
    momentum: NonNegative = 0,
    dampening: float = 0,
    weight_decay: NonNegative = 0,
    nesterov: bool = False,
    maximize: bool = False,
    average: Average = "riemannian",
) -> tuple[Tensor, State]:
    """One step of points `x` of shape `(*batch, *event)`; nothing is changed in place.

    Args:
        manifold: the manifold of the points.
        x: the points.
        egrad: Euclidean gradients at `x`.
        state: empty at the first step, then the state that the last step returned.
        lr: learning rate.
        momentum: momentum factor.
        dampening: dampening of the momentum.
        weight_decay: strength of the pull towards zero.
        nesterov: Nesterov momentum.
        maximize: maximize instead of minimize.
        average: `"riemannian"` or `"euclidean"`, see `RiemannianSGD`.

    Returns:
        The new points, and the new state: `momentum_buffer` if there is momentum. If the transport
        is the projection to the new tangent space, the next step performs it.
    """
    transported = average == "riemannian"
    g = -egrad if maximize else egrad
    if weight_decay != 0:
        g = g.add(x, alpha=weight_decay)
    buffer = state.get("momentum_buffer") if momentum != 0 else None
    # The gradient and the buffer of the last step both need the projection to the tangent space at
    # x, so their sum is projected once.
    at_once = transported and manifold.metric_rule.embedded
    if transported and (buffer is None or nesterov or not at_once):
        g = manifold.gradient(x, g)
    if buffer is None:
        buffer = g
    else:
        buffer = torch.add(g if dampening == 0 else (1 - dampening) * g, buffer, alpha=momentum)
        if at_once:
            buffer = manifold.gradient(x, buffer)
    d = g.add(buffer, alpha=momentum) if nesterov else buffer
    y = move(manifold, x, d if transported else manifold.gradient(x, d), lr)
    if momentum == 0:
        return y, {}
    if transported and not at_once:
        buffer = manifold.carry(x, y, buffer)
    return y, {"momentum_buffer": buffer}


def check_nesterov(owner: object, options: dict[str, Any]) -> None:
    """Refuse Nesterov momentum without momentum, or with dampening."""
    if options["nesterov"]:
        require(options["momentum"] > 0, owner, "momentum", "positive with nesterov=True", 0)
        damp = options["dampening"]
        require(damp == 0, owner, "dampening", "0 with nesterov=True", damp)


def ordinary_sgd(
    state: MutableMapping[Tensor, Any],
    group: dict[str, Any],
    params: list[Tensor],
    grads: list[Tensor],
) -> None:
    """Move ordinary weights as `torch.optim.SGD` does."""
    options = {name: group[name] for name in _SGD if name in group}
    momentum = options["momentum"]
    buffers = [state[p].get("momentum_buffer") for p in params] if momentum != 0 else []
    if options["nesterov"]:
        grads = [g.clone() for g in grads]  # PyTorch's multi-tensor Nesterov writes into them
    sgd(params, grads, buffers, any(g.is_sparse for g in grads), **options)
    if momentum != 0:
        for p, buffer in zip(params, buffers, strict=True):
            state[p]["momentum_buffer"] = buffer


class RiemannianSGD(ManifoldOptimizer):
    r"""Stochastic gradient descent on manifolds, with momentum.

    With `g` the Riemannian gradient, `R` the retraction and `P_y` the projection to the tangent
    space at `y`, a weight `x` of a manifold moves by

        b <- momentum b + (1 - dampening) g      (b = g at the first step)
        d  = g + momentum b  with Nesterov,  b  without
        y  = R_x(-lr d),    b <- P_y b

    If the gradient is a projection too, one projection in the next step does both, and
    `momentum_buffer` holds `b` before the projection. Ordinary weights move exactly as under
    `torch.optim.SGD`.

    Args:
        params: a model, its parameters, groups of them, or `param_groups(model)`.
        lr: learning rate.
        momentum: momentum factor.
        dampening: dampening of the momentum.
        weight_decay: adds `weight_decay x` to the Euclidean gradient. On Stiefel, rotations and
            the sphere the norm is constant, and weight decay does nothing.
        nesterov: Nesterov momentum; needs momentum and no dampening.
        maximize: maximize instead of minimize.
        average: the gradients that the momentum averages. `"riemannian"`: Riemannian gradients,
            transported from point to point. `"euclidean"`: Euclidean gradients, and each point
            converts the average. With `Stiefel(metric=Canonical(), retraction=NewtonSchulz(1))` and
            half the learning rate the latter is POGO (Javaloy & Vergari, arXiv 2602.14656).
        foreach: compute ordinary weights by PyTorch's multi-tensor functions, as in `torch.optim`.
        fused: compute ordinary weights by PyTorch's fused functions, as in `torch.optim`.
        nonfinite: the treatment of a step that is not finite. `"propagate"`: make the step.
            `"skip"`: leave the weight and its state as they are, and count the step in
            `state[weight]["skipped"]`, without synchronizing the device. `"raise"`: raise before
            any weight is moved, which synchronizes.

    Raises:
        ValueError: for an option out of its range.

    Example:
        >>> import torch, torchmanifold as tm
        >>> layer = tm.constrain(torch.nn.Linear(4, 4), "weight", tm.Stiefel(), how="riemannian")
        >>> optimizer = tm.optim.RiemannianSGD(layer, lr=0.1, momentum=0.9)
        >>> layer(torch.ones(2, 4)).sum().backward()
        >>> optimizer.step()
        >>> bool(tm.Stiefel().residual(layer.weight) < 1e-5)
        True

    Source: Bonnabel, Stochastic gradient descent on Riemannian manifolds, IEEE Trans. Autom.
    Control 58, 2013; Sutskever et al. 2013 for the momentum, in PyTorch's form.
    """

    rule = staticmethod(riemannian_sgd)

    def __init__(
        self,
        params: Any,
        lr: Rate = 1e-3,
        momentum: NonNegative = 0,
        dampening: float = 0,
        weight_decay: NonNegative = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        average: Average = "riemannian",
        foreach: bool | None = None,
        fused: bool | None = None,
        nonfinite: Nonfinite = "propagate",
    ) -> None:
        super().__init__(params, locals())

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        check_nesterov(self, options)

    def _ordinary(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        ordinary_sgd(self.state, group, params, grads)
