"""Layers: recurrences with orthogonal transitions, and an orthogonal convolution."""

from torchmanifold.nn import init
from torchmanifold.nn.nonlinearity import ModReLU, modrelu
from torchmanifold.nn.orthogonal_conv import OrthogonalConv2d
from torchmanifold.nn.orthogonal_recurrence import OrthogonalRecurrence
from torchmanifold.nn.recurrent import OrthogonalRNN

__all__ = [
    "ModReLU",
    "OrthogonalConv2d",
    "OrthogonalRNN",
    "OrthogonalRecurrence",
    "init",
    "modrelu",
]
