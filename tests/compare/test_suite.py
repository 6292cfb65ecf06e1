"""The optimum of each problem of the suite against a certificate or another computation."""

import networkx
import numpy as np
import pytest
import scipy
from scipy.spatial.distance import pdist
from sklearn.datasets import load_wine
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.mixture import GaussianMixture

from torchmanifold.optim.compare import PROBLEMS, Run, perform


def given(name):
    probe = PROBLEMS[name].probe
    return probe, [tensor.numpy() for tensor in (*probe.data, probe.solution)]


def least_eigenvalue(a):
    return np.linalg.eigvalsh((a + a.T) / 2)[0]


def test_the_slack_of_max_cut_is_positive_semidefinite():
    probe, (adjacency, x) = given("max-cut")
    multipliers = ((adjacency @ x) * x).sum(1)
    # Weak duality: for any multipliers, their sum is a lower bound of the cost of every matrix with
    # a unit diagonal, after a correction for an indefinite slack.
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


def test_discriminants_against_scikit_learn():
    probe, (between, within, x) = given("discriminant")
    values = scipy.linalg.eigh(between, within, eigvals_only=True)
    assert probe.exact == pytest.approx(-values[-2:].mean(), rel=1e-12)
    wines = load_wine()
    fitted = LinearDiscriminantAnalysis(solver="eigen").fit(wines.data, wines.target)
    share = values[::-1][:2] / values[-2:].sum()
    assert fitted.explained_variance_ratio_[:2] == pytest.approx(share, rel=1e-8)
    # The same plane, in the units of the data.
    plane = fitted.scalings_[:, :2] * wines.data.std(0)[:, None]
    assert np.sin(scipy.linalg.subspace_angles(plane, x)).max() < 1e-6


def test_phase_retrieval_determines_the_vector_but_for_its_phase():
    probe, (rows, intensities, x) = given("phase-retrieval")
    assert np.abs(rows @ x) ** 2 == pytest.approx(intensities)
    # If the quadratic forms |a_k' v|^2 of Hermitian matrices are independent, x x' is unique.
    forms = np.einsum("ki,kj->kij", rows.conj(), rows).reshape(len(rows), -1)
    assert np.linalg.matrix_rank(forms) == min(len(rows), len(x) ** 2)
    turned = probe.solution * np.exp(0.7j)
    assert float(probe.loss(turned, *probe.data)) < 1e-28


def test_no_plane_rotation_makes_the_matrices_more_diagonal():
    probe, (matrices, x) = given("joint-diagonal")

    def cost(x):
        turned = x.T @ matrices @ x
        return (turned**2).sum() - (np.diagonal(turned, axis1=1, axis2=2) ** 2).sum()

    assert cost(x) / len(matrices) == pytest.approx(probe.exact, rel=1e-12)
    for i, j in zip(*np.triu_indices(len(x), 1), strict=True):
        for angle in np.linspace(-np.pi / 4, np.pi / 4, 40):
            turn = np.eye(len(x))
            turn[[i, j], [i, j]], turn[i, j] = np.cos(angle), np.sin(angle)
            turn[j, i] = -turn[i, j]
            assert cost(x @ turn) >= cost(x)


def test_sparse_components_have_more_small_entries_than_principal_ones():
    _, (correlation, x) = given("sparse-pca")
    _, vectors = np.linalg.eigh(correlation)
    small = [(np.abs(v) < 0.1).sum() for v in (x, vectors[:, -3:])]
    assert small[0] > 2 * small[1]
    assert (x * (correlation @ x)).sum() > 0.9 * np.linalg.eigvalsh(correlation)[-3:].sum()


def test_the_energy_of_the_icosahedron():
    probe, (x,) = given("thomson")
    assert (1 / pdist(x)).sum() == pytest.approx(49.165253058, abs=1e-8)  # as published
    lengths, counts = np.unique(pdist(x).round(9), return_counts=True)
    assert list(counts) == [30, 30, 6] and lengths[-1] == 2
    assert probe.exact == pytest.approx((1 / pdist(x)).mean(), rel=1e-14)


def test_gaussian_mixture_against_scikit_learn():
    probe, solution = (
        PROBLEMS["gaussian-mixture"].probe,
        PROBLEMS["gaussian-mixture"].probe.solution,
    )
    (rows,), moments = probe.data, solution["moments"].numpy().reshape(3, 4, 4)
    means = moments[:, :-1, -1]
    covariances = moments[:, :-1, :-1] - means[:, :, None] * means[:, None]
    fitted = GaussianMixture(3, means_init=means, tol=1e-13, max_iter=2000, reg_covar=0).fit(rows)
    assert probe.exact == pytest.approx(-fitted.score(rows), abs=1e-10)
    assert fitted.weights_ == pytest.approx(solution["weights"].numpy(), abs=1e-5)
    assert fitted.covariances_ == pytest.approx(covariances, abs=1e-4)


def test_the_hyperbolic_plane_holds_a_tree_with_less_stress_than_the_euclidean_one():
    probe, (distances, x) = given("tree-embedding")
    i, j = np.triu_indices(len(x), 1)

    def euclidean(z):
        p = z.reshape(-1, 2)
        return np.linalg.norm(p[i] - p[j], axis=1) - distances[i, j]

    def hyperbolic(z):  # in Poincare's disk, the image of the plane
        p = z.reshape(-1, 2)
        gaps = 1 / (1 + np.square(p).sum(1))
        p = p * np.sqrt(gaps)[:, None]
        cosh = 1 + 2 * np.square(p[i] - p[j]).sum(1) / (gaps[i] * gaps[j])
        return np.arccosh(cosh) - distances[i, j]

    disk = x[:, 1:] / (1 + x[:, :1])
    plane = (disk / np.sqrt(1 - np.square(disk).sum(1, keepdims=True))).ravel()
    assert probe.exact == pytest.approx(np.square(hyperbolic(plane)).mean(), rel=1e-9)
    stress = {
        f: 2 * scipy.optimize.least_squares(f, 0.9 * plane).cost / len(i)
        for f in (hyperbolic, euclidean)
    }
    assert probe.exact == pytest.approx(stress[hyperbolic], rel=1e-6)
    assert probe.exact < stress[euclidean] / 5


NOT_CONVEX = (
    "gaussian-mixture",
    "joint-diagonal",
    "phase-retrieval",
    "rotation-sync",
    "sparse-pca",
    "thomson",
    "tree-embedding",
)


@pytest.mark.parametrize("name", NOT_CONVEX)
def test_other_random_points_lead_to_the_same_cost(name):
    for seed in (1, 2):
        end = perform(Run(name, "trust-region", (), seed, 100, "float64"))[-1]
        assert abs(end["gap"]) < 1e-12, seed
