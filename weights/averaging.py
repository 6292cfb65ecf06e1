"""Averages of models with constrained weights: the mean of the values, then projected."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from torchmanifold.manifolds import Manifold
from torchmanifold.weights.points import check_movable, maps_after, move, point
from torchmanifold.weights.record import constrained, recorded

__all__ = ["average_"]


class _Weight(NamedTuple):
    """A constrained weight, and the tensors of its module that determine it."""

    module: nn.Module
    name: str
    manifold: Manifold
    tensors: list[Tensor]


@torch.no_grad()
def average_(average: nn.Module, model: nn.Module, decay: float) -> nn.Module:
    r"""Move a running average of models towards a model: `decay average + (1 - decay) model`.

    A constrained weight becomes the projection of the mean of the two *values*,
    `project(decay x + (1 - decay) y)`. `torch.optim.swa_utils.AveragedModel` takes the mean of the
    coordinates, which belongs to no base once the bases differ. If further maps compute a weight
    from its point, the points are averaged. Other parameters are averaged and other buffers copied,
    as by `AveragedModel`.

    Args:
        average: the average so far, a `copy.deepcopy` of the model at first; changed in place and
            returned.
        model: the model that joins it.
        decay: the share of the average, in [0, 1]: a constant for an exponential moving average,
            `k / (k + 1)` for the plain mean with the `k` models before.

    Raises:
        ValueError: if `decay` is not in [0, 1], if the models differ in names, shapes or
            manifolds, or if a weight has maps both before and after its trivialization. Then
            nothing is changed.

    Example:
        >>> import copy, torch, torchmanifold as tm
        >>> layer = tm.constrain(torch.nn.Linear(4, 4), "weight", tm.SpecialOrthogonal())
        >>> average = copy.deepcopy(layer)
        >>> layer.weight = tm.SpecialOrthogonal().random(4, 4)
        >>> _ = tm.average_(average, layer, decay=0.9)
        >>> bool(tm.SpecialOrthogonal().residual(average.weight) < 1e-5)
        True

    Source: Moakher, Means and averaging in the group of rotations, SIAM J. Matrix Anal. Appl. 24
    (2002), section 3: the projected mean of rotations is their mean in the chordal distance.
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"average_: decay must be in [0, 1], got {decay}")
    ours, theirs = _weights(average), _weights(model)
    before, after = _layout(average, ours), _layout(model, theirs)
    if before != after:
        unlike = sorted(k for k in before.keys() | after if before.get(k) != after.get(k))
        raise ValueError(
            f"average_: the models differ in {unlike[0]!r}: {before.get(unlike[0])} in the "
            f"average, {after.get(unlike[0])} in the model"
        )
    means = {}
    for path, (module, name, manifold, _) in ours.items():
        value, new = _point(module, name), _point(theirs[path].module, name)
        means[path] = manifold.project(value.lerp(new.to(value), 1 - decay))
    done = {id(tensor) for weight in ours.values() for tensor in weight.tensors}
    for path, (module, name, _, _) in ours.items():
        if name in recorded(module):
            getattr(module, name).copy_(means[path])
        else:
            move(module.parametrizations[name], means[path])  # type: ignore[index]
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    for path, parameter in average.named_parameters():
        if id(parameter) not in done:
            parameter.lerp_(parameters[path].to(parameter), 1 - decay)
    for path, buffer in average.named_buffers():
        if id(buffer) not in done:
            buffer.copy_(buffers[path])
    return average


def _point(module: nn.Module, name: str) -> Tensor:
    if name in recorded(module):
        value: Tensor = getattr(module, name)
        return value
    return point(module.parametrizations[name])  # type: ignore[index]


def _weights(model: nn.Module) -> dict[str, _Weight]:
    """The constrained weights by their path in the model, tied ones once."""
    found: dict[str, _Weight] = {}
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        for name, manifold in constrained(module):
            if name in recorded(module):
                tensors = [getattr(module, name)]
            else:
                chain: Any = module.parametrizations[name]
                tensors = [*chain.parameters(), *chain.buffers()]
                check_movable(chain)
                for link in maps_after(chain):
                    later = {id(tensor) for tensor in (*link.parameters(), *link.buffers())}
                    tensors = [tensor for tensor in tensors if id(tensor) not in later]
            if seen.isdisjoint(map(id, tensors)):
                found[f"{prefix}.{name}".lstrip(".")] = _Weight(module, name, manifold, tensors)
            seen.update(map(id, tensors))
    return found


def _layout(model: nn.Module, weights: dict[str, _Weight]) -> dict[str, tuple[object, ...]]:
    """Names, shapes and manifolds, which must be equal in two models that are averaged."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    layout: dict[str, tuple[object, ...]] = {path: tuple(tensor.shape) for path, tensor in tensors}
    return layout | {path: (weight.manifold, layout.get(path)) for path, weight in weights.items()}
