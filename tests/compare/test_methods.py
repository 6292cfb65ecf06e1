"""Every method: its first point, its constraint, and known equalities."""

import pytest
import torch

from torchmanifold.optim.compare import METHODS, PRESETS, PROBLEMS, Run, find_problem, perform
from torchmanifold.optim.compare.plan import Plan
from torchmanifold.optim.compare.task import Task

TINY = {"length": 4, "recall": 2, "hidden": 6, "batch": 4}
POINTS = {name: problem for name, problem in PROBLEMS.items() if not problem.is_network}
# One problem for each kind of point: its manifold, and how many axes it has.
KINDS = {
    (repr(problem.manifold), getattr(problem.probe.initial, "ndim", None)): name
    for name, problem in reversed({**POINTS, "digits-rnn": PROBLEMS["digits-rnn"]}.items())
}
PAIRS = [
    (name, method)
    for name in KINDS.values()
    for method in METHODS
    if METHODS[method].works_on(PROBLEMS[name])
    # Rebasing does not depend on the kind of point.
    if "-every" not in method or name in ("pca", "spd-mean", "completion", "digits-rnn")
]


def config(method, **values):
    return tuple({**{k: v[0] for k, v in METHODS[method].grid.items()}, **values}.items())


@pytest.mark.parametrize(("name", "method"), PAIRS)
def test_begins_at_the_problem_s_point_and_steps_along_the_manifold(name, method):
    problem = PROBLEMS[name]
    dtype = problem.dtypes[-1]
    lr = {"lr": 1e-3} if "lr" in METHODS[method].grid else {}
    first, *_, last = perform(Run(name, method, config(method, **lr), 0, 2, dtype))
    with torch.random.fork_rng():
        begun = Task(problem, 0, dtype, "cpu").measure()
    assert first["loss"] == pytest.approx(begun["loss"], rel=1e-7 if dtype == "float64" else 1e-5)
    assert last["loss"] != first["loss"]
    if METHODS[method].constrained:
        assert last["residual"] < (1e-10 if dtype == "float64" else 1e-5)


def test_what_applies_where():
    points = {"pca", "brockett", "procrustes", "spd-mean", "completion"}
    everything = {*points, "digits-rnn", "rnn-copy"}

    def served(name):
        return {p for p in everything if METHODS[name].works_on(PROBLEMS[p])}

    orthogonal = {"pca", "brockett", "procrustes", "digits-rnn", "rnn-copy"}
    assert served("cayley-sgd") == orthogonal
    assert served("exp-sgd") == orthogonal | {"spd-mean"}
    assert served("projection-adam") == {"completion"}
    assert served("riemannian-sgd") == everything
    assert served("geotorch-adam") == everything
    assert served("trust-region") == points
    assert served("unconstrained-adam") == {"digits-rnn", "rnn-copy"}
    assert served("lstm") == {"rnn-copy"}


@pytest.mark.parametrize("name", ["pca", "procrustes", "completion"])
def test_rebased_after_every_step_is_riemannian(name):
    retraction = {"pca": "qr", "procrustes": "cayley", "completion": "projection"}[name]
    ends = [
        perform(Run(name, method, (("lr", 0.1),), 0, 30, "float64"))[-1]["loss"]
        for method in (f"{retraction}-every1-sgd", "riemannian-sgd")
    ]
    assert ends[0] == pytest.approx(ends[1], rel=1e-10)


@pytest.mark.parametrize("method", ["pymanopt-cg", "pymanopt-trust-region", "scipy-lbfgs"])
@pytest.mark.parametrize("name", ["brockett", "max-cut", "rotation-sync", "spd-mean"])
def test_solvers_of_other_libraries_find_the_optimum(name, method):
    rows = perform(Run(name, method, (), 0, 400, "float64"))
    # A parametrization changes the curvature: scipy needs thousands of steps on some problems.
    near = 1e-3 if method == "scipy-lbfgs" else 1e-6
    assert abs(rows[-1]["gap"]) < near * max(1, abs(rows[0]["gap"]))
    assert rows[-1]["evaluations"] >= rows[-1]["iteration"] > 5
    seconds = [row["seconds"] for row in rows]
    assert seconds == sorted(seconds) and seconds[-1] > 0


def test_presets_name_what_exists():
    for preset in PRESETS.values():
        assert set(preset.problems) <= set(PROBLEMS)
        methods = tuple(METHODS[name] for name in preset.methods)
        for name in preset.problems:
            assert sum(1 for _ in Plan((PROBLEMS[name],), methods, (0,)).runs()) >= 5
    for problem in PROBLEMS.values():
        assert set(problem.methods) <= set(METHODS) and set(problem.grids) <= {*METHODS, "*"}


@pytest.mark.parametrize(
    "method", [name for name in METHODS if METHODS[name].works_on(PROBLEMS["rnn-copy"])][::1]
)
def test_the_kernel_has_its_own_rate(method):
    problem = find_problem("rnn-copy").configured(**TINY)
    with torch.random.fork_rng():
        task = Task(problem, 0, "float32", "cpu")
        values = {"lr": 1e-3, "kernel_factor": 0.1}
        optimizer = task.prepare(METHODS[method], values, 1)
    groups = [(group["lr"], len(group["params"])) for group in optimizer.param_groups]
    assert sum(count for _, count in groups) == len(list(task.model.parameters()))
    if METHODS[method].constrained:
        assert groups[-1] == (pytest.approx(1e-4), 1)
    assert groups[0][0] == 1e-3
