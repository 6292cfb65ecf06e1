"""A method of a comparison: how a model's weights are constrained, and the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from torchmanifold.manifolds import Manifold, Retraction
from torchmanifold.optim.compare.problem import Problem, check_name, reference_of

__all__ = ["Config", "Look", "Loop", "Method", "Solver", "Stepper", "method"]

HOW = ("riemannian", "parametrized", "plain")


class Config(Mapping[str, Any]):
    """The hyperparameters of a run, the manifolds of the model's weights, and the run's length.

    Args:
        values: hyperparameters by name.
        weights: the manifold of each constrained weight, by its dotted name in the model.
        steps: the number of steps of the run, for schedules of the learning rate.

    Example:
        >>> config = Config({"lr": 0.1})
        >>> config["lr"], config.lr, config.get("momentum", 0.9)
        (0.1, 0.1, 0.9)
    """

    def __init__(
        self, values: Mapping[str, Any], weights: Mapping[str, Manifold] = {}, steps: int = 1
    ) -> None:
        self._values = dict(values)
        self.weights = dict(weights)
        self.steps = steps

    def __getitem__(self, name: str) -> Any:
        """The value of a hyperparameter."""
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        """The names of the hyperparameters."""
        return iter(self._values)

    def __len__(self) -> int:
        """The number of hyperparameters."""
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        """A hyperparameter by attribute."""
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"this method has no hyperparameter {name!r}") from None


@dataclass(frozen=True)
class Solver:
    """A solver of `tm.minimize`, as a method of a comparison.

    Args:
        method: as for `tm.minimize`: a name, or a value such as `tm.optim.solvers.LBFGS(memory=5)`.
        tol: the gradient norm at which it stops.
        options: fields of the method.

    Example:
        >>> Solver("lbfgs", options={"memory": 5}).method
        'lbfgs'
    """

    method: Any
    tol: float = 1e-12
    options: Mapping[str, Any] = field(default_factory=dict)


# A function of an iteration and its point.
Look = Callable[[int, Any], None]


@dataclass(frozen=True)
class Loop:
    """A solver of another library, which owns its loop, as a method of a comparison.

    Args:
        minimize: `minimize(loss, x, steps, tol, look)` minimizes `loss(x)` from the point `x` in at
            most so many steps and calls `look(iteration, x)` at each point, also at the last.
        tol: the gradient norm at which it stops.

    Example:
        >>> Loop(lambda loss, x, steps, tol, look: look(steps, x)).tol
        1e-12
    """

    minimize: Callable[[Callable[[Any], Tensor], Any, int, float, Look], None]
    tol: float = 1e-12


# The closure of an optimizer evaluates the loss and its gradient; the closure of a function of one
# step evaluates only the loss.
Stepper = Optimizer | Solver | Loop | Callable[[Callable[[], Tensor]], Any]


@dataclass(frozen=True)
class Method:
    """A way to minimize the loss of a model whose weights lie on manifolds.

    Args:
        name: name on the command line and in results.
        build: `build(model, config)` returns an optimizer, a `Solver`, a `Loop`, or a function
            `step(objective)` that makes one step on `objective() -> loss`.
        grid: the values of each hyperparameter; every combination is one run.
        accepts: further hyperparameters that `build` understands.
        how: the constraint of the weights when `build` is called: "riemannian" or "parametrized",
            as for `tm.constrain`, or "plain": the weights are on their manifolds, and the method
            must constrain them.
        retraction: the retraction of the manifolds; their own if None.
        about: one line for `torchmanifold list`.
        family: methods of one family are drawn together if there are many methods.
        applies: `applies(problem)`: whether the method can be used; by default on every problem
            whose manifold has the retraction.
        constrained: whether the weights stay on their manifolds.
        reference: the reference by which another process finds the method: `"name"`,
            `"module:name"` or `"file.py:name"`.
    """

    name: str
    build: Callable[[nn.Module, Config], Stepper]
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    accepts: tuple[str, ...] = ()
    how: Literal["riemannian", "parametrized", "plain"] = "riemannian"
    retraction: Retraction | None = None
    about: str = ""
    family: str = "others"
    applies: Callable[[Problem], bool] | None = None
    constrained: bool = True
    reference: str = ""

    def __post_init__(self) -> None:
        """Refuse values with which the method could not run."""
        check_name("method", self.name)
        if self.how not in HOW:
            raise ValueError(f"how must be one of {', '.join(HOW)}; got {self.how!r}")
        _checked(self.grid)

    def works_on(self, problem: Problem) -> bool:
        """Whether it can be used on a problem."""
        if not self.constrained and not problem.optional:
            return False
        if self.applies is not None:
            return self.applies(problem)
        kind = type(self.retraction)
        return self.retraction is None or all(
            kind in getattr(manifold, "retractions", {}) for manifold in problem.manifolds
        )

    @property
    def description(self) -> dict[str, Any]:
        """The description for a results folder."""
        return {"reference": self.reference, "family": self.family, "about": self.about}


def _checked(grid: Mapping[str, Any] | None) -> Iterable[tuple[str, Any]]:
    """The entries of a grid.

    Raises:
        ValueError: for a hyperparameter without a list of values.
    """
    for name, values in (grid or {}).items():
        if isinstance(values, str) or not isinstance(values, tuple | list):
            raise ValueError(f"grid: {name} needs a list of values, got {values!r}")
        if not values:
            raise ValueError(f"grid: {name} has no value; give at least one")
    return (grid or {}).items()


def method(
    grid: Mapping[str, tuple[Any, ...] | list[Any]] | None = None, **fields: Any
) -> Callable[[Callable[[nn.Module, Config], Stepper]], Method]:
    """Turn a function of a model and a configuration into a method.

    Args:
        grid: the values of each hyperparameter.
        fields: further fields of `Method`.

    Returns:
        A decorator that turns the function into a `Method`.

    Raises:
        ValueError: for a hyperparameter without values, or an unknown `how`.

    Example:
        >>> import torchmanifold as tm
        >>> @tm.compare.method(grid={"lr": [0.01, 0.1]})
        ... def heavy_ball(model, config):
        ...     return tm.optim.RiemannianSGD(model, lr=config["lr"], momentum=0.9)
        >>> heavy_ball.name
        'heavy-ball'
    """

    def decorate(build: Callable[[nn.Module, Config], Stepper]) -> Method:
        about = (build.__doc__ or "").strip().partition("\n")[0]
        given = {
            "name": build.__name__.replace("_", "-"),
            "about": about,
            "family": "yours",
            "reference": reference_of(build),
            **fields,
        }
        return Method(
            build=build, grid={name: tuple(values) for name, values in _checked(grid)}, **given
        )

    return decorate
