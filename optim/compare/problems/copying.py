"""Copying memory: repeat the first symbols after a long pause."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem
from torchmanifold.optim.compare.problems.sequences import (
    SHARED,
    grids,
    kernel,
    seeded,
    sequence_instance,
)

__all__ = ["Copying", "copying"]

SYMBOLS, BLANK, HELDOUT = 8, 0, 256


@dataclass(frozen=True)
class Copying:
    r"""`K` symbols of 8, then `L` blanks, then a cue, after which the symbols must be repeated.

    Inputs (one-hot in 10 features) and targets (one of 9) of `L + 2K` steps are

    `s_1 ... s_K  _ ... _ (L)  :  _ ... _ (K - 1)` and `_ ... _ (L + K)  s_1 ... s_K`.

    Without memory the best answer is a blank for `L + K` steps and then each symbol with
    probability 1/8, with the loss `K ln 8 / (L + 2K)`.

    Args:
        length: `L`.
        recall: `K`.

    Raises:
        ValueError: for a length or a number of symbols below 1.

    Source: Hochreiter & Schmidhuber 1997; Arjovsky, Shah & Bengio, Unitary evolution recurrent
    neural networks, ICML 2016, section 5.1.

    Example:
        >>> x, y = Copying(length=20).batch(seed=0, step=0, size=3)
        >>> x.shape, y.shape
        (torch.Size([40, 3, 10]), torch.Size([40, 3]))
        >>> bool((x[:10].argmax(-1) == y[-10:]).all())
        True
    """

    length: int = 200
    recall: int = 10

    name: ClassVar[str] = "rnn-copy"
    inputs: ClassVar[int] = SYMBOLS + 2
    outputs: ClassVar[int] = SYMBOLS + 1
    every: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse an empty sequence."""
        for name, value in (("length", self.length), ("recall", self.recall)):
            if value < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {value}: there would be nothing to remember"
                )

    @property
    def title(self) -> str:
        """Heading in figures."""
        return f"Copying memory, K = {self.recall}, L = {self.length}"

    @property
    def baseline(self) -> float:
        """`K ln 8 / (L + 2K)`."""
        return self.recall * math.log(SYMBOLS) / (self.length + 2 * self.recall)

    def batch(self, seed: int, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Inputs `(L + 2K, size, 10)` and targets `(L + 2K, size)`."""
        return self._draw(seeded(seed, step), size)

    def heldout(self) -> tuple[Tensor, Tensor]:
        """256 separate sequences."""
        return self._draw(seeded(HELDOUT), HELDOUT)

    def _draw(self, generator: torch.Generator, size: int) -> tuple[Tensor, Tensor]:
        shape = (self.recall, size)
        symbols = torch.randint(BLANK + 1, SYMBOLS + 1, shape, generator=generator)
        x = torch.full((self.length + 2 * self.recall, size), BLANK)
        y = x.clone()
        x[: self.recall] = y[-self.recall :] = symbols
        x[self.length + self.recall] = SYMBOLS + 1
        return one_hot(x, self.inputs).float(), y

    def loss(self, answer: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of all steps."""
        return cross_entropy(answer.flatten(0, 1), target.flatten())

    def accuracy(self, answer: Tensor, target: Tensor) -> Tensor:
        """The share of right symbols at the end."""
        right = answer[-self.recall :].argmax(-1) == target[-self.recall :]
        return right.float().mean()


@problem(
    kernel(),
    title="Copying memory",
    reference="rnn-copy",
    name="rnn-copy",
    steps=800,
    grids=grids(3e-3),
    presets={
        "small": {},
        "published": {
            "length": 1000, "hidden": 190, "batch": 128, "steps": 4000, "grids": grids(2e-4),
        },
    },
    **SHARED,
)  # fmt: skip
def copying(
    generator: torch.Generator,
    length: int = 200,
    recall: int = 10,
    hidden: int = 128,
    batch: int = 64,
    init: str = "henaff",
) -> Instance:
    """Copying memory: K symbols of 8, L blanks, and the same symbols again.

    The preset "published" has the sizes of Lezcano-Casado & Martinez-Rubio 2019.

    Example:
        >>> copying.configured(length=20, recall=2).probe.title
        'Copying memory, K = 2, L = 20'
    """
    seed = generator.initial_seed()
    return sequence_instance(Copying(length, recall), seed, hidden, batch, init)
