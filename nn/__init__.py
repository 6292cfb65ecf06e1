"""Networks of our own: recurrent ones with an orthogonal kernel."""

from torchmanifold.nn import init
from torchmanifold.nn.nonlinearity import ModReLU, modrelu
from torchmanifold.nn.recurrent import OrthogonalRNN

__all__ = ["ModReLU", "OrthogonalRNN", "init", "modrelu"]
