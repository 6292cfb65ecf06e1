"""What a problem of the comparison is: a loss on a manifold, where it starts and where it ends.

A problem knows nothing of methods. The runner sees every problem as a `Task`: a module with one
constrained weight, a stream of objectives to step on, and a measurement of where it stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from torchmanifold.manifolds import Manifold

__all__ = ["Point", "Problem", "Task"]


class Task(Protocol):
    """What the runner needs from a problem."""

    @property
    def name(self) -> str:
        """Name on the command line."""

    @property
    def title(self) -> str:
        """Heading in figures."""

    @property
    def manifold(self) -> Manifold:
        """Where the weight lies."""

    @property
    def exact(self) -> float:
        """The smallest possible loss, or a lower bound of it."""

    @property
    def optimum(self) -> str:
        """Where `exact` comes from, in words."""

    @property
    def weight(self) -> str:
        """Dotted name of the constrained weight in the model."""

    @property
    def optional(self) -> bool:
        """Whether the loss has a minimum without the constraint too."""

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Precisions in which the problem is solved; networks are trained in float32 alone."""

    def to(self, dtype: torch.dtype, device: torch.device | str) -> Task:
        """The same problem in another precision or place."""

    def model(self, generator: torch.Generator) -> nn.Module:
        """A module at the start that the generator draws; its weight is plain, on the manifold."""

    def objectives(
        self, model: nn.Module, generator: torch.Generator
    ) -> Iterator[Callable[[], Tensor]]:
        """What to minimize in each step, without end."""

    def measure(self, model: nn.Module) -> dict[str, float]:
        """Loss, gap, gradient norm, residual, and the problem's own scores."""


class Point(nn.Module):
    """A module that is one point: its parameter `weight`."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(x)


@dataclass(frozen=True)
class Problem:
    """Minimize `loss(x, *data)` over the points `x` of a manifold.

    Losses are scaled so that their curvature is at most about 1 at the solution: one grid of
    learning rates then serves all problems.

    Args:
        name: name on the command line.
        title: heading in figures.
        manifold: where `x` lies.
        data: float64 tensors.
        loss: `(x, *data) -> ()`.
        start: draws the first point, in float64.
        exact: the smallest value of the loss.
        optimum: where that value comes from, in words.
        solution: a point where it is taken.
        scores: further numbers to record, `(x, *data) -> ()` each.

    Example:
        >>> import torch
        >>> from torchmanifold.optim.compare.problems import procrustes
        >>> problem = procrustes()
        >>> bool(problem.loss(problem.solution, *problem.data) - problem.exact < 1e-12)
        True
    """

    name: str
    title: str
    manifold: Manifold
    data: tuple[Tensor, ...]
    loss: Callable[..., Tensor]
    start: Callable[[torch.Generator], Tensor]
    exact: float
    optimum: str
    solution: Tensor
    scores: Mapping[str, Callable[..., Tensor]] = field(default_factory=dict)

    weight: ClassVar[str] = "weight"
    optional: ClassVar[bool] = False
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "float64")

    def to(self, dtype: torch.dtype, device: torch.device | str) -> Problem:
        """The same problem with its data in another precision or place."""
        data = tuple(tensor.to(device, dtype) for tensor in self.data)
        return dataclasses.replace(self, data=data)

    def model(self, generator: torch.Generator) -> Point:
        """A `Point` at the start, in the dtype and on the device of the data."""
        like = self.data[0]
        return Point(self.start(generator).to(like.device, like.dtype, copy=True))

    def objectives(
        self, model: nn.Module, generator: torch.Generator
    ) -> Iterator[Callable[[], Tensor]]:
        """The loss at the model's weight, in every step the same."""
        while True:
            yield lambda: self.loss(model.weight, *self.data)

    def measure(self, model: nn.Module) -> dict[str, float]:
        """Evaluate at the model's weight in the precision of this problem's data."""
        x = model.weight.detach().to(self.data[0]).requires_grad_()
        loss = self.loss(x, *self.data)
        (egrad,) = torch.autograd.grad(loss, x)
        with torch.no_grad():
            values = {
                "loss": loss.detach(),
                "gap": loss.detach() - self.exact,
                "gradient_norm": self.manifold.norm(x, self.manifold.gradient(x, egrad)),
                "residual": self.manifold.residual(model.weight.detach()),
                **{name: score(x, *self.data) for name, score in self.scores.items()},
            }
        return {name: float(value) for name, value in values.items()}
