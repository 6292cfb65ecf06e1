r"""
A small transformer, by several optimizers
==========================================

A character-level transformer reads the manual of Python, which every Python ships with
(``pydoc_data``). Its matrices are trained as they are, by AdamW and by Muon, and on two manifolds:
orthonormal columns or rows (Stiefel), and a fixed Frobenius norm (a sphere). Embeddings and the
head are trained by AdamW in all cases.

The script asks two questions at two widths. How low is the loss after a given number of steps? Does
the best learning rate of a narrow network also fit a wide one? Under the rule of *maximal update*
(muP) the rate of a matrix falls with the width, and then one rate of AdamW fits both. A comparison
without this rule would credit the constraint with an effect of scale.
"""

import argparse
from collections.abc import Callable
from pydoc_data import topics
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, rms_norm, scaled_dot_product_attention

import torchmanifold as tm

# %%
# The text: the topics of Python's manual. The last twentieth is held out.

TEXT = "\n".join(topics.topics[name] for name in sorted(topics.topics))
ALPHABET = sorted(set(TEXT))
CODES = torch.tensor([ALPHABET.index(character) for character in TEXT])
TRAIN, HELD_OUT = CODES[: -len(CODES) // 20], CODES[-len(CODES) // 20 :]
CONTEXT = 64


def batch(seed: int, step: int, size: int = 16) -> tuple[Tensor, Tensor]:
    """Characters and their successors, (size, CONTEXT) each, the same for every method."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + step)
    return _windows(TRAIN, torch.randint(len(TRAIN) - CONTEXT, (size,), generator=generator))


def held_out(size: int = 128) -> tuple[Tensor, Tensor]:
    """Sequences of the held-out part."""
    return _windows(HELD_OUT, torch.linspace(0, len(HELD_OUT) - CONTEXT - 1, size).long())


def _windows(text: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    places = first[:, None] + torch.arange(CONTEXT + 1)
    return text[places[:, :-1]], text[places[:, 1:]]


# %%
# The network. A gain multiplies each matrix. It is 1 for ordinary weights. A matrix with
# orthonormal columns keeps the length of a vector; with the gain :math:`\sqrt{n_{out} / n_{in}}` it
# keeps the size of an entry, whatever the shape.


class Matrix(nn.Linear):
    gain = 1.0

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        nn.init.normal_(self.weight, std=inputs**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * super().forward(x)


class Block(nn.Module):
    def __init__(self, width: int, head: int = 16) -> None:
        super().__init__()
        self.heads = width // head
        self.query, self.key, self.value, self.out = (Matrix(width, width) for _ in range(4))
        self.up, self.down = Matrix(width, 4 * width), Matrix(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = rms_norm(x, x.shape[-1:])
        q, k, v = (
            matrix(y).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for matrix in (self.query, self.key, self.value)
        )
        attended = scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.down(self.up(rms_norm(x, x.shape[-1:])).relu())


class Transformer(nn.Module):
    def __init__(self, width: int, blocks: int = 2) -> None:
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(len(ALPHABET), width)
        self.position = nn.Parameter(torch.randn(CONTEXT, width))
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        self.head = nn.Linear(width, len(ALPHABET), bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, characters: Tensor) -> Tensor:
        x = self.blocks(self.embedding(characters) + self.position)
        return self.head(rms_norm(x, x.shape[-1:]))

    def matrices(self) -> list[Matrix]:
        return [module for module in self.modules() if isinstance(module, Matrix)]


def loss(model: nn.Module, characters: Tensor, successors: Tensor) -> Tensor:
    """The mean cross-entropy, in nats a character."""
    return cross_entropy(model(characters).flatten(0, 1), successors.flatten())


# %%
# The methods. Each takes a network and a rate, constrains the matrices if it has a constraint, and
# returns the optimizers that move the network. Plain AdamW has one rate for all weights. In all
# other methods the rate of the head falls with the width, that of the embeddings is fixed, and the
# grid varies the rate of the matrices.

BASE, OTHERS = 32, 1e-2  # the width at which muP changes nothing; the rate of embeddings and head

Method = Callable[[Transformer, float], list[torch.optim.Optimizer]]


def _others(model: Transformer, lr: float = OTHERS) -> list[dict]:
    ends = [model.embedding.weight, model.position]
    return [
        {"params": ends, "lr": lr},
        {"params": [model.head.weight], "lr": lr * BASE / model.width},
    ]


def _weights(model: Transformer) -> list[Tensor]:
    return [matrix.weight for matrix in model.matrices()]


def adamw(model: Transformer, lr: float) -> list[torch.optim.Optimizer]:
    return [torch.optim.AdamW(model.parameters(), lr)]


def adamw_mup(model: Transformer, lr: float) -> list[torch.optim.Optimizer]:
    matrices = {"params": _weights(model), "lr": lr * BASE / model.width}
    return [torch.optim.AdamW([matrices, *_others(model)])]


def muon(model: Transformer, lr: float) -> list[torch.optim.Optimizer]:
    muon = torch.optim.Muon(
        _weights(model), lr, weight_decay=0
    )  # its scale: sqrt(max(1, out / in))
    return [muon, torch.optim.AdamW(_others(model))]


def _on_stiefel(model: Transformer) -> None:
    for matrix in model.matrices():
        tm.constrain(matrix, "weight", tm.Stiefel(), how="riemannian")
        matrix.gain = (matrix.out_features / matrix.in_features) ** 0.5


def stiefel_sgd(model: Transformer, lr: float) -> list[torch.optim.Optimizer]:
    _on_stiefel(model)
    steps = tm.optim.RiemannianSGD(_weights(model), lr, momentum=0.9)
    return [steps, torch.optim.AdamW(_others(model))]


def stiefel_adam(model: Transformer, lr: float) -> list[torch.optim.Optimizer]:
    _on_stiefel(model)
    return [tm.optim.RiemannianAdam(_weights(model), lr), torch.optim.AdamW(_others(model))]


def stiefel_muon(model: Transformer, lr: float) -> list[torch.optim.Optimizer]:
    _on_stiefel(model)
    return [tm.optim.RiemannianMuon(_weights(model), lr), torch.optim.AdamW(_others(model))]


def sphere_adam(model: Transformer, lr: float) -> list[torch.optim.Optimizer]:
    for matrix in model.matrices():
        sphere = tm.Scaled(tm.Flattened(tm.Sphere(), 2), matrix.out_features**0.5)
        tm.constrain(matrix, "weight", sphere, how="riemannian")
    return [tm.optim.RiemannianAdam(_weights(model), lr), torch.optim.AdamW(_others(model))]


#: Each method with the rates of its grid.
METHODS: dict[str, tuple[Method, tuple[float, ...]]] = {
    "AdamW": (adamw, (1e-3, 3e-3, 1e-2, 3e-2)),
    "AdamW, muP": (adamw_mup, (1e-3, 3e-3, 1e-2, 3e-2)),
    "Muon": (muon, (0.01, 0.03, 0.1, 0.3)),
    "Stiefel, SGD": (stiefel_sgd, (0.3, 1.0, 3.0, 10.0)),
    "Stiefel, Adam": (stiefel_adam, (0.03, 0.1, 0.3, 1.0)),
    "Stiefel, Muon": (stiefel_muon, (0.01, 0.03, 0.1, 0.3)),
    "sphere, Adam": (sphere_adam, (0.03, 0.1, 0.3, 1.0)),
}


# %%
# A run: the rate falls linearly to zero.


def train(name: str, lr: float, width: int, steps: int, seed: int = 0) -> dict[str, float]:
    """Train; the held-out loss, the largest residual, and milliseconds a step."""
    torch.manual_seed(seed)
    model = Transformer(width)
    optimizers = METHODS[name][0](model, lr)
    schedules = [
        torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps) for optimizer in optimizers
    ]
    began = perf_counter()
    for step in range(steps):
        value = loss(model, *batch(seed, step))
        model.zero_grad()
        value.backward()
        for part in (*optimizers, *schedules):
            part.step()
    seconds = perf_counter() - began
    with torch.no_grad():
        final = float(loss(model, *held_out()))
    residual = max((float(row.residual) for row in tm.report(model)), default=0.0)
    return {"loss": final, "residual": residual, "milliseconds": 1e3 * seconds / steps}


def main(
    steps: int = 40, widths: tuple[int, ...] = (32, 64), seeds: int = 1, grid: bool = False
) -> dict[tuple[str, int, float], dict[str, float]]:
    """Train with every method at every width, by one rate or a grid of them."""
    found = {}
    for name, (_, rates) in METHODS.items():
        for width in widths:
            for lr in rates if grid else rates[1:2]:
                runs = [train(name, lr, width, steps, seed) for seed in range(seeds)]
                mean = {key: sum(run[key] for run in runs) / seeds for key in runs[0]}
                found[name, width, lr] = mean
                print(
                    f"{name:14} width {width:3}  rate {lr:<6g} loss {mean['loss']:.3f}  "
                    f"residual {mean['residual']:.0e}  {mean['milliseconds']:.1f} ms a step",
                    flush=True,
                )
    return found


# %%
# What ``python examples/transformer.py --grid --steps 300 --widths 32 96 --seeds 2`` gave on Python
# 3.11: the held-out loss at the best of four rates, and that rate. Two seeds differ by up
# to 0.05, but those of AdamW at width 96 by 0.1.
#
# ================ ============= ============ ============= ============
# method           width 32      its rate     width 96      its rate
# ================ ============= ============ ============= ============
# AdamW            2.138         0.03         1.991         0.01
# AdamW, muP       2.179         0.01         2.077         0.01
# Muon             2.077         0.03         1.730         0.03
# Stiefel, SGD     2.180         3            2.047         3
# Stiefel, Adam    2.170         1            2.029         1
# Stiefel, Muon    2.154         0.03         1.854         0.1
# sphere, Adam     2.196         0.3          2.117         0.3
# ================ ============= ============ ============= ============
#
# Steps of fixed spectral norm help: Muon is the best on ordinary matrices and on Stiefel, and the
# wider network gains more from it. The constraint does not help. It costs Muon 0.08 and 0.12; a
# trained gain wins a third of the first loss back (2.129 at width 32, one seed). SGD and Adam on
# Stiefel end near AdamW with and without muP, and the sphere is a little above them.
#
# Under muP, Muon and the constraints the best rate at width 32 is also the best at width 96. Muon
# on Stiefel is an exception, and loses 0.07 with that rate. Plain AdamW loses 0.32. So the rule of
# scale is enough to carry a rate from one width to another. A constraint needs another reason, such
# as a bound on the effect of a layer on its input. A run of 300 steps on one text is not a language
# model.

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--grid", action="store_true", help="four rates a method")
    options = parser.parse_args()
    main(options.steps, tuple(options.widths), options.seeds, options.grid)
