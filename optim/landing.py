"""Landing: descent with an attraction to the orthogonal matrices in place of a retraction."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchmanifold.manifolds import Manifold, on_matrices
from torchmanifold.manifolds.linalg import eye_like, frobenius
from torchmanifold.optim.optimizer import ManifoldOptimizer
from torchmanifold.optim.options import Nonfinite, NonNegative, OpenFraction, Positive, Rate
from torchmanifold.optim.rule import State, extended
from torchmanifold.optim.sgd import check_nesterov, ordinary_sgd
from torchmanifold.weights.record import placement_of

__all__ = ["Landing", "landing", "landing_step"]


def landing_step(x: Tensor, g: Tensor, lr: Rate, attraction: float, safety: float) -> Tensor:
    """`x - h (skew(g x') x + attraction x (x'x - I))`, with `h` at most `lr`, and safe.

    The two parts of the field are orthogonal to each other, and the first changes `x'x` to second
    order only, for any `g`. So with `d = ||x'x - I||_F`, a step `h` up to `1 / (2 attraction)`
    ends with a residual of at most `d - 2 h attraction d (1 - d) + h^2 ||field||^2`. The safe step
    is the longest for which this is at most `safety`. It takes four products, and no `n x n`
    matrix.

    For a larger `d` the first part is left out, and a step of at most `1 / (2 attraction (1 + d))`
    moves every singular value nearer to 1, so a matrix of full rank returns from anywhere.

    Args:
        x: `(*batch, n, p)`; the bound holds from `||x'x - I||_F <= safety`.
        g: `(*batch, n, p)`, a Euclidean gradient, or an average of them.
        lr: learning rate.
        attraction: weight of the second part of the field.
        safety: the largest residual, less than 1.

    Source: Ablin, Vary, Gao & Absil, arXiv 2303.16510, section 3.
    """
    gram = x.mH @ x
    excess = gram - eye_like(x)
    d = frobenius(excess)
    near = d <= safety + torch.finfo(d.dtype).eps ** 0.5  # the bound holds up to rounding
    half = extended(near.to(d.dtype) / 2, x)
    field = (half * g) @ gram + x @ (attraction * excess - half * (g.mH @ x))
    size = frobenius(field)
    size = size.clamp_min(torch.finfo(size.dtype).tiny)
    pull = attraction * d * (1 - d).clamp_min(0) / size
    safe = (pull + (pull.square() + (safety - d).clamp_min(0)).sqrt()) / size
    safe = torch.where(near, safe.clamp_max(0.5 / attraction), 0.5 / (attraction * (1 + d)))
    if isinstance(lr, Tensor):
        lr = lr.squeeze().to(safe)
        h = torch.minimum(lr, safe)
    else:
        h = safe.clamp_max(lr)
    return x - extended(h, x) * field


def landing(
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
    attraction: Positive = 1.0,
    safety: OpenFraction = 0.5,
) -> tuple[Tensor, State]:
    """One step of points `x` of shape `(*batch, *event)`; nothing is changed in place.

    Args:
        manifold: the manifold: Stiefel, rotations, a sphere, or a view of one of them.
        x: the points.
        egrad: Euclidean gradients at `x`.
        state: empty at the first step, then the state that the last step returned.
        lr: learning rate.
        momentum: momentum factor.
        dampening: dampening of the momentum.
        weight_decay: strength of the pull towards zero.
        nesterov: Nesterov momentum.
        maximize: maximize instead of minimize.
        attraction: strength of the attraction to the manifold.
        safety: the largest residual.

    Returns:
        The new points, and the new state: `momentum_buffer` if there is momentum.
    """
    d = g = -egrad if maximize else egrad
    if weight_decay != 0:
        d = g = g.add(x, alpha=weight_decay)
    new: State = {}
    if momentum != 0:
        buffer = state.get("momentum_buffer")
        buffer = g if buffer is None else (momentum * buffer).add(g, alpha=1 - dampening)
        d = g.add(buffer, alpha=momentum) if nesterov else buffer
        new = {"momentum_buffer": buffer}

    def step(x: Tensor, g: Tensor) -> Tensor:
        return landing_step(x, g, lr, attraction, safety)

    return on_matrices(manifold, step, x, d), new


class Landing(ManifoldOptimizer):
    r"""Landing: orthogonality without a retraction, up to a stated residual.

    With `b` the average of Euclidean gradients `g`, a weight `x` on Stiefel, the rotations or the
    sphere moves by

        b <- momentum b + (1 - dampening) g      (b = g at the first step)
        d  = g + momentum b  with Nesterov,  b  without
        x <- x - h (skew(d x') x + attraction x (x'x - I)),    skew(A) = (A - A') / 2

    where `h` is `lr`, or less if the residual could otherwise exceed `safety`. For square `x` the
    first part of the field is the gradient in the Euclidean metric. For tall `x` it is half of the
    gradient in the canonical metric. A step costs four products; nothing is factorized.

    **Bound.** A weight that is on the manifold at first has a residual `||x'x - I||_F` of at most
    `safety` (and rounding) after each step, for every learning rate and every gradient, and
    rotations keep their determinant. If the steps go to zero, so does the residual. For steps `h`
    with fields of norm `a` it settles at about `h a^2 / (2 attraction)`. To end on the manifold,
    project: `weight.copy_(manifold.project(weight))`. A checkpoint with a residual up to `safety`
    loads into a model whose optimizer has been built.

    Ordinary weights move exactly as under `torch.optim.SGD`.

    Args:
        params: a model, its parameters, groups of them, or `param_groups(model)`.
        lr: learning rate.
        momentum: momentum factor.
        dampening: dampening of the momentum.
        weight_decay: adds `weight_decay x` to the Euclidean gradient, which has an effect on
            ordinary weights only.
        nesterov: Nesterov momentum; needs momentum and no dampening.
        maximize: maximize instead of minimize.
        attraction: strength of the attraction to the manifold.
        safety: the largest residual, between 0 and 1.
        foreach, fused, nonfinite: as in `RiemannianSGD`.

    Raises:
        ValueError: for an option out of its range, or a weight on another manifold.

    Example:
        >>> import torch, torchmanifold as tm
        >>> layer = tm.constrain(torch.nn.Linear(4, 4), "weight", tm.Stiefel(), how="riemannian")
        >>> optimizer = tm.optim.Landing(layer, lr=0.1, momentum=0.9)
        >>> layer(torch.ones(2, 4)).sum().backward()
        >>> optimizer.step()
        >>> bool(tm.Stiefel().residual(layer.weight) <= 0.5)
        True

    Source: Ablin & Peyre, Fast and accurate optimization on the orthogonal manifold without
    retraction, AISTATS 2022; Ablin, Vary, Gao & Absil, arXiv 2303.16510, for tall matrices.
    """

    rule = staticmethod(landing)

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
        attraction: Positive = 1.0,
        safety: OpenFraction = 0.5,
        foreach: bool | None = None,
        fused: bool | None = None,
        nonfinite: Nonfinite = "propagate",
    ) -> None:
        super().__init__(params, locals())

    def _check(self, options: dict[str, Any]) -> None:
        super()._check(options)
        check_nesterov(self, options)

    def _accept(self, parameter: Any, manifold: Manifold, group: dict[str, Any]) -> None:
        if not manifold.orthonormal:
            raise ValueError(
                f"Landing: a weight of shape {tuple(parameter.shape)} is on {manifold!r}; landing "
                f"needs orthonormal columns: Stiefel, SpecialOrthogonal, Sphere; give it to "
                f"RiemannianSGD"
            )
        placement = placement_of(parameter)
        assert placement is not None
        placement.residual = group["safety"]  # a checkpoint may have this residual

    def _ordinary(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        ordinary_sgd(self.state, group, params, grads)
