"""The benchmark of solvers: the time to the same gradient norm from the same initial point.

A time means little without the value that it led to. The residual of a row is the excess of its
value over the least value of all contenders, relative to that value. If the gradient norm of a row
missed the tolerance, a note stands beside its counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

import torchmanifold as tm

from . import peers
from .benchmark import Benchmark, Piece, Settings
from .peers import Solved
from .solver_completion import completion
from .solver_problems import BATCHED, PROBLEMS, Problem, spd_mean
from .table import Target
from .timing import Contender, Work

__all__ = ["SOLVERS"]

TOLERANCE = 1e-6
LIMIT = 3000  # iterations
MANY = 1000  # problems of a batch
#: our trust region against theirs, both with derivatives by autograd
LIKE = {("torch", "TrustRegions"): (Target.faster(4),)}
#: a batch against a loop over its problems
BATCH = Target.faster(50)


class _Race:
    """Contenders with their results."""

    def __init__(self) -> None:
        self.contenders: list[Contender] = []
        self.found: dict[str, Solved] = {}

    def enter(
        self, who: str, solve: Callable[[], Solved], *targets: Target, ours: bool = False
    ) -> None:
        """One more contender."""

        def call() -> None:
            self.found[who] = solve()

        self.contenders.append(
            Contender(
                who,
                call,
                residual=lambda: self.excess(who),
                ours=ours,
                targets=targets,
                number=1,
                note=lambda: self.found[who].counts(TOLERANCE),
            )
        )

    def excess(self, who: str) -> float:
        """The excess of the value over the least one, relative to it."""
        best = min(solved.value for solved in self.found.values())
        return (self.found[who].value - best) / max(abs(best), 1e-300)


def _pieces(settings: Settings) -> Iterator[Piece]:
    for made in (*PROBLEMS, completion):
        yield Piece(made.__name__.replace("_", "-"), partial(_one, settings, made))
    for many in BATCHED:
        yield Piece("batch-" + many.__name__.replace("_", "-"), partial(_many, settings, many))
    yield Piece("argmin", partial(_implicit, settings))


def _solve(problem: Problem, method: str, **derivatives: Any) -> Solved:
    result = tm.minimize(
        problem.fun,
        problem.x0,
        problem.manifold,
        method,
        args=problem.args,
        tol=TOLERANCE,
        stop=tm.stop.Iterations(LIMIT),
        **derivatives,
    )
    ends = (result.fun, result.gradient_norm, result.nit)  # numbers, or tensors if there are many
    value, norm, steps = (torch.as_tensor(end, dtype=torch.float64) for end in ends)
    return Solved(float(value.sum()), float(norm.max()), int(steps.max()), result.nfev, result.nhev)


def _least_squares(problem: Problem) -> Solved:
    assert problem.residuals is not None
    found = tm.least_squares(
        problem.residuals, problem.x0, problem.manifold, args=problem.args, tol=TOLERANCE
    )
    return Solved(found.fun, found.gradient_norm, found.nit, found.nfev, found.nhev)


def _one(settings: Settings, made: Callable[[bool], Problem]) -> Work:
    problem = made(settings.quick).to(settings.device)
    race = _Race()
    race.enter("ours, trust region", partial(_solve, problem, "trust-region"), ours=True)
    race.enter("ours, L-BFGS", partial(_solve, problem, "lbfgs"), ours=True)
    if problem.residuals is not None:
        squares = partial(_least_squares, problem)
        race.enter("ours, Levenberg-Marquardt", squares, ours=True)
    hand = {"jac": problem.gradient, "hessp": problem.hessian}
    if problem.gradient is not None:
        by_hand = partial(_solve, problem, "trust-region", **hand)
        race.enter("ours, trust region, by hand", by_hand, ours=True)
    if peers.has("pymanopt"):
        for backend in peers.pymanopt_backends(problem.gradient is not None):
            for method in problem.peer_methods:
                solve = peers.pymanopt_solver(problem, method, backend, TOLERANCE, LIMIT)
                race.enter(f"pymanopt {backend}, {method}", solve, *LIKE.get((backend, method), ()))
    return Work(problem.name, race.contenders)


def _many(settings: Settings, made: Callable[[int], Problem]) -> Work:
    count = 3 if settings.quick else MANY
    problem = made(count).to(settings.device)
    race = _Race()
    race.enter("ours, L-BFGS", partial(_solve, problem, "lbfgs"), ours=True)
    race.enter("ours, trust region", partial(_solve, problem, "trust-region"), ours=True)
    if peers.has("pymanopt"):
        for method in ("TrustRegions", "ConjugateGradient"):
            solve = peers.pymanopt_loop(problem, method, "torch", TOLERANCE, LIMIT)
            race.enter(f"pymanopt torch, {method}, loop", solve, BATCH)
    return Work(f"{count} x {problem.name}", race.contenders)


def _implicit(settings: Settings) -> Work:
    """The derivative of a solution in its data, beside the solution."""
    problem = spd_mean(settings.quick).to(settings.device)
    (data,) = problem.args
    data = data.clone().requires_grad_()
    weight = torch.randn_like(problem.x0)

    def solution(data: Tensor) -> Tensor:
        x: Tensor = tm.argmin(problem.fun, problem.x0, problem.manifold, args=(data,), tol=1e-9)
        return (x * weight).sum()

    kept = solution(data)

    def backward() -> Tensor:
        return torch.autograd.grad(kept, data, retain_graph=True)[0]

    def error() -> float:
        direction, h = tm.Symmetric().project(torch.randn_like(data)), 1e-5
        with torch.no_grad():
            change = solution(data + h * direction) - solution(data - h * direction)
        slope = (backward() * direction).sum()
        return float((change / (2 * h) - slope).abs() / slope.abs())

    contenders = [
        Contender("ours, solution", lambda: solution(data), lambda: 0.0, ours=True, number=1),
        Contender(
            "ours, its backward pass",
            backward,
            error,
            ours=True,
            targets=(Target("ratio", 0.25),),
            number=1,
        ),
    ]
    return Work(f"argmin, {problem.name}", contenders)


SOLVERS = Benchmark("solvers", "minimize against pymanopt; batches; argmin", _pieces)
