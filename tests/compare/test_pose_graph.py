"""Pose graphs: the reader, the cost, its minimum and the certificate."""

import dataclasses
import gzip

import numpy as np
import pytest
import scipy
from scipy.spatial.transform import Rotation

from torchmanifold.optim.compare import PROBLEMS, Run, perform
from torchmanifold.optim.compare.problems.certified_poses import (
    chordal,
    form_of,
    is_certified,
    minimum,
)
from torchmanifold.optim.compare.problems.g2o import PoseGraph, read_g2o, simulated


def text_of(graph, names):
    """The graph in g2o format, its vertices under other numbers."""
    lines = ["# a comment", "FIX 7", ""]
    for e, (i, j) in enumerate(zip(graph.tails, graph.heads, strict=True)):
        if graph.d == 2:
            tag = "EDGE_SE2"
            turn = [np.arctan2(*graph.rotations[e, ::-1, 0])]
            information = np.diag([graph.tau[e]] * 2 + [graph.kappa[e]])
        else:
            tag = "EDGE_SE3:QUAT"
            turn = -Rotation.from_matrix(graph.rotations[e]).as_quat()  # q and -q are one rotation
            information = np.diag([graph.tau[e]] * 3 + [2 * graph.kappa[e]] * 3)
        upper = information[np.triu_indices(len(information))]
        fields = [
            names[i],
            names[j],
            *map(repr, map(float, [*graph.translations[e], *turn, *upper])),
        ]
        lines.append(" ".join([tag, *map(str, fields)]))
    return "\n".join(lines)


@pytest.mark.parametrize("sides", [(3, 4), (2, 3, 2)])
def test_a_file_is_read_as_it_was_written(tmp_path, sides):
    graph = simulated(sides, noise=0.1, seed=1)
    weights = np.random.default_rng(0).uniform(1, 2, (2, len(graph.tails)))
    graph = dataclasses.replace(graph, kappa=weights[0], tau=weights[1])
    text = text_of(graph, names=10 + 3 * np.arange(graph.n))
    (tmp_path / "plain.g2o").write_text(text)
    (tmp_path / "packed.g2o.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("plain.g2o", "packed.g2o.gz"):
        found = read_g2o(tmp_path / name)
        assert found.n == graph.n
        for key, value in dataclasses.asdict(graph).items():
            assert getattr(found, key) == pytest.approx(value, abs=1e-12), key


EDGE = "EDGE_SE2 0 1 1 0 0.1 1 0 0 1 0 1"
BAD = {
    "no edge": "VERTEX_SE2 0 0 0 0",
    "line 2: EDGE_XY is not known": f"{EDGE}\nEDGE_XY 0 1",
    "line 1: EDGE_SE2 has 11 fields, got 10": EDGE[:-2],
    "could not convert": EDGE.replace("0.1", "x"),
    "invalid literal": EDGE.replace("0 1", "a 1", 1),
    "not positive definite": EDGE.replace("1 0 0 1", "1 0 0 -1"),
    "edges of the plane and of space": EDGE + "\nEDGE_SE3:QUAT" + " 1" * 30,
    "falls into 2 parts": EDGE + "\n" + EDGE.replace("0 1", "2 3", 1),
}


@pytest.mark.parametrize("message", BAD)
def test_a_bad_file_is_named_with_its_fault(tmp_path, message):
    file = tmp_path / "bad.g2o"
    file.write_text(BAD[message])
    with pytest.raises(ValueError, match=message):
        _ = PROBLEMS["pose-graph"].configured(file=str(file)).probe
    with pytest.raises(ValueError, match="nowhere.g2o cannot be read"):
        read_g2o(tmp_path / "nowhere.g2o")


@pytest.mark.parametrize("sides", [(3, 4), (2, 3, 2)])
def test_the_minimum_against_least_squares_in_scipy(sides):
    graph = simulated(sides, noise=0.1)
    form, n, d = form_of(graph), graph.n, graph.d

    def poses(z):
        turns, places = z[: n * d * (d - 1) // 2].reshape(n, -1), z[n * d * (d - 1) // 2 :]
        vectors = turns if d == 3 else np.pad(turns, ((0, 0), (2, 0)))
        return Rotation.from_rotvec(vectors).as_matrix()[:, :d, :d], places.reshape(n, d)

    def residuals(z):
        turns, places = poses(z)
        tail, head = turns[graph.tails], turns[graph.heads]
        seen = (tail @ graph.translations[..., None])[..., 0]
        shift = places[graph.heads] - places[graph.tails] - seen
        return np.r_[(head - tail @ graph.rotations).ravel(), shift.ravel()]

    first = chordal(form, d).swapaxes(1, 2)
    vectors = np.zeros((n, 3, 3))
    vectors[:, :d, :d] = first
    vectors[:, 2, 2] = 1 if d == 2 else vectors[:, 2, 2]
    vectors = Rotation.from_matrix(vectors).as_rotvec()[:, 2 if d == 2 else 0 :]
    found = scipy.optimize.least_squares(
        residuals, np.r_[vectors.ravel(), np.zeros(n * d)], xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    y = minimum(form, d)
    cost = np.square(form.residuals(y.reshape(-1, d))).sum()
    assert cost == pytest.approx(2 * found.cost, rel=1e-12)
    assert cost < 0.999 * np.square(form.residuals(chordal(form, d).reshape(-1, d))).sum()
    assert is_certified(form, y)


def test_the_certificate_tells_a_ring_that_winds_around_from_one_that_does_not():
    n, ends = 12, np.arange(12)
    ring = PoseGraph(
        n=n,
        tails=ends,
        heads=(ends + 1) % n,
        rotations=np.tile(Rotation.from_rotvec([0, 0, 0.01]).as_matrix()[:2, :2], (n, 1, 1)),
        translations=np.zeros((n, 2)),
        kappa=np.ones(n),
        tau=np.ones(n),
    )
    form = form_of(ring)
    angles = 2 * np.pi * ends / n
    c, s = np.cos(angles), np.sin(angles)
    winding = np.stack([np.stack([c, s], -1), np.stack([-s, c], -1)], -2)
    still = np.tile(np.eye(2), (n, 1, 1))
    for y, certified in ((still, True), (winding, False)):
        tangent = form.gradient(y) @ y.swapaxes(1, 2)
        assert np.abs(tangent - tangent.swapaxes(1, 2)).max() < 1e-12  # both are stationary
        assert is_certified(form, y) is certified


def test_the_problem_of_a_file_has_a_certified_optimum_that_methods_reach(tmp_path):
    file = tmp_path / "plane.g2o"
    file.write_text(text_of(simulated((4, 4), noise=0.1), names=np.arange(16)))
    problem = PROBLEMS["pose-graph"].configured(file=str(file))
    assert problem.probe.initial.shape == (16, 2, 2) and "plane.g2o" in problem.probe.title
    given = (("file", str(file)),)
    for method in ("trust-region", "lbfgs"):
        end = perform(Run("pose-graph", method, (), 1, 200, "float64", parameters=given))[-1]
        assert abs(end["gap"]) < 1e-12
