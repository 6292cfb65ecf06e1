"""A small transformer that reads characters, with matrices on Stiefel."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, rms_norm, scaled_dot_product_attention

from torchmanifold.manifolds import Manifold, Stiefel, Transposed
from torchmanifold.optim.compare.instance import Instance, Panel
from torchmanifold.optim.compare.problem import problem
from torchmanifold.optim.compare.problems.sequences import seeded
from torchmanifold.optim.compare.problems.text import characters, windows
from torchmanifold.weights import report

__all__ = ["Matrix", "Transformer", "transformer"]

BLOCKS, HEAD, EXPANSION = 2, 16, 4
PROBE = 128  # held-out sequences


class Matrix(nn.Linear):
    """A linear layer without bias, whose matrix is multiplied by a fixed gain.

    The first matrix has orthonormal columns or rows. With the gain `sqrt(outputs / inputs)` it
    keeps the size of an entry, whatever its shape.

    Args:
        inputs: the number of inputs.
        outputs: the number of outputs.
        generator: draws the matrix.

    Example:
        >>> layer = Matrix(4, 16, torch.Generator().manual_seed(0))
        >>> x = torch.ones(1, 4)
        >>> torch.allclose(layer(x).square().mean(), x.square().mean())
        True
    """

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.gain = math.sqrt(outputs / inputs)
        self.weight.data = self.manifold.random(outputs, inputs, generator=generator)

    @property
    def manifold(self) -> Manifold:
        """Orthonormal columns, or rows if there are more columns than rows."""
        return _stiefel(self.in_features, self.out_features)

    def fold(self) -> None:
        """Multiply the gain into the matrix, which leaves the layer's output as it is."""
        self.weight.data *= self.gain
        self.gain = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """`gain W x`."""
        return self.gain * super().forward(x)


def _stiefel(inputs: int, outputs: int) -> Manifold:
    return Stiefel() if outputs >= inputs else Transposed(Stiefel())


class Block(nn.Module):
    """Attention and two layers with ReLU, each beside the identity.

    Args:
        width: size of the state, a multiple of 16.
        generator: draws the matrices.
    """

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.heads = width // HEAD
        for name, (outputs, inputs) in SHAPES.items():
            setattr(self, name, Matrix(inputs * width, outputs * width, generator))

    def forward(self, x: Tensor) -> Tensor:
        """States `(batch, length, width)`."""
        y = rms_norm(x, x.shape[-1:])
        q, k, v = (
            matrix(y).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for matrix in (self.query, self.key, self.value)
        )
        attended = scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.down(self.up(rms_norm(x, x.shape[-1:])).relu())


#: the matrices of a block, with outputs and inputs in units of the width
SHAPES: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(("query", "key", "value", "out"), (1, 1)),
    "up": (EXPANSION, 1),
    "down": (1, EXPANSION),
}

MANIFOLDS = {
    f"blocks.{block}.{name}.weight": _stiefel(inputs, outputs)
    for block in range(BLOCKS)
    for name, (outputs, inputs) in SHAPES.items()
}


class Transformer(nn.Module):
    """Two blocks between an embedding with positions and a head, which begins at zero.

    Args:
        alphabet: the number of characters.
        length: the longest sequence.
        width: size of the state, a multiple of 16.
        generator: draws the weights.
    """

    def __init__(self, alphabet: int, length: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(alphabet, width)
        self.position = nn.Parameter(torch.empty(length, width))
        for weight in (self.embedding.weight, self.position):
            nn.init.normal_(weight, generator=generator)
        self.blocks = nn.Sequential(*(Block(width, generator) for _ in range(BLOCKS)))
        self.head = nn.Linear(width, alphabet, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, text: Tensor) -> Tensor:
        """Scores `(batch, length, alphabet)` of the next characters."""
        x = self.blocks(self.embedding(text) + self.position)
        return self.head(rms_norm(x, x.shape[-1:]))

    def matrices(self) -> list[Matrix]:
        """The matrices of all blocks."""
        return [module for module in self.modules() if isinstance(module, Matrix)]


@problem(
    MANIFOLDS,
    title="Character-level transformer",
    reference="transformer",
    optional=True,
    dtypes=("float32",),
    spacing="linear",
    steps=300,
    methods=(
        *("lm-adamw", "lm-adamw-mup", "lm-muon"),
        *("lm-stiefel-adam", "lm-stiefel-muon", "lm-sphere-adam"),
    ),
)
def transformer(
    generator: torch.Generator, width: int = 32, length: int = 64, batch: int = 16
) -> Instance:
    r"""Predict the next character of the manual of Python, which every Python ships with.

    The matrices of all blocks have orthonormal columns or rows, and a fixed gain. Every method
    begins with the same function. The loss is the mean cross-entropy in nats, recorded on sequences
    of the last twentieth of the text. Several widths in one comparison show whether the best
    learning rate of a narrow network fits a wide one: `--width 32,96`.

    Source: Vaswani et al. 2017; Yang et al., Tensor Programs V, 2022, for rates that transfer
    between widths.

    Example:
        >>> x, y = transformer.probe.batch(0)
        >>> x.shape, bool((x[:, 1:] == y[:, :-1]).all())
        (torch.Size([16, 64]), True)
    """
    if width < HEAD or width % HEAD:
        raise ValueError(f"width must be a multiple of {HEAD}, the size of a head; got {width}")
    for name, value in (("length", length), ("batch", batch)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    train, unseen, alphabet = characters()
    if length >= len(unseen):
        raise ValueError(f"length must be below {len(unseen)}, the held-out text; got {length}")
    seed = generator.initial_seed()
    heldout = windows(unseen, torch.linspace(0, len(unseen) - length - 1, PROBE).long(), length)

    def draw(step: int) -> tuple[Tensor, Tensor]:
        places = torch.randint(len(train) - length, (batch,), generator=seeded(seed, step))
        return windows(train, places, length)

    def loss(model: nn.Module, text: Tensor, successors: Tensor) -> Tensor:
        return cross_entropy(model(text).flatten(0, 1), successors.flatten())

    def measure(model: Transformer) -> dict[str, float]:
        x, y = (part.to(model.position.device) for part in heldout)
        answer = model(x)
        values = {
            "loss": float(cross_entropy(answer.flatten(0, 1), y.flatten())),
            "accuracy": float((answer.argmax(-1) == y).float().mean()),
        }
        if kept := [float(row.residual) for row in report(model)]:
            values["residual"] = max(kept)  # on the set of the method, which may be another one
        return values

    chance = math.log(alphabet)
    return Instance(
        loss=loss,
        initial=Transformer(alphabet, length, width, generator),
        batch=draw,
        measure=measure,
        title=f"Character-level transformer of width {width}",
        panels=_panels(chance),
    )


def _panels(chance: float) -> tuple[Panel, ...]:
    step, label, levels = "training step", "held-out loss (nats)", ((chance, "a guess"),)
    return (
        Panel("loss", label, x_label=step, log_x=False, log=False, levels=levels),
        Panel("loss", label, "seconds", "seconds of steps", log_x=False, log=False, levels=levels),
        Panel("accuracy", "held-out accuracy", x_label=step, log=False, log_x=False),
        Panel("residual", "largest residual", x_label=step, log_x=False),
    )
