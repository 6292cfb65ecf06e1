r"""
Tracking the state of a group
=============================

A sequence of moves shuffles four cups. Where is each cup now? Every move is a permutation, and the
state is the product of all moves so far. The order of the moves matters, so no sum or average of
them gives the answer.

A linear recurrence :math:`h_t = a(x_t) h_{t-1} + b(x_t)` with positive numbers :math:`a` forgets:
it cannot even count modulo two. Now let :math:`a` be an orthogonal matrix, the product of four
reflections that the move chooses. This recurrence learns the multiplication of the group from
sequences of at most 24 moves, and stays right on sequences several times as long.
"""

from itertools import permutations

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

import torchmanifold as tm

# %%
# The 24 permutations of four cups, and the table of their products.

CUPS = 4
MOVES = list(permutations(range(CUPS)))
TABLE = torch.tensor(
    [[MOVES.index(tuple(a[b[cup]] for cup in range(CUPS))) for b in MOVES] for a in MOVES]
)


def shuffles(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Moves, and the permutation that all moves so far make; both (length, batch)."""
    moves = torch.randint(len(MOVES), (length, batch), generator=generator)
    state = torch.zeros(batch, dtype=torch.long)
    states = []
    for move in moves:
        state = TABLE[move, state]
        states.append(state)
    return moves, torch.stack(states)


# %%
# Three networks that differ in one layer: a diagonal linear recurrence, an LSTM, and ours.


class Diagonal(nn.Module):
    """`h_t = a(x_t) h_{t-1} + b(x_t)`, entry by entry, with `a` between 0 and 1."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(size, size), nn.Linear(size, size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """All states, and the last."""
        h, states = torch.zeros_like(x[0]), []
        for a, b in zip(torch.sigmoid(self.a(x)), self.b(x), strict=True):
            h = a * h + b
            states.append(h)
        return torch.stack(states), h


WIDTH = 32
LAYERS = {
    "diagonal": lambda: Diagonal(WIDTH),
    "LSTM": lambda: nn.LSTM(WIDTH, WIDTH),
    "orthogonal": lambda: tm.nn.OrthogonalRecurrence(
        WIDTH, WIDTH, heads=4, reflections=4, additive=False
    ),
}


class Tracker(nn.Module):
    """An embedding of moves, a recurrent layer, and scores of the permutations."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(MOVES), WIDTH)
        self.layer = layer
        self.scores = nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, len(MOVES)))

    def forward(self, moves: Tensor) -> Tensor:
        """The scores after every move."""
        return self.scores(self.layer(self.embedding(moves))[0])


# %%
# Training begins with short sequences: a network that can multiply two moves needs little more
# training for twenty.


def train(tracker: Tracker, steps: int, longest: int) -> float:
    """Train with Adam; the last loss."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(tracker.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        length = min(longest, 2 + longest * step // (steps // 2))
        moves, states = shuffles(64, length, generator)
        loss = nn.functional.cross_entropy(tracker(moves).flatten(0, 1), states.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return loss.item()


@torch.no_grad()
def accuracies(tracker: Tracker, length: int) -> Tensor:
    """The share of right answers after each move of longer sequences."""
    moves, states = shuffles(256, length, torch.Generator().manual_seed(1))
    return (tracker(moves).argmax(-1) == states).float().mean(1)


# %%
# The picture: right answers after each move, up to twenty times the length of training.

COLORS = {"diagonal": "#999999", "LSTM": "#E69F00", "orthogonal": "#0072B2"}


def draw(right: dict[str, Tensor], longest: int) -> None:
    """The share of right answers against the moves made."""
    _, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for name, shares in right.items():
        style = "--" if name == "LSTM" else "-"
        moves = torch.arange(1, len(shares) + 1)
        axes.plot(moves, shares, style, color=COLORS[name], label=name)
    axes.axvline(longest, color="black", lw=0.8, ls=":")
    axes.annotate("longest in training", (longest, 0.5), (1.15 * longest, 0.5), fontsize=9)
    axes.axhline(1 / len(MOVES), color="black", lw=0.8)
    axes.annotate("chance", (1.1, 1 / len(MOVES) + 0.02), fontsize=9)
    axes.set(xscale="log", xlabel="moves", ylabel="share of right answers", ylim=(0, 1.05))
    axes.set_title("Where are the cups?")
    axes.legend(loc="center right")


def main(steps: int = 500, longest: int = 24) -> dict[str, Tensor]:
    """Train the three, draw, and return their accuracies after each move."""
    right = {}
    for name, layer in LAYERS.items():
        torch.manual_seed(0)
        tracker = Tracker(layer())
        loss = train(tracker, steps, longest)
        right[name] = shares = accuracies(tracker, 20 * longest)
        told = ", ".join(
            f"{float(shares[n * longest - 1]):6.1%} after {n * longest}" for n in (1, 4, 20)
        )
        print(f"{name:10}  loss {loss:.1e}   right: {told}")
    draw(right, longest)
    return right


# %%
# After the same number of training steps the LSTM has hardly begun to learn; after five times as
# many it is right a quarter of the time. The state of the orthogonal recurrence neither decays nor
# grows. Small errors of its transitions add up over hundreds of moves, and more training makes them
# smaller.
#
# The recurrence is linear in its state, so it runs on an accelerator as a scan over time
# (:func:`torchmanifold.nn.scan.linear_scan`), where an LSTM takes one step after the other.

if __name__ == "__main__":
    main()
    plt.show()
