"""Recurrent networks: starts, training, gradients through time, checkpoints."""

import dataclasses
import math
import sys
from types import SimpleNamespace

import pytest
import torch

from torchmanifold.optim.compare.recurrent import (
    RECURRENT,
    SIZES,
    Adding,
    Copying,
    Pixels,
    TensorBoard,
    train,
)
from torchmanifold.optim.compare.recurrent import train as train_function
from torchmanifold.optim.compare.recurrent.methods import build
from torchmanifold.optim.compare.recurrent.networks import gradients_through_time
from torchmanifold.optim.compare.recurrent.settings import RecurrentRun, rates_of
from torchmanifold.optim.compare.recurrent.train import checkpoint_of

RUN = RecurrentRun(
    task=Copying(6, recall=2), method="cayley", lr=3e-3, seed=0, steps=6, record=2, hidden=12,
    batch=8, init="henaff", kernel_factor=0.1, device="cpu",
)  # fmt: skip
ORTHOGONAL = [name for name, method in RECURRENT.items() if method.constrained]
MODRELU = [name for name in (*ORTHOGONAL, "modrelu") if name != "geotorch-tanh"]


def made(method, task=RUN.task, seed=0):
    torch.manual_seed(seed)
    return build(RECURRENT[method], task.inputs, 12, task.outputs, task.every, "henaff", 1e-3, 0.1)


def untimed(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.mark.parametrize("method", RECURRENT)
def test_a_run_of_every_method(method):
    rows = train(dataclasses.replace(RUN, method=method))
    assert [row["iteration"] for row in rows] == [0, 2, 4, 6]
    assert [row["final"] for row in rows] == [False, False, False, True]
    assert rows[-1]["loss"] < rows[0]["loss"] and not rows[-1]["diverged"]
    assert 0 < rows[1]["seconds"] < rows[2]["seconds"]
    if RECURRENT[method].constrained:
        assert all(row["residual"] < 1e-5 for row in rows)
    elif method == "lstm":
        assert math.isnan(rows[-1]["residual"])
    else:
        assert rows[-1]["residual"] > 1e-4
    assert len(rows[0]["through_time"]) == len(rows[-1]["through_time"]) == 6 + 2 * 2 + 1


def test_all_modrelu_networks_start_at_the_same_function():
    x, _ = RUN.task.heldout()
    reference = made(MODRELU[0])[0](x)
    for method in MODRELU[1:]:
        torch.testing.assert_close(made(method)[0](x), reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ORTHOGONAL)
def test_the_kernel_has_its_own_rate(method):
    model, optimizer = made(method)
    groups = [(group["lr"], len(group["params"])) for group in optimizer.param_groups]
    assert groups[-1] == (pytest.approx(1e-4), 1)
    assert groups[0][0] == 1e-3
    assert sum(count for _, count in groups) == len(list(model.parameters()))


@pytest.mark.parametrize("method", ["cayley", "torch-orthogonal", "geotorch-tanh", "lstm", "rnn"])
@pytest.mark.parametrize("task", [Copying(4, recall=2), Adding(7)], ids=lambda task: task.name)
def test_gradients_through_time(method, task):
    """Against a perturbation of the first state, and without a trace in the model."""
    model, _ = made(method, task)
    model.double()
    x, y = task.batch(0, 0, 5)
    x, y = x.double(), y.double() if y.is_floating_point() else y
    norms = gradients_through_time(model, task.loss, x, y)
    assert norms.shape == (len(x) + 1,)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    zero = torch.zeros(1, 5, 12, dtype=torch.float64)
    first = [zero.clone().requires_grad_() for _ in range(2 if method == "lstm" else 1)]
    states, _ = model.rnn(x, tuple(first) if method == "lstm" else first[0])
    last = (states[-1:], y[-1:]) if task.every else (states[-1], y)
    loss = task.loss(model.head(last[0]), last[1])
    grads = torch.autograd.grad(loss, first)
    expected = torch.stack([g.square().sum() for g in grads]).sum().sqrt()
    assert float(norms[0]) == pytest.approx(float(expected), rel=1e-9)


def test_an_orthogonal_identity_keeps_the_gradient():
    """With bias 0 modReLU is the identity, and the norm is the same at all steps."""
    task = Adding(40)
    model, _ = made("exp", task)
    torch.nn.init.zeros_(model.rnn.bias_ih_l0)
    norms = gradients_through_time(model, task.loss, *task.batch(0, 0, 5))
    torch.testing.assert_close(norms, norms[-1].expand_as(norms), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    "method", ["exp-every100", "cayley-every1", "riemannian-adam", "geotorch", "torch-orthogonal",
               "lstm"],
)  # fmt: skip
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path, method):
    run = dataclasses.replace(RUN, method=method, task=Pixels(), batch=300, steps=9, record=3)
    whole = train(run)
    assert run.steps > 2 * run.task.epoch(run.batch)  # past the end of an epoch, twice

    class Interrupted(Exception):
        pass

    def stop(run, row):
        if row["iteration"] == 6:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(run, tmp_path, log=stop)
    seen = []
    rows = train(run, tmp_path, log=lambda run, row: seen.append(row["iteration"]))
    assert seen == [9]
    for row, expected in zip(untimed(rows), untimed(whole), strict=True):
        assert row.keys() == expected.keys()
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-6)
    finished = train(run, tmp_path, log=lambda run, row: seen.append(row))
    assert [row["seconds"] for row in finished] == [row["seconds"] for row in rows]
    assert seen == [9]


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    train(RUN, tmp_path)
    before = checkpoint_of(tmp_path, RUN).read_bytes()
    with pytest.raises(ValueError, match="is of another run"):
        train(dataclasses.replace(RUN, hidden=13), tmp_path)
    assert checkpoint_of(tmp_path, RUN).read_bytes() == before


def test_a_checkpoint_has_the_trained_network(tmp_path):
    rows = train(RUN, tmp_path)
    model, _ = made("cayley", seed=1)
    model.load_state_dict(torch.load(checkpoint_of(tmp_path, RUN), weights_only=True)["model"])
    x, y = RUN.task.heldout()
    assert RUN.task.loss(model(x), y).item() == pytest.approx(rows[-1]["loss"], rel=1e-6)


def test_divergence_ends_a_run():
    rows = train(dataclasses.replace(RUN, method="modrelu", lr=1e20, steps=40))
    assert rows[-1]["diverged"] and rows[-1]["final"] and rows[-1]["iteration"] < 40
    assert all(math.isfinite(value) for _, value in rows[-1]["through_time"])


def test_threads_and_random_state_are_left_alone():
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    train_function(dataclasses.replace(RUN, steps=1), threads=threads + 1)
    assert torch.equal(state, torch.get_rng_state()) and torch.get_num_threads() == threads


def test_copying_is_learnt():
    """The whole point, small: ours is far below what can be had without memory, the LSTM not."""
    run = dataclasses.replace(
        RUN, task=Copying(20), steps=150, record=150, hidden=64, batch=32, lr=5e-3
    )
    ours, lstm = (train(dataclasses.replace(run, method=m))[-1] for m in ("cayley", "lstm"))
    assert ours["loss"] < 0.1 * ours["baseline"] and ours["accuracy"] > 0.95
    assert lstm["loss"] > 0.5 * lstm["baseline"]


def test_tensorboard_gets_the_scalars_of_every_row(tmp_path, monkeypatch):
    """The package is optional, so what it is told is looked at here, not what it writes."""
    told, flushed = [], []

    class SummaryWriter:
        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, name, value, step):
            told.append((self.folder, name, value, step))

        def flush(self):
            flushed.append(len(told))

    fake = SimpleNamespace(SummaryWriter=SummaryWriter)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    run = dataclasses.replace(RUN, method="lstm")
    rows = train(run, log=TensorBoard(tmp_path))
    folder = str(tmp_path / "lstm-lr0.003-seed0")
    assert told == [
        (folder, f"rnn-copy/{name}", row[name], row["iteration"])
        for row in rows
        for name in ("loss", "accuracy")  # an LSTM has no residual
    ]
    assert flushed == [2, 4, 6, 8]


def test_published_sizes():
    copying = SIZES["rnn-copy"]["published"]
    assert (copying.hidden, copying.batch, copying.steps, copying.length) == (190, 128, 4000, 1000)
    rates = {name: size.lr for name, size in SIZES["rnn-mnist"].items()}
    assert rates["published-512"] == 3e-4 and rates["published-permuted-512"] == 5e-4
    assert rates_of(copying).keys() == RECURRENT.keys()
