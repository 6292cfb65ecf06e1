"""A user's own problems and methods: found again, checked, run, and refused in one line."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import torchmanifold as tm
from torchmanifold.optim.compare import Instance, Solver, find_method, find_problem, problems_of

EXPERIMENT = Path(__file__).parent / "experiment.py"


def instance(loss=lambda x: x.square().sum(), initial=None, **fields):
    return Instance(loss, torch.eye(3)[0] if initial is None else initial, **fields)


def problem_of(make, manifold=None, **fields):
    """A problem made in a function, as in a notebook."""
    return tm.compare.problem(manifold or tm.Sphere(), **fields)(make)


def sgd(model, config):
    return tm.optim.RiemannianSGD(model, lr=0.1)


def run(problems, methods, folder, **options):
    given = {"seeds": 1, "steps": 3, "workers": 1, "quiet": True, "out": folder / "out"}
    return tm.compare.run(problems, methods, **{**given, **options})


def test_a_script_without_a_guard_runs_in_processes_and_is_found_by_reference(tmp_path):
    shutil.copy(EXPERIMENT, tmp_path)
    done = subprocess.run(
        [sys.executable, "experiment.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "results").iterdir()
    summary = tm.compare.Results(folder).summary()
    assert summary["method"].tolist() == ["heavy-ball"] * 2 and (summary["value"] < 1e-4).any()


def test_a_file_is_read_for_what_it_defines(tmp_path):
    path = tmp_path / "mine.py"
    shutil.copy(EXPERIMENT, path)
    problems, methods = problems_of(str(path))
    assert [p.name for p in problems] == ["eigenvector"] and methods[0].name == "heavy-ball"
    assert problems[0].reference == f"{path}:eigenvector"
    assert find_problem(f"{path}:eigenvector") is problems[0]
    assert find_method(f"{path}:heavy_ball").about == "Riemannian SGD with momentum."
    assert not (tmp_path / "results").exists()
    pca = "torchmanifold.optim.compare.problems.pca:pca"
    assert find_problem(pca) is find_problem("pca")


def test_what_stands_in_no_file_runs_in_this_process_alone(tmp_path):
    problem = problem_of(lambda generator: instance(), name="here")
    method = tm.compare.method()(sgd)
    results = run([problem], [method], tmp_path)
    assert len(results.to_pandas()) == 4
    with pytest.raises(ValueError, match="problem here is in no file"):
        run([problem], [method], tmp_path, out=tmp_path / "two", workers=2)
    assert not (tmp_path / "two").exists()


def test_points_of_several_parts(tmp_path):
    """A tuple and a dict on a product, by an optimizer, a parametrization and a solver."""
    M = tm.Product(a=tm.Sphere(), b=tm.Stiefel())
    for manifold, build in ((M, dict), (tm.Product(tm.Sphere(), tm.Stiefel()), tuple)):

        def make(generator, build=build):
            a, b = torch.ones(4) / 2, torch.eye(4, 2)
            point = {"a": a, "b": b} if build is dict else (a, b)

            def loss(x):
                p, q = x.values() if build is dict else x
                return ((p @ q - torch.tensor([0.6, 0.8], dtype=p.dtype)) ** 2).sum()

            return Instance(loss, point, exact=0.0)

        def steps(model, config):
            return torch.optim.SGD(model.parameters(), lr=0.3)

        problem = problem_of(make, manifold, name="parts")
        methods = [
            tm.compare.method()(sgd),
            tm.compare.method(how="parametrized", name="steps")(steps),
            "trust-region",
        ]
        summary = run(
            [problem], methods, tmp_path, steps=60, out=tmp_path / build.__name__
        ).summary()
        assert (summary["value"] < 1e-3).all() and (summary["residual_largest"] < 1e-5).all()


def test_a_network_with_several_constrained_weights_and_batches(tmp_path):
    def make(generator):
        torch.manual_seed(generator.initial_seed())
        net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))
        for layer in (net[0], net[2]):
            nn.init.orthogonal_(layer.weight)
        x = torch.randn(64, 4, generator=generator)
        y = (x[:, :3]).argmax(-1)

        def batch(step):
            chosen = torch.arange(step * 8, step * 8 + 8) % 64
            return x[chosen], y[chosen]

        return Instance(lambda model, x, y: nn.functional.cross_entropy(model(x), y), net,
                        batch=batch, exact=0.0)  # fmt: skip

    weights = {"0.weight": tm.Stiefel(), "2.weight": tm.Transposed(tm.Stiefel())}
    problem = problem_of(make, weights, name="net", optional=True)
    methods = ["riemannian-adam", "unconstrained-adam"]
    summary = run([problem], methods, tmp_path, steps=20, grid={"lr": [0.05]}).summary()
    first = summary.set_index("method").loc["riemannian-adam"]
    assert first["residual_largest"] < 1e-5 and first["evaluations"] == 20


def test_a_step_function_and_a_solver_are_methods_too(tmp_path):
    def make(generator):
        a = torch.diag(torch.arange(4.0, dtype=torch.float64))
        return Instance(lambda x, a: x @ a @ x, torch.ones(4) / 2, (a,), exact=0.0)

    def function(model, config):
        def step(objective):
            (gradient,) = torch.autograd.grad(objective(), model.weight)
            with torch.no_grad():
                x = model.weight - config.lr * gradient
                model.weight.copy_(x / x.norm())

        return step

    problem = problem_of(make, name="least")
    methods = [
        tm.compare.method(grid={"lr": [0.2]}, how="plain", name="by-hand")(function),
        tm.compare.method(how="plain", name="solver")(lambda model, config: Solver("lbfgs")),
        tm.compare.method(how="plain", name="closure")(
            lambda model, config: torch.optim.LBFGS(model.parameters(), max_iter=5)
        ),
    ]
    summary = run([problem], methods[:2], tmp_path, steps=60).summary().set_index("method")
    assert (summary["value"] < 1e-6).all()
    rows = run([problem], methods[2:], tmp_path, steps=2, out=tmp_path / "closure").to_pandas()
    assert rows["evaluations"].max() > rows["iteration"].max()  # a closure is called several times


BAD_PROBLEMS = {
    "no-scalar": (
        lambda g: instance(lambda x: x),
        "one real number, a tensor of shape .*; got .3,",
    ),
    "no-tensor": (lambda g: instance(lambda x: 1.0), "got float"),
    "nan": (
        lambda g: instance(lambda x: x.sum() * float("nan")),
        "its loss is nan at the initial point",
    ),
    "off": (lambda g: instance(initial=torch.ones(3)), "the initial weight is not on Sphere"),
    "constant": (lambda g: instance(lambda x: torch.zeros(())), "does not depend on the point"),
    "raises": (lambda g: instance(lambda x: x @ torch.eye(9)), "cannot be evaluated: RuntimeError"),
    "nothing": (lambda g: None, "must return tm.compare.Instance"),
    "other": (lambda g: {"loss": 1, "initial": 2, "start": 3}, "unexpected keyword argument"),
}


@pytest.mark.parametrize(("make", "message"), BAD_PROBLEMS.values(), ids=BAD_PROBLEMS)
def test_a_bad_problem_is_one_line_and_nothing_is_written(tmp_path, make, message):
    problem = problem_of(make, name="bad")
    with pytest.raises((ValueError, TypeError), match=message) as error:
        run([problem], [tm.compare.method()(sgd)], tmp_path)
    assert len(str(error.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_bad_methods_are_refused(tmp_path):
    problem = problem_of(lambda generator: instance(), name="fine")

    def raising(model, config):
        return tm.optim.RiemannianSGD(model, lr=config.momentum)

    with pytest.raises(ValueError, match="no hyperparameter 'momentum'"):
        run([problem], [tm.compare.method()(raising)], tmp_path)
    with pytest.raises(ValueError, match=r"must return an optimizer, .*; got 3"):
        run([problem], [tm.compare.method(name="three")(lambda model, config: 3)], tmp_path)
    with pytest.raises(ValueError, match="a name has only letters, digits, - and _, got .<lambda>"):
        tm.compare.method()(lambda model, config: 3)
    with pytest.raises(ValueError, match="no method here has a hyperparameter 'beta'"):
        run([problem], [tm.compare.method()(sgd)], tmp_path, grid={"beta": [1]})
    assert list(tmp_path.iterdir()) == []


def test_a_method_that_leaves_the_manifold_or_raises_is_shown_as_such(tmp_path):
    problem = problem_of(lambda generator: instance(lambda x: (x - 2).square().sum()), name="out")

    def leaves(model, config):
        return torch.optim.SGD(model.parameters(), lr=0.01)

    def breaks(model, config):
        def step(objective):
            raise KeyError("lost")

        return step

    methods = [tm.compare.method(how="plain")(leaves), tm.compare.method()(breaks)]
    results = run([problem], methods, tmp_path)
    text = str(results.table())
    assert "left the manifold" in text and "failed: KeyError: 'lost'" in text
    assert [row["method"] for row in results.failures()] == ["breaks"]


BAD_REFERENCES = {
    "nowhere.py": "there is no file",
    "os:path": "there is no problem 'path'; there are none",
    "no_such_module:x": "the module no_such_module cannot be imported",
    "pcaa": "unknown problem 'pcaa'; near matches: pca",
}


@pytest.mark.parametrize(("reference", "message"), BAD_REFERENCES.items())
def test_what_is_not_found_is_one_line(reference, message):
    with pytest.raises(ValueError, match=message):
        problems_of(reference)


def test_files_that_cannot_be_used_are_one_line(tmp_path):
    (tmp_path / "empty.py").write_text("x = 1\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "text.txt").write_text("")
    with pytest.raises(ValueError, match=r"empty.py has no problem; decorate a function"):
        problems_of(str(tmp_path / "empty.py"))
    with pytest.raises(ValueError, match=r"broken.py cannot be read: ZeroDivisionError"):
        problems_of(str(tmp_path / "broken.py"))
