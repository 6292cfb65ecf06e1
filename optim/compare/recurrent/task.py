"""What a task for recurrent networks is: batches of sequences, a loss, and what no memory gives."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["SequenceTask", "seeded"]


class SequenceTask(Protocol):
    """What training needs from a task. Its batches are functions of the seed and of the step.

    A run that was interrupted therefore goes on with the batches that it would have seen.
    """

    @property
    def name(self) -> str:
        """Name on the command line."""

    @property
    def title(self) -> str:
        """Heading in figures: the task and its size."""

    @property
    def inputs(self) -> int:
        """Features of the input in each step."""

    @property
    def outputs(self) -> int:
        """Numbers that the network gives."""

    @property
    def every(self) -> bool:
        """Whether the network answers in every step, or at the end alone."""

    @property
    def baseline(self) -> float:
        """The loss of the best answer without memory."""

    def batch(self, seed: int, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Inputs `(time, size, inputs)` and targets of a training step."""

    def heldout(self) -> tuple[Tensor, Tensor]:
        """Inputs `(time, m, inputs)` and targets that no training step sees."""

    def loss(self, answer: Tensor, target: Tensor) -> Tensor:
        """The mean loss, `()`."""

    def accuracy(self, answer: Tensor, target: Tensor) -> Tensor:
        """The share of right answers, `()`."""


def seeded(*numbers: int) -> torch.Generator:
    """A generator whose seed is a hash of the numbers, the same on every machine.

    Example:
        >>> import torch
        >>> [int(torch.randint(10**6, (), generator=seeded(0, step))) for step in (3, 3)]
        [895018, 895018]
    """
    mixed = 0
    for number in numbers:
        # The step of splitmix64: neighbours give seeds that have nothing in common.
        mixed = (mixed + number + 0x9E3779B97F4A7C15) % 2**64
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
        mixed ^= mixed >> 31
    return torch.Generator().manual_seed(mixed % 2**63)
