"""The transformer: one first function for all methods, sets that are kept, and several widths."""

import dataclasses
import math

import pytest
import torch

from torchmanifold.optim.compare import METHODS, PROBLEMS, Run, perform, plan_of
from torchmanifold.optim.compare.problems.text import characters
from torchmanifold.optim.compare.task import Task

TINY = PROBLEMS["transformer"].configured(width=16, length=12, batch=4)
NAMES = PROBLEMS["transformer"].methods


def run_of(method, steps=12):
    lr = METHODS[method].grid["lr"][1]
    parameters = tuple(TINY.parameters.items())
    return Run("transformer", method, (("lr", lr),), 0, steps, parameters=parameters)


@pytest.mark.parametrize("method", NAMES)
def test_a_run_of_every_method(method):
    rows = perform(run_of(method))
    chance = math.log(characters()[2])
    assert rows[0]["loss"] == pytest.approx(chance, rel=1e-5)  # the head begins at zero
    assert rows[-1]["loss"] < 0.97 * chance and not rows[-1]["diverged"]
    if METHODS[method].constrained:
        assert all(row["residual"] < 2e-6 for row in rows)
    else:
        assert rows[-1]["residual"] > 0.01


def test_all_methods_begin_with_the_same_function():
    x, _ = TINY.probe.batch(0)
    with torch.random.fork_rng():
        tasks = [Task(TINY, 0, "float32", "cpu") for _ in NAMES]
    torch.nn.init.ones_(tasks[0].model.head.weight[0].data)
    expected = tasks[0].model(x)
    for task, name in zip(tasks, NAMES, strict=True):
        task.prepare(METHODS[name], {"lr": 0.1}, 1)
        task.model.head.load_state_dict(tasks[0].model.head.state_dict())
        torch.testing.assert_close(task.model(x), expected, rtol=1e-5, atol=1e-5)


def test_rates_fall_to_zero_also_in_a_continued_run(tmp_path):
    class Interrupted(Exception):
        pass

    def stop(run, row):
        if row["iteration"] == 5:
            raise Interrupted

    run = run_of("lm-stiefel-muon")
    whole = perform(run)
    with pytest.raises(Interrupted):
        perform(run, tmp_path, log=stop)
    again = perform(run, tmp_path)
    losses = [[row["loss"] for row in rows] for rows in (whole, again)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    (path,) = tmp_path.glob("*.pt")
    state = torch.load(path, weights_only=True)["optimizer"]
    assert [group["lr"] for group in state["param_groups"]] == [0, 0, 0]


def test_several_widths_are_several_problems():
    problems = TINY.over("width", (16, 32))
    plan = plan_of(problems, ["lm-adamw"], seeds=1, steps=1, grid={"lr": [0.01]})
    rows = [perform(run)[-1] for run in plan.runs()]
    assert [row["problem"] for row in rows] == ["transformer-width16", "transformer-width32"]
    assert rows[0]["loss"] != rows[1]["loss"]
    runs = list(plan.runs())
    assert runs[0].id != runs[1].id
    assert runs[0].id == dataclasses.replace(runs[0], name="transformer").id
    assert PROBLEMS["rnn-adding"].over("input_std", (0.5,))[0].name == "rnn-adding-input_std0_5"
