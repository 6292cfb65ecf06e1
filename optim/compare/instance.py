"""What a problem gives for one seed, and what it wants drawn."""

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
        label: of the vertical axis, with its unit.
        x: column of the horizontal axis: "iteration", "seconds", "evaluations", or "place".
        x_label: of the horizontal axis, with its unit.
        log: whether the vertical axis is logarithmic.
        log_x: whether the horizontal axis is.
        levels: values to mark by a dotted line, with their words.

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
    r"""What a problem gives for one seed: data, an initial value, a loss, and the known optimum.

    Args:
        loss: `loss(x, *data) -> ()` of a point `x`; for a network `loss(model, *batch) -> ()`.
        initial: the first point, a tensor or a tuple or dict of tensors, or a network.
        data: what the loss takes beside the point; cast to the precision of the run.
        exact: the smallest value of the loss or a lower bound of it; None if it is not known.
        batch: the arguments of the loss in a step, a function of the number of the step alone; by
            default the data in every step.
        measure: numbers to record of the network; by default its loss on the first batch.
        profile: pairs of a place and a number, by name, recorded first and last.
        scores: further numbers to record, `score(x, *data) -> ()` each.
        solution: a point where the exact value is taken.
        title: heading in figures, where it depends on parameters.
        panels: what to draw, where that depends on parameters.
        solved: a loss below which a run has solved the problem, with its words.
        steps: how many, where that depends on parameters.
        record: steps from one record to the next, for problems that are recorded evenly.

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
