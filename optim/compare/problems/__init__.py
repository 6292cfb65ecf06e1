"""The problems of the comparison, one file each, by name in one table."""

from collections.abc import Mapping

from torchmanifold.optim.compare.problem import Problem
from torchmanifold.optim.compare.problems.adding import adding
from torchmanifold.optim.compare.problems.brockett import brockett
from torchmanifold.optim.compare.problems.completion import completion
from torchmanifold.optim.compare.problems.copying import copying
from torchmanifold.optim.compare.problems.digits_rnn import digits_rnn
from torchmanifold.optim.compare.problems.discriminant import discriminant
from torchmanifold.optim.compare.problems.gaussian_mixture import gaussian_mixture
from torchmanifold.optim.compare.problems.joint_diagonal import joint_diagonal
from torchmanifold.optim.compare.problems.max_cut import max_cut
from torchmanifold.optim.compare.problems.nearest_correlation import nearest_correlation
from torchmanifold.optim.compare.problems.pca import pca
from torchmanifold.optim.compare.problems.phase_retrieval import phase_retrieval
from torchmanifold.optim.compare.problems.pixels import pixels
from torchmanifold.optim.compare.problems.pose_graph import pose_graph
from torchmanifold.optim.compare.problems.procrustes import procrustes
from torchmanifold.optim.compare.problems.rotation_sync import rotation_sync
from torchmanifold.optim.compare.problems.sparse_pca import sparse_pca
from torchmanifold.optim.compare.problems.spd_mean import spd_mean
from torchmanifold.optim.compare.problems.thomson import thomson
from torchmanifold.optim.compare.problems.transformer import transformer
from torchmanifold.optim.compare.problems.tree_embedding import tree_embedding

__all__ = ["PROBLEMS"]

PROBLEMS: Mapping[str, Problem] = {
    problem.name: problem
    for problem in (
        *(pca, brockett, procrustes, spd_mean, completion, digits_rnn),
        *(max_cut, rotation_sync, nearest_correlation, discriminant, phase_retrieval),
        *(joint_diagonal, sparse_pca, thomson, gaussian_mixture, tree_embedding, pose_graph),
        *(copying, adding, pixels, transformer),
    )
}
