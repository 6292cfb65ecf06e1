"""Networks of our own: recurrent ones with orthogonal transitions."""

from torchmanifold.nn import init
from torchmanifold.nn.nonlinearity import ModReLU, modrelu
from torchmanifold.nn.orthogonal_recurrence import OrthogonalRecurrence
from torchmanifold.nn.recurrent import OrthogonalRNN

__all__ = ["ModReLU", "OrthogonalRNN", "OrthogonalRecurrence", "init", "modrelu"]
