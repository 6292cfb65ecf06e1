"""Riemannian Muon: steepest descent in the spectral norm, along manifolds."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from torchmanifold.manifolds import Euclidean, Flattened, Manifold
from torchmanifold.optim.adam import ordinary_adam
from torchmanifold.optim.optimizer import ManifoldOptimizer
from torchmanifold.optim.options import Betas, Fraction, Nonfinite, NonNegative, Rate
from torchmanifold.optim.rule import State, move

__all__ = ["Matrices", "Products", "RiemannianMuon", "Scale", "riemannian_muon"]

#: the length of a step of an ordinary matrix, by its shape
Scale = Literal["match_rms_adamw", "original", "spectral", "none"]
#: how ordinary matrices move
Matrices = Literal["muon", "adamw"]
#: the precision of the products that make a direction
Products = Literal["bfloat16", "full"]


def shape_scale(scale: Scale, rows: int, columns: int) -> float:
    """The factor of the step of an ordinary matrix."""
    if scale == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    if scale == "original":
        return math.sqrt(max(1, rows / columns))
    return math.sqrt(rows / columns) if scale == "spectral" else 1.0


def riemannian_muon(
    manifold: Manifold,
    x: Tensor,
    egrad: Tensor,
    state: State,
    *,
    lr: Rate,
    momentum: Fraction = 0.95,
    nesterov: bool = True,
    weight_decay: NonNegative = 0,
    scale: Scale = "match_rms_adamw",
    products: Products = "bfloat16",
    maximize: bool = False,
) -> tuple[Tensor, State]:
    """One step of points `x` of shape `(K, *event)`; nothing is changed in place.

    Args:
        manifold: the manifold of the points; Euclidean space for ordinary matrices.
        x: K weights.
        egrad: Euclidean gradients at `x`.
        state: empty at the first step, then the state that the last step returned.
        lr: learning rate.
        momentum: decay of the average of Euclidean gradients.
        nesterov: Nesterov momentum.
        weight_decay: strength of the decoupled pull towards zero.
        scale: the factor of the step of an ordinary matrix, see `RiemannianMuon`.
        products: the precision of the direction, see `RiemannianMuon`.
        maximize: maximize instead of minimize.

    Returns:
        The new points, and the new state: `momentum_buffer`.
    """
    g = -egrad if maximize else egrad
    average = torch.lerp(state.get("momentum_buffer", torch.zeros_like(g)), g, 1 - momentum)
    m = torch.lerp(g, average, momentum) if nesterov else average
    half = products == "bfloat16" and x.dtype == torch.float32
    d = manifold.steepest(x, m, torch.bfloat16 if half else None)
    size = 1.0
    if isinstance(getattr(manifold, "manifold", manifold), Euclidean):
        size = shape_scale(scale, x.shape[1], x[0, 0].numel())
    if weight_decay != 0 and not manifold.orthonormal:
        d = d.add(manifold.gradient(x, x), alpha=weight_decay / size)
    return move(manifold, x, d, lr * size), {"momentum_buffer": average}


class RiemannianMuon(ManifoldOptimizer):
    r"""Muon on manifolds: each weight moves along the steepest tangent direction of norm 1.

    With `g` Euclidean gradients, averaged in place, a weight `x` of a manifold moves by

        b <- momentum b + (1 - momentum) g
        m  = momentum b + (1 - momentum) g  with Nesterov,  b  without
        x <- R_x(-lr d),    d = manifold.steepest(x, m)

    where `d` is the approximate polar factor of the Riemannian gradient, with a spectral norm of
    about 1. On square matrices with orthonormal columns this is manifold Muon, solved exactly. On
    tall ones it is the variant without an inner loop (SPEL). Points of Stiefel, rotations and the
    sphere have the spectral norm 1, so `lr` is the angle of a step, whatever the shape; 0.03 to 0.1
    are usual.

    One optimizer trains a whole model: ordinary matrices move as under Muon, kernels of
    convolutions as the matrices `(out, rest)`, and vectors as under `torch.optim.AdamW`. Embeddings
    and heads, which move better under AdamW, go to a group with `matrices="adamw"`:

        groups = tm.optim.param_groups(body, lr=3e-3, manifold_lr=0.05)
        groups.append({"params": head.parameters(), "lr": 3e-3, "matrices": "adamw"})

    Args:
        params: a model, its parameters, groups of them, or `param_groups(model)`.
        lr: learning rate; for ordinary matrices it is multiplied by `scale`.
        momentum: decay of the average of gradients.
        nesterov: Nesterov momentum.
        weight_decay: decoupled weight decay. On Stiefel, rotations and the sphere the norm is
            constant, and weight decay does nothing.
        scale: the factor of the step of an ordinary matrix with `n` rows and `p` columns.
            `"match_rms_adamw"`: `0.2 sqrt(max(n, p))`, for which rates of AdamW are right.
            `"original"`: `sqrt(max(1, n / p))`, as in Muon. `"spectral"`: `sqrt(n / p)`, for which
            outputs change by at most `lr` at any width. `"none"`: 1.
        matrices: how ordinary matrices move, `"muon"` or `"adamw"`.
        products: `"bfloat16"`: the products of the polar factor are made in bfloat16, as in
            `torch.optim.Muon`, and the singular values of `d` lie in [0.78, 1.13]. Retractions are
            still computed in float32, so weights stay on their manifolds as precisely as under any
            other optimizer. `"full"`: the products are made in the dtype of the weight, and the
            singular values lie in [0.88, 1.12]. Float64 weights always use `"full"`.
        betas, eps: options of AdamW for vectors.
        maximize: maximize instead of minimize.
        capturable, foreach, fused: options of AdamW for vectors, as in `torch.optim`.
        nonfinite: as in `RiemannianSGD`.

    Raises:
        ValueError: for an option out of its range, or a weight on a manifold whose points have
            more than two dimensions.

    Example:
        >>> import torch, torchmanifold as tm
        >>> layer = tm.constrain(torch.nn.Linear(4, 4), "weight", tm.Stiefel(), how="riemannian")
        >>> groups = tm.optim.param_groups(layer, lr=3e-3, manifold_lr=0.05)
        >>> optimizer = tm.optim.RiemannianMuon(groups)
        >>> layer(torch.ones(2, 4)).sum().backward()
        >>> optimizer.step()
        >>> bool(tm.Stiefel().residual(layer.weight) < 1e-5)
        True

    Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024; Liu et
    al., Muon is scalable for LLM training, arXiv 2502.16982, for `"match_rms_adamw"`; Bernstein,
    Modular manifolds, Thinking Machines Lab 2025; arXiv 2601.21487 (SPEL).
    """

    rule = staticmethod(riemannian_muon)

    def __init__(
        self,
        params: Any,
        lr: Rate = 1e-3,
        momentum: Fraction = 0.95,
        nesterov: bool = True,
        weight_decay: NonNegative = 0,
        *,
        scale: Scale = "match_rms_adamw",
        matrices: Matrices = "muon",
        products: Products = "bfloat16",
        betas: Betas = (0.9, 0.999),
        eps: NonNegative = 1e-8,
        maximize: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        nonfinite: Nonfinite = "propagate",
    ) -> None:
        super().__init__(params, locals())

    def _manifold(self, group: dict[str, Any], parameter: Tensor) -> Manifold | None:
        manifold = super()._manifold(group, parameter)
        if manifold is not None or parameter.ndim < 2 or group["matrices"] == "adamw":
            return manifold
        flat = Euclidean(ndim=2)
        return flat if parameter.ndim == 2 else Flattened(flat, parameter.ndim)

    def _choice(self, group: dict[str, Any]) -> object:
        return group["matrices"]

    def _accept(self, parameter: Tensor, manifold: Manifold, group: dict[str, Any]) -> None:
        if not manifold.offers("steepest"):
            raise ValueError(
                f"RiemannianMuon: a weight of shape {tuple(parameter.shape)} is on {manifold!r}, "
                f"whose points are not matrices; give it to RiemannianAdam"
            )

    def _ordinary(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        options = {**group, "amsgrad": False, "decoupled_weight_decay": True}
        ordinary_adam(self.state, options, params, grads)
