"""Images read pixel by pixel: the digits of MNIST, or the small ones of scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, cross_entropy

from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.problem import problem
from torchmanifold.optim.compare.problems import datasets
from torchmanifold.optim.compare.problems.mnist import download as download_mnist
from torchmanifold.optim.compare.problems.mnist import read_mnist
from torchmanifold.optim.compare.problems.sequences import (
    RECORDS,
    SHARED,
    grids,
    kernel,
    seeded,
    sequence_instance,
)

__all__ = ["Pixels", "pixels"]

CLASSES, PERMUTATION = 10, 92916
ENTROPY = 2.302585  # ln 10


@dataclass(frozen=True)
class Pixels:
    """The class of an image, read one pixel a step, row by row or in a fixed random order.

    Args:
        data: folder with the IDX files of MNIST; None for the 1797 digits of scikit-learn, 8 x 8,
            a quarter of which, stratified, are for testing.
        permuted: whether the order of the pixels is random; it is the same for all images.
        pool: side of the squares that are averaged first; 2 turns 28 x 28 into 14 x 14 pixels.

    Raises:
        ValueError: if the folder lacks the data, or `pool` does not divide the side of the images.

    Source: Le, Jaitly & Hinton, A simple way to initialize recurrent networks of rectified
    linear units, 2015.

    Example:
        >>> x, y = Pixels().batch(seed=0, step=0, size=3)
        >>> x.shape, y.shape
        (torch.Size([64, 3, 1]), torch.Size([3]))
    """

    data: Path | None = None
    permuted: bool = False
    pool: int = 1

    name: ClassVar[str] = "rnn-mnist"
    inputs: ClassVar[int] = 1
    outputs: ClassVar[int] = CLASSES
    every: ClassVar[bool] = False
    baseline: ClassVar[float] = ENTROPY

    def __post_init__(self) -> None:
        """Read the data, so that errors are raised here."""
        _sequences(self)

    @property
    def title(self) -> str:
        """Heading in figures, with the split."""
        (x, _), _, split = _sequences(self)
        order = "permuted pixels" if self.permuted else "pixel by pixel"
        return f"{split}, {order}, {len(x)} steps"

    def epoch(self, size: int) -> int:
        """Steps of an epoch; the images beyond the last whole batch are left out.

        Raises:
            ValueError: if a batch has more images than there are.
        """
        (_, y), _, _ = _sequences(self)
        if size > len(y):
            raise ValueError(f"batch must be at most {len(y)}, the training images; got {size}")
        return len(y) // size

    def batch(self, seed: int, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Inputs `(pixels, size, 1)` and labels `(size,)` of shuffled epochs."""
        (x, y), _, _ = _sequences(self)
        epoch, place = divmod(step, self.epoch(size))
        order = torch.randperm(len(y), generator=seeded(seed, epoch))
        chosen = order[place * size : (place + 1) * size]
        return x[:, chosen], y[chosen]

    def heldout(self) -> tuple[Tensor, Tensor]:
        """The test split."""
        return _sequences(self)[1]

    def loss(self, answer: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy."""
        return cross_entropy(answer, target)

    def accuracy(self, answer: Tensor, target: Tensor) -> Tensor:
        """The share of images with the right class."""
        return (answer.argmax(-1) == target).float().mean()


@cache
def _sequences(task: Pixels) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], str]:
    """Training and test sequences `(pixels, m, 1)` with their labels, and the split in words."""
    if task.data is None:
        train, test, split = _small_digits()
    else:
        train, test, split = read_mnist(task.data)
    sides = train[0].shape[1:]
    if task.pool < 1 or any(side % task.pool for side in sides):
        raise ValueError(
            f"pool must divide the side of the images, {sides[0]} x {sides[1]}; got {task.pool}"
        )
    first, second = (
        (_as_sequences(images, task), labels.long()) for images, labels in (train, test)
    )
    return first, second, split


def _small_digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], str]:
    digits = datasets.digits()
    parts = datasets.split(
        digits.images, digits.target, test_size=0.25, random_state=0, stratify=digits.target
    )
    x, unseen, y, labels = map(torch.from_numpy, parts)
    # From 0 ... 16 to the range of MNIST.
    scaled = [(images * (255 / 16)).float() for images in (x, unseen)]
    split = f"Digits of scikit-learn, {len(y)} train / {len(labels)} test"
    return (scaled[0], y), (scaled[1], labels), split


def _as_sequences(images: Tensor, task: Pixels) -> Tensor:
    rows = avg_pool2d(images.float().div(255).unsqueeze(1), task.pool).flatten(1)
    if task.permuted:
        rows = rows[:, torch.randperm(rows.shape[1], generator=seeded(PERMUTATION))]
    return rows.T.unsqueeze(-1).contiguous()


def _published(hidden: int, lr: float, permuted: bool) -> dict[str, Any]:
    sizes = {"hidden": hidden, "batch": 128, "epochs": 70, "permuted": permuted}
    return {**sizes, "grids": grids(lr)}


@problem(
    kernel(),
    title="Images pixel by pixel",
    reference="rnn-mnist",
    name="rnn-mnist",
    grids=grids(1e-3),
    # Lezcano-Casado & Martinez-Rubio 2019, and the README of their code; RMSprop for all.
    presets={
        "small": {},
        "published-170": _published(170, 7e-4, False),
        "published-360": _published(360, 5e-4, False),
        "published-512": _published(512, 3e-4, False),
        "published-permuted-170": _published(170, 1e-3, True),
        "published-permuted-360": _published(360, 7e-4, True),
        "published-permuted-512": _published(512, 5e-4, True),
    },
    **SHARED,
)
def pixels(
    generator: torch.Generator,
    data: str | None = None,
    download: bool = False,
    permuted: bool = False,
    pool: int = 1,
    epochs: int = 20,
    hidden: int = 128,
    batch: int = 64,
    init: str = "cayley",
) -> Instance:
    """Digits, read one pixel a step.

    Without `data` they are the 1797 digits of scikit-learn, 8 x 8. If a folder has only the 10,000
    test images of MNIST, they are divided: 8,000 for training and 2,000 for testing.

    Raises:
        ValueError: for `download` without `data`, missing data, or less than one epoch.

    Example:
        >>> pixels.probe.title
        'Digits of scikit-learn, 1347 train / 450 test, pixel by pixel, 64 steps'
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    if download and data is None:
        raise ValueError("download needs data, the folder to put the files into")
    folder = None if data is None else Path(data)
    if download and folder is not None:
        download_mnist(folder)
    task = Pixels(folder, permuted, pool)
    epoch = task.epoch(batch)
    record = max(1, epochs // RECORDS) * epoch
    seed = generator.initial_seed()
    return sequence_instance(task, seed, hidden, batch, init, steps=epochs * epoch, record=record)
