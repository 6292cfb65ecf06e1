"""The output of `verbose=True`: aligned columns, and on a terminal the present iteration."""

import sys

import torch

import torchmanifold as tm

F64 = torch.float64


def problem(count=1):
    a = torch.randn(8, 8, dtype=F64)
    x0 = tm.Sphere().random(count, 8, dtype=F64)
    return (lambda x: (x * (x @ a)).sum(-1)), x0 if count > 1 else x0[0]


def rows_of(text, ended):
    *table, message = text.splitlines()
    heading, *rows = table
    assert message == ended.message and {len(row) for row in rows} == {len(heading)}
    return heading, [row.split() for row in rows]


def test_iterations_are_printed_in_aligned_columns(capsys):
    fun, x0 = problem()
    silent = tm.minimize(fun, x0, tm.Sphere(), method="gradient-descent")
    assert capsys.readouterr().out == ""
    found = tm.minimize(fun, x0, tm.Sphere(), method="gradient-descent", verbose=True)
    heading, rows = rows_of(capsys.readouterr().out, found)
    assert heading.split()[:2] == ["iteration", "evaluations"] and found.nit == silent.nit > 20
    whole = [*range(10), *range(10, min(found.nit, 100), 10)]
    assert [int(row[0]) for row in rows[: len(whole)]] == whole
    assert int(rows[-1][0]) == found.nit and int(rows[-1][1]) == found.nfev
    values = {f"{value:.10e}" for value in found.history["fun"].tolist()}
    assert all(row[2] in values for row in rows)


def test_the_problems_that_run_are_counted(capsys):
    fun, x0 = problem(5)
    found = tm.minimize(fun, x0, tm.Sphere(), verbose=True)
    heading, rows = rows_of(capsys.readouterr().out, found)
    running = [int(row[2]) for row in rows]
    assert "running" in heading and running[0] == 5 and running[-1] < 5
    assert running == sorted(running, reverse=True)
    assert float(rows[-1][4]) <= 1e-6


def test_a_terminal_shows_the_present_iteration(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr("torchmanifold.optim.solvers.columns._OFTEN", 0.0)
    fun, x0 = problem()
    found = tm.minimize(fun, x0, tm.Sphere(), method="gradient-descent", verbose=True)
    shown = capsys.readouterr().out.split("\r")
    numbers = [int(row.split()[0]) for row in shown[2:]]
    assert list(dict.fromkeys(numbers)) == list(range(found.nit + 1))
    assert "\n" not in shown[2 + 11] and shown[2 + 20].endswith("\n")


def test_sums_of_squares_and_rounds_of_constraints_are_printed_too(capsys):
    x0 = torch.ones(3, dtype=F64)
    found = tm.least_squares(lambda x: x**2 - 2, x0, verbose=True)
    rows_of(capsys.readouterr().out, found)
    held = tm.minimize(
        lambda x: x.sum(), x0,
        constraints=tm.Inequality(lambda x: 1 - x @ x), verbose=True,
    )  # fmt: skip
    heading, rows = rows_of(capsys.readouterr().out, held)
    assert heading.split()[0] == "round" and int(rows[-1][0]) == held.rounds == len(rows)
