"""Recurrent networks on the field's tasks: copying memory, adding, images pixel by pixel.

The rows that training gives are those of the other comparisons, so the results folder, table,
figures and report are too. From Python:

    from torchmanifold.optim.compare.recurrent import Copying, RecurrentRun, train
"""

from torchmanifold.optim.compare.recurrent.adding import Adding
from torchmanifold.optim.compare.recurrent.copying import Copying
from torchmanifold.optim.compare.recurrent.methods import RECURRENT, RecurrentMethod
from torchmanifold.optim.compare.recurrent.mnist import download, read_mnist
from torchmanifold.optim.compare.recurrent.pixels import Pixels
from torchmanifold.optim.compare.recurrent.settings import (
    RECORDS,
    SIZES,
    RecurrentRun,
    RecurrentSettings,
    Size,
    rates_of,
)
from torchmanifold.optim.compare.recurrent.tensorboard import TensorBoard, require_tensorboard
from torchmanifold.optim.compare.recurrent.train import train

__all__ = [
    "RECORDS",
    "RECURRENT",
    "SIZES",
    "Adding",
    "Copying",
    "Pixels",
    "RecurrentMethod",
    "RecurrentRun",
    "RecurrentSettings",
    "Size",
    "TensorBoard",
    "download",
    "rates_of",
    "read_mnist",
    "require_tensorboard",
    "train",
]
