"""Plans: their runs and their refusals."""

import pytest

import torchmanifold as tm
from torchmanifold.optim.compare import PROBLEMS, Method, Plan, plan_of
from torchmanifold.optim.compare.plan import with_preset


def small(**options):
    given = {"seeds": 2, "steps": 4, "grid": {"lr": [0.01, 0.1]}}
    return plan_of(["pca", "brockett"], ["riemannian-sgd", "trust-region"], **{**given, **options})


def test_runs_cross_grids_and_seeds():
    runs = list(small().runs())
    assert len(runs) == 2 * (2 * 2 + 2)  # a solver has no learning rate
    assert len({run.key for run in runs}) == len({run.id for run in runs}) == len(runs)
    assert {run.steps for run in runs} == {4}


def test_every_hyperparameter_is_an_axis():
    method = Method(
        "m", lambda model, config: None, {"lr": (0.1, 0.2), "momentum": (0.0, 0.5, 0.9)}
    )
    assert len(list(plan_of(["pca"], [method], seeds=1).runs())) == 6
    chosen = plan_of(["pca"], [method], seeds=1, grid={"m": {"momentum": [0.7]}})
    assert {dict(run.config)["momentum"] for run in chosen.runs()} == {0.7}


def test_a_problem_has_rates_of_its_own():
    (run,) = plan_of(["rnn-copy"], ["lstm"], seeds=1).runs()
    assert dict(run.config) == {"lr": 3e-3} and run.steps == 800
    (run,) = plan_of(["rnn-copy"], ["riemannian-adam"], seeds=1).runs()
    assert dict(run.config) == {"lr": 3e-3, "kernel_factor": 0.1}
    published = with_preset(PROBLEMS["rnn-copy"], PROBLEMS["rnn-copy"].presets["published"])
    (run,) = plan_of([published], ["exp"], seeds=1).runs()
    assert dict(run.config)["lr"] == 2e-4 and run.steps == 4000
    assert dict(run.parameters)["hidden"] == 190


REFUSED = [
    ({"steps": 0}, None),
    ({"seeds": 0}, "seeds must be at least 1, got 0"),
    ({"seeds": ()}, "seeds: at least one is needed"),
    ({"grid": {"lr": [0.1, -1.0]}}, "positive and finite, got -1.0"),
    ({"grid": {"lr": []}}, "grid: lr has no value"),
    ({"grid": {"lr": 0.1}}, "grid: lr needs a list of values, got 0.1"),
    ({"grid": {"qr-sgd": {"lr": [1.0]}}}, "qr-sgd is not among the methods"),
    ({"dtypes": ["float16"]}, "dtype must be one of float32, float64; got 'float16'"),
    ({"time_limit": 0.0}, "time_limit must be positive"),
    ({"device": "tpu"}, "device must be one of auto, cpu, cuda; got 'tpu'"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED[1:])
def test_what_could_not_run_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_names_are_there_once():
    problem = PROBLEMS["pca"]
    with pytest.raises(ValueError, match="problems: 'pca' occurs twice"):
        Plan((problem, problem))
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        Plan((problem,), steps=0)


def test_what_is_no_problem_or_method_is_refused():
    with pytest.raises(ValueError, match=r"problems: expected a name or a @tm.compare.problem"):
        plan_of([3])
    with pytest.raises(ValueError, match="grid: lr has no value"):
        tm.compare.method(grid={"lr": []}, name="m")(lambda model, config: None)
    with pytest.raises(ValueError, match="how must be one of riemannian, parametrized, plain"):
        tm.compare.method(how="both", name="m")(lambda model, config: None)
    with pytest.raises(TypeError, match="manifold: expected a manifold"):
        tm.compare.problem("sphere")
    with pytest.raises(TypeError, match="the parameter n needs a default value"):
        tm.compare.problem(tm.Sphere())(lambda generator, n: None)
    with pytest.raises(ValueError, match="pca has no parameter 'n'; parameters: it has none"):
        PROBLEMS["pca"].configured(n=3)
