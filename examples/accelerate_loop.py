r"""
A loop of accelerate, stopped and resumed
=========================================

This example needs ``accelerate``: ``pip install "torchmanifold[training]"``.

A parametrized weight is trained by the optimizer that a script has already. Here it is Adam with a
schedule, accumulated gradients and clipping, all by ``accelerate``. The base of the weight moves
every 20 steps. The script is stopped half-way and resumed from its checkpoint, which holds the
base, the momentum and the number of steps to the next move. The resumed run ends in the same
weights as a run that was never stopped.
"""

import tempfile

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import torchmanifold as tm

# %%
# The network, and batches whose targets come from a second network of the same kind.


def network() -> nn.Sequential:
    model = nn.Sequential(
        nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 4)
    )
    for layer in (model[0], model[2]):
        tm.constrain(layer, "weight", tm.Stiefel())
    return model


def batches(count: int) -> DataLoader:
    torch.manual_seed(1)
    x, teacher = torch.randn(count * 16, 8), network()
    with torch.no_grad():
        y = 3 * teacher(x)
    return DataLoader(TensorDataset(x, y), batch_size=16)


# %%
# ``prepare`` wraps the optimizer, and the hook belongs to the wrapped one, so ``rebase_every``
# comes before ``prepare``. Coordinates have no part that is normal to a manifold, so accelerate's
# own clipping is right. Weights under ``how="riemannian"`` are clipped by
# :func:`torchmanifold.optim.clipping.clip_grad_norm_`, after ``accelerator.unscale_gradients()``.


class Training:
    def __init__(self, steps: int) -> None:
        self.accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
        torch.manual_seed(0)
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        tm.optim.rebase_every(model, optimizer, steps=20)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        self.model, self.optimizer, self.schedule, self.data = self.accelerator.prepare(
            model, optimizer, schedule, batches(2 * steps)
        )

    def step(self, x: Tensor, y: Tensor) -> float:
        """One batch; every second batch moves the weights."""
        with self.accelerator.accumulate(self.model):
            loss = nn.functional.mse_loss(self.model(x), y)
            self.accelerator.backward(loss)
            if self.accelerator.sync_gradients:
                self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
            self.optimizer.zero_grad()
        return loss.item()

    def run(self, first: int, last: int) -> list[float]:
        """The batches from `first` to `last`."""
        data = self.accelerator.skip_first_batches(self.data, first)
        return [self.step(*batch) for _, batch in zip(range(first, last), data, strict=False)]


# %%
# One run from the beginning to the end, and one that is stopped and resumed.


def main(steps: int = 100) -> dict[str, float]:
    """Losses, the largest residual, and the difference between the two runs."""
    whole = Training(steps)
    losses = whole.run(0, 2 * steps)
    with tempfile.TemporaryDirectory() as folder:
        half = Training(steps)
        half.run(0, steps)
        half.accelerator.save_state(folder)
        resumed = Training(steps)
        resumed.accelerator.load_state(folder)
        resumed.run(steps, 2 * steps)
    pairs = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    found = {
        "first": sum(losses[:10]) / 10,
        "last": sum(losses[-10:]) / 10,
        "residual": max(float(row.residual) for row in tm.report(whole.model)),
        "difference": max(float((a - b).detach().abs().max()) for a, b in pairs),
    }
    print(f"loss {found['first']:.3f} -> {found['last']:.3f}, residual {found['residual']:.1e}")
    print(f"difference of the resumed run {found['difference']:.1e}")
    return found


if __name__ == "__main__":
    main()
