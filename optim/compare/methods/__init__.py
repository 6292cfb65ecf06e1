"""The methods of the comparison, by name in one table. A method knows no problem."""

from collections.abc import Mapping

from torchmanifold.optim.compare.method import Method
from torchmanifold.optim.compare.methods.descent import DESCENT
from torchmanifold.optim.compare.methods.elsewhere import ELSEWHERE
from torchmanifold.optim.compare.methods.peers import PEERS
from torchmanifold.optim.compare.methods.recurrent import RECURRENT
from torchmanifold.optim.compare.methods.solvers import SOLVERS
from torchmanifold.optim.compare.methods.transformers import TRANSFORMERS

__all__ = ["METHODS"]

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (*DESCENT, *SOLVERS, *PEERS, *ELSEWHERE, *RECURRENT, *TRANSFORMERS)
}
