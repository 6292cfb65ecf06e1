r"""
An average of rotations, under Lightning
========================================

This example needs ``lightning``: ``pip install "torchmanifold[training]"``.

The mean of two rotations is not a rotation, so an exponential moving average of weights leaves
the manifold. Lightning's ``WeightAveraging`` takes means of parameters. Such a mean is right for
coordinates whose base never moves, and wrong for other coordinates and for constrained parameters.
:func:`torchmanifold.weights.averaging.average_` takes the mean of the weights and projects it. A
callback of a few lines calls it after every step.

The data are points and their images under an unknown rotation, with much noise. The last weight
follows the noise of the last batches. The average is nearer to the truth, and both are rotations.
"""

import copy
import tempfile

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import torchmanifold as tm

# %%
# The data.

SIZE = 8
TRUTH = tm.SpecialOrthogonal().random(SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def batches(count: int) -> DataLoader:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count * 16, SIZE, generator=generator)
    y = x @ TRUTH.mT + torch.randn(count * 16, SIZE, generator=generator)
    return DataLoader(TensorDataset(x, y), batch_size=16)


# %%
# One line, which constrains the weight, distinguishes the module from any other. The method
# ``configure_gradient_clipping`` is Lightning's place for custom clipping, here by Riemannian
# gradients.


class Rotation(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(SIZE, SIZE, bias=False)
        tm.constrain(self.net, "weight", tm.SpecialOrthogonal(), how="riemannian")

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return nn.functional.mse_loss(self.net(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return tm.optim.RiemannianAdam(self.parameters(), lr=0.2)

    def configure_gradient_clipping(
        self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None
    ) -> None:
        tm.optim.clip_grad_norm_(self, gradient_clip_val)


# %%
# The average. A batch that only accumulates gradients moves no weight, so the callback compares
# ``global_step`` with its last value. Lightning's checkpoints contain the state of a callback.


class Average(lightning.Callback):
    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.seen = 0

    def setup(self, trainer, pl_module, stage) -> None:
        self.net = copy.deepcopy(pl_module.net)

    def on_train_batch_end(self, trainer, pl_module, *args) -> None:
        if trainer.global_step > self.seen:
            self.seen = trainer.global_step
            # The first weights count for little: the plain mean until the decay is reached.
            decay = min(self.decay, self.seen / (self.seen + 10))
            tm.average_(self.net, pl_module.net, decay)

    def state_dict(self) -> dict[str, object]:
        return {"net": self.net.state_dict(), "seen": self.seen}

    def load_state_dict(self, state) -> None:
        self.net.load_state_dict(state["net"])
        self.seen = state["seen"]


# %%
# Train, and compare the distances to the true rotation.


def main(steps: int = 200) -> dict[str, float]:
    """Train; distances of the last weight and of the average, and the larger residual."""
    torch.manual_seed(0)
    model, average = Rotation(), Average(decay=0.98)
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            max_steps=steps,
            max_epochs=-1,
            accumulate_grad_batches=2,
            gradient_clip_val=1.0,
            callbacks=[average],
            default_root_dir=folder,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, batches(2 * steps))
    so = tm.SpecialOrthogonal()
    weights = {"last": model.net.weight.detach(), "average": average.net.weight.detach()}
    found = {name: float((weight - TRUTH).norm()) for name, weight in weights.items()}
    found["residual"] = max(float(so.residual(weight)) for weight in weights.values())
    print(f"last weight {found['last']:.3f} from the truth, average {found['average']:.3f}")
    print(f"largest residual {found['residual']:.1e}")
    return found


if __name__ == "__main__":
    main()
