"""Digits read pixel by pixel by a recurrent network whose kernel is a rotation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import ClassVar

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from torchmanifold.manifolds import Manifold, SpecialOrthogonal

__all__ = ["PixelRNN", "SequenceClassification", "digits_rnn"]

HIDDEN, CLASSES, BATCH, PROBE = 64, 10, 64, 256


class PixelRNN(nn.Module):
    """`nn.RNN` over one pixel a step, and a linear layer on its last state."""

    def __init__(self, hidden: int, classes: int) -> None:
        super().__init__()
        self.rnn = nn.RNN(1, hidden, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Class scores `(batch, classes)` of sequences `(batch, steps, 1)`."""
        _, last = self.rnn(pixels)
        return self.head(last[-1])


@dataclass(frozen=True)
class SequenceClassification:
    """Minimize the cross-entropy of a recurrent network with a constrained recurrent kernel.

    Args:
        name: name on the command line.
        title: heading in figures.
        manifold: where the kernel lies.
        train: sequences `(m, steps, 1)` and labels `(m,)`.
        test: the same, held out.
    """

    name: str
    title: str
    manifold: Manifold
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    exact: ClassVar[float] = 0.0
    optimum: ClassVar[str] = "0, a lower bound of the cross-entropy"
    weight: ClassVar[str] = "rnn.weight_hh_l0"
    optional: ClassVar[bool] = True
    dtypes: ClassVar[tuple[str, ...]] = ("float32",)

    def to(self, dtype: torch.dtype, device: torch.device | str) -> SequenceClassification:
        """The same problem with its sequences in another precision or place."""
        train, test = ((x.to(device, dtype), y.to(device)) for x, y in (self.train, self.test))
        return dataclasses.replace(self, train=train, test=test)

    def model(self, generator: torch.Generator) -> PixelRNN:
        """The network with PyTorch's default weights, but for the kernel: a random rotation."""
        model = PixelRNN(HIDDEN, CLASSES).double()
        bound = 1 / math.sqrt(HIDDEN)
        for parameter in model.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        kernel = self.manifold.random(HIDDEN, HIDDEN, generator=generator, dtype=torch.float64)
        model.rnn.weight_hh_l0.data.copy_(kernel)
        return model.to(self.train[0])

    def objectives(
        self, model: nn.Module, generator: torch.Generator
    ) -> Iterator[Callable[[], Tensor]]:
        """The cross-entropy of batches of 64 from reshuffled epochs."""
        x, y = self.train
        while True:
            order = torch.randperm(len(x), generator=generator).to(x.device)
            for batch in order.split(BATCH)[:-1]:
                yield lambda batch=batch: cross_entropy(model(x[batch]), y[batch])

    def measure(self, model: nn.Module) -> dict[str, float]:
        """Loss and kernel gradient on the first 256 training sequences; accuracy on the test split.

        Evaluated in a plain copy of the network, in the network's precision: this loss does not
        come near its rounding.
        """
        like = model.head.weight
        plain = PixelRNN(HIDDEN, CLASSES).to(like)
        for name, parameter in plain.named_parameters():
            parameter.data.copy_(attrgetter(name)(model))
        kernel = plain.rnn.weight_hh_l0
        x, y = (tensor[:PROBE] for tensor in self.train)
        loss = cross_entropy(plain(x.to(like)), y)
        (egrad,) = torch.autograd.grad(loss, kernel)
        unseen, labels = self.test
        with torch.no_grad():
            accuracy = (plain(unseen.to(like)).argmax(-1) == labels).double().mean()
            gradient = self.manifold.gradient(kernel, egrad)
            values = {
                "loss": loss.detach(),
                "gap": loss.detach() - self.exact,
                "gradient_norm": self.manifold.norm(kernel, gradient),
                "residual": self.manifold.residual(model.rnn.weight_hh_l0.detach()),
                "accuracy": accuracy,
            }
        return {name: float(value) for name, value in values.items()}


def digits_rnn() -> SequenceClassification:
    r"""Classify the digits of scikit-learn from their 64 pixels, read one at a time.

    A tanh network with 64 hidden units, whose recurrent kernel is a rotation; three quarters of
    the 1797 digits are for training, in a fixed stratified split. There is no exact solution: the
    gap is the cross-entropy itself. Every method starts at the same network, the unconstrained
    one too.

    Source: Le, Jaitly & Hinton 2015 (pixel by pixel); Arjovsky, Shah & Bengio 2016 (orthogonal
    kernels).

    Example:
        >>> problem = digits_rnn()
        >>> problem.train[0].shape, problem.test[0].shape
        (torch.Size([1347, 64, 1]), torch.Size([450, 64, 1]))
    """
    digits = load_digits()
    x, unseen, y, labels = train_test_split(
        digits.data[..., None] / digits.data.max(),
        digits.target,
        test_size=0.25,
        random_state=0,
        stratify=digits.target,
    )
    return SequenceClassification(
        name="digits-rnn",
        title="Digits pixel by pixel, RNN with kernel in SO(64)",
        manifold=SpecialOrthogonal(),
        train=(torch.from_numpy(x), torch.from_numpy(y)),
        test=(torch.from_numpy(unseen), torch.from_numpy(labels)),
    )
