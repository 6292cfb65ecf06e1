"""The problems of the comparison, one file each, by the names of the command line."""

from collections.abc import Callable, Mapping

from torchmanifold.optim.compare.problems.brockett import brockett
from torchmanifold.optim.compare.problems.completion import completion
from torchmanifold.optim.compare.problems.digits_rnn import SequenceClassification, digits_rnn
from torchmanifold.optim.compare.problems.pca import pca
from torchmanifold.optim.compare.problems.problem import Problem, Task
from torchmanifold.optim.compare.problems.procrustes import procrustes
from torchmanifold.optim.compare.problems.spd_mean import spd_mean

__all__ = [
    "PROBLEMS",
    "Problem",
    "SequenceClassification",
    "Task",
    "brockett",
    "completion",
    "digits_rnn",
    "pca",
    "procrustes",
    "spd_mean",
]

PROBLEMS: Mapping[str, Callable[[], Task]] = {
    "pca": pca,
    "brockett": brockett,
    "procrustes": procrustes,
    "spd-mean": spd_mean,
    "completion": completion,
    "digits-rnn": digits_rnn,
}
