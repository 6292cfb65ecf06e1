"""Digits read pixel by pixel by a recurrent network whose kernel is a rotation."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from torchmanifold.manifolds import SpecialOrthogonal
from torchmanifold.optim.compare.instance import Instance, Panel
from torchmanifold.optim.compare.problem import problem
from torchmanifold.optim.compare.problems import datasets
from torchmanifold.optim.compare.problems.sequences import seeded

__all__ = ["PixelRNN", "digits_rnn"]

HIDDEN, CLASSES, BATCH, PROBE = 64, 10, 64, 256
LOSS = "training loss (nats)"


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


@cache
def _digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sequences and labels for training, then held-out ones."""
    digits = datasets.digits()
    x, unseen, y, labels = datasets.split(
        digits.data[..., None] / digits.data.max(),
        digits.target,
        test_size=0.25,
        random_state=0,
        stratify=digits.target,
    )
    x, unseen = torch.from_numpy(x).float(), torch.from_numpy(unseen).float()
    return x, torch.from_numpy(y), unseen, torch.from_numpy(labels)


def _network(generator: torch.Generator) -> PixelRNN:
    """PyTorch's initial values, except that the kernel is a random rotation."""
    model = PixelRNN(HIDDEN, CLASSES)
    bound = 1 / math.sqrt(HIDDEN)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    model.rnn.weight_hh_l0.data = SpecialOrthogonal().random(HIDDEN, HIDDEN, generator=generator)
    return model


@problem(
    {"rnn.weight_hh_l0": SpecialOrthogonal()},
    title="Digits pixel by pixel, RNN with kernel in SO(64)",
    optimum="0, a lower bound of the cross-entropy",
    reference="digits-rnn",
    optional=True,
    dtypes=("float32",),
)
def digits_rnn(generator: torch.Generator) -> Instance:
    r"""Classify the digits of scikit-learn from their 64 pixels, read one at a time.

    The network has tanh and 64 hidden units, and its recurrent kernel is a rotation. Three quarters
    of the 1797 digits are for training, in a fixed stratified split. There is no exact solution, so
    the gap is the cross-entropy itself. Every method begins with the same network, also without the
    constraint. Loss and accuracy are recorded on 256 training sequences and on the test split.

    Source: Le, Jaitly & Hinton 2015 (pixel by pixel); Arjovsky, Shah & Bengio 2016 (orthogonal
    kernels).

    Example:
        >>> x, y = digits_rnn.probe.batch(0)
        >>> x.shape, y.shape
        (torch.Size([64, 64, 1]), torch.Size([64]))
    """
    x, y, unseen, labels = _digits()
    seed, epoch = generator.initial_seed(), len(x) // BATCH

    def batch(step: int) -> tuple[Tensor, Tensor]:
        number, place = divmod(step, epoch)
        order = torch.randperm(len(x), generator=seeded(seed, number))
        chosen = order[place * BATCH : (place + 1) * BATCH]
        return x[chosen], y[chosen]

    def loss(model: nn.Module, pixels: Tensor, classes: Tensor) -> Tensor:
        return cross_entropy(model(pixels), classes)

    def measure(model: PixelRNN) -> dict[str, float]:
        device = model.head.weight.device
        answers = model(unseen.to(device)).argmax(-1)
        return {
            "loss": float(loss(model, x[:PROBE].to(device), y[:PROBE].to(device))),
            "accuracy": float((answers == labels.to(device)).double().mean()),
        }

    return Instance(
        loss=loss,
        initial=_network(generator),
        exact=0.0,
        batch=batch,
        measure=measure,
        panels=(
            Panel("loss", LOSS),
            Panel("loss", LOSS, "seconds", "seconds of steps"),
            Panel("residual", "residual"),
            Panel("accuracy", "test accuracy", log=False),
        ),
    )
