"""The instance of a problem for one seed, and the panels of its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

__all__ = ["Instance", "Panel"]

Batch = Callable[[int], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Panel:
    """One quantity against another, in a figure.

    Args:
        y: column of the vertical axis; the name of a profile for `x="place"`.
        label: label of the vertical axis, with its unit.
        x: column of the horizontal axis: "iteration", "seconds", "evaluations", or "place".
        x_label: label of the horizontal axis, with its unit.
        log: whether the vertical axis is logarithmic.
        log_x: whether the horizontal axis is logarithmic.
        levels: values to mark by a dotted line, with their labels.

    Example:
        >>> Panel("accuracy", "test accuracy", log=False).x
        'iteration'
    """

    y: str
    label: str
    x: str = "iteration"
    x_label: str = "iteration"
    log: bool = True
    log_x: bool = True
    levels: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class Instance:
    r"""A problem for one seed: data, an initial value, a loss, and the known optimum.

    Args:
        loss: `loss(x, *data) -> ()` of a point `x`; for a network `loss(model, *batch) -> ()`.
        initial: the first point, a tensor or a tuple or dict of tensors, or a network.
        data: the other arguments of the loss; cast to the precision of the run.
        exact: the smallest value of the loss or a lower bound of it; None if it is not known.
        batch: the arguments of the loss in a step, as a function of the number of the step; by
            default the data in every step.
        measure: numbers of the network to record; by default its loss on the first batch.
        profile: pairs of a place and a number, by name, recorded at the first and the last step.
        scores: further numbers to record, `score(x, *data) -> ()` each.
        solution: a point with the exact value.
        title: heading in figures, if it depends on parameters.
        panels: the panels to draw, if they depend on parameters.
        solved: a loss below which the problem counts as solved, with its label.
        steps: the number of steps, if it depends on parameters.
        record: the number of steps between two records, for problems that are recorded evenly.

    Example:
        >>> import torch
        >>> a = torch.diag(torch.arange(3.0))
        >>> instance = Instance(lambda x, a: x @ a @ x, torch.ones(3) / 3**0.5, (a,), exact=0.0)
        >>> float(instance.loss(instance.initial, *instance.data))
        1.0
    """

    loss: Callable[..., Tensor]
    initial: Any
    data: tuple[Tensor, ...] = ()
    exact: float | None = None
    batch: Batch | None = None
    measure: Callable[[Any], Mapping[str, float]] | None = None
    profile: Callable[[Any], Mapping[str, list[list[float]]]] | None = None
    scores: Mapping[str, Callable[..., Tensor]] = field(default_factory=dict)
    title: str | None = None
    panels: tuple[Panel, ...] | None = None
    solved: tuple[float, str] | None = None
    solution: Any = None
    steps: int | None = None
    record: int | None = None

    @property
    def is_network(self) -> bool:
        """Whether the loss is that of a network."""
        return isinstance(self.initial, nn.Module)
