"""The optimum of each problem of the suite against a certificate or another computation."""

import networkx
import numpy as np
import pytest

from torchmanifold.optim.compare import PROBLEMS


def given(name):
    probe = PROBLEMS[name].probe
    return probe, [tensor.numpy() for tensor in (*probe.data, probe.solution)]


def least_eigenvalue(a):
    return np.linalg.eigvalsh((a + a.T) / 2)[0]


def test_the_slack_of_max_cut_is_positive_semidefinite():
    probe, (adjacency, x) = given("max-cut")
    multipliers = ((adjacency @ x) * x).sum(1)
    # Weak duality: for any multipliers their sum, lowered where the slack is indefinite, is a
    # bound of the cost of every matrix with a unit diagonal.
    bound = multipliers.sum() + len(x) * min(0, least_eigenvalue(adjacency - np.diag(multipliers)))
    assert probe.exact == pytest.approx(bound / adjacency.sum(), abs=1e-12)
    graph = networkx.karate_club_graph()
    cut, _ = networkx.algorithms.approximation.one_exchange(graph, seed=0, weight=None)
    assert 0.878 < cut / (78 * (1 - probe.exact) / 2) < 1  # Goemans & Williamson


def test_the_slack_of_synchronised_rotations_is_positive_semidefinite():
    probe, (tails, heads, ratios, x) = given("rotation-sync")
    slack = np.zeros((len(x), 3, len(x), 3))
    for i, j, ratio in zip(tails, heads, ratios, strict=True):
        for a, b, r in ((i, j, ratio), (j, i, ratio.T)):
            slack[a, :, b] -= r
            pull = r @ x[b] @ x[a].T  # the multiplier of a is the sum of these, symmetrized
            slack[a, :, a] += (pull + pull.T) / 2
    slack = slack.reshape(3 * len(x), -1)
    assert np.abs(slack @ x.reshape(-1, 3)).max() < 1e-12
    assert least_eigenvalue(slack) > -1e-12
    assert np.linalg.eigvalsh(slack)[3] > 0.1  # unique but for a common rotation
    assert np.linalg.det(x) == pytest.approx(1)


def test_the_nearest_correlation_matrix_fulfils_the_conditions_of_a_convex_problem():
    _, (a, y) = given("nearest-correlation")
    x = y @ y.T
    slack = x - a - np.diag(np.diag((x - a) @ x))
    assert np.abs(slack @ y).max() < 1e-12
    assert least_eigenvalue(slack) > -1e-12
    assert least_eigenvalue(a) < -0.3  # so that there is something to do
