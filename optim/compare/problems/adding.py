"""The adding problem: the sum of two marked numbers of a long sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem
from torchmanifold.optim.compare.problems.sequences import (
    SHARED,
    grids,
    kernel,
    seeded,
    sequence_instance,
)

__all__ = ["Adding", "adding"]

HELDOUT, TOLERANCE = 1024, 0.04


@dataclass(frozen=True)
class Adding:
    """Numbers from U(0, 1), with a mark at one of the first half and at one of the second half.

    Without memory the best answer is 1, the mean of the sum; its squared error is the variance
    of the sum, 1/6.

    Args:
        length: steps of a sequence.

    Raises:
        ValueError: for a length below 2.

    Source: Hochreiter & Schmidhuber, Long short-term memory, Neural Computation 9 (1997), section
    5.4, which calls an error below 0.04 right; this form is that of Arjovsky, Shah & Bengio 2016,
    section 5.2.

    Example:
        >>> x, y = Adding(length=20).batch(seed=0, step=0, size=3)
        >>> x.shape, y.shape
        (torch.Size([20, 3, 2]), torch.Size([3, 1]))
        >>> bool(torch.allclose((x[..., 0] * x[..., 1]).sum(0), y[:, 0]))
        True
    """

    length: int = 200

    name: ClassVar[str] = "rnn-adding"
    inputs: ClassVar[int] = 2
    outputs: ClassVar[int] = 1
    every: ClassVar[bool] = False
    baseline: ClassVar[float] = 1 / 6

    def __post_init__(self) -> None:
        """Refuse a sequence without two halves."""
        if self.length < 2:
            raise ValueError(
                f"length must be at least 2, got {self.length}: there would be no two numbers"
            )

    @property
    def title(self) -> str:
        """Heading in figures."""
        return f"Adding problem, {self.length} steps"

    def batch(self, seed: int, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Inputs `(length, size, 2)` and targets `(size, 1)`."""
        return self._draw(seeded(seed, step), size)

    def heldout(self) -> tuple[Tensor, Tensor]:
        """1024 separate sequences."""
        return self._draw(seeded(HELDOUT), HELDOUT)

    def _draw(self, generator: torch.Generator, size: int) -> tuple[Tensor, Tensor]:
        numbers = torch.rand(self.length, size, generator=generator)
        half, marks = self.length // 2, torch.zeros(self.length, size)
        for low, high in ((0, half), (half, self.length)):
            marks.scatter_(0, torch.randint(low, high, (1, size), generator=generator), 1.0)
        return torch.stack([numbers, marks], -1), (numbers * marks).sum(0).unsqueeze(-1)

    def loss(self, answer: Tensor, target: Tensor) -> Tensor:
        """Mean squared error."""
        return mse_loss(answer, target)

    def accuracy(self, answer: Tensor, target: Tensor) -> Tensor:
        """The share of the sums within 0.04."""
        return ((answer - target).abs() < TOLERANCE).float().mean()


@problem(
    kernel(),
    title="Adding problem",
    reference="rnn-adding",
    name="rnn-adding",
    steps=4000,
    grids={**grids(1e-2), "lstm-adam": {"lr": (1e-2,)}},
    presets={"small": {}},
    **{**SHARED, "methods": ("exp-adam", "cayley-adam", "riemannian-adam", "lstm-adam", "rnn")},
)
def adding(
    generator: torch.Generator,
    length: int = 200,
    hidden: int = 128,
    batch: int = 50,
    init: str = "henaff",
    input_std: float = 0.006,
) -> Instance:
    """The adding problem: the sum of two marked numbers of a long sequence.

    With Kaiming's input weights the first states are large beside the biases of modReLU. The
    network is then nearly linear, and cannot learn the product of number and mark. Small input
    weights prevent this.

    Example:
        >>> adding.configured(length=20).probe.title
        'Adding problem, 20 steps'
    """
    return sequence_instance(
        Adding(length), generator.initial_seed(), hidden, batch, init, input_std
    )
