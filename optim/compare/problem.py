"""A problem of a comparison: a loss on a manifold or of a network."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from torchmanifold.manifolds import Manifold
from torchmanifold.optim.compare.instance import Instance, Panel

__all__ = ["Problem", "check_name", "problem", "reference_of"]


@dataclass(frozen=True)
class Problem:
    """A problem on which methods are compared.

    Args:
        name: name on the command line and in results.
        title: heading in figures.
        make: `make(generator, **parameters) -> Instance`; the generator is seeded by the run, and
            so is torch's own.
        manifold: the manifold of the point; for a network a manifold for each dotted name of a
            weight.
        optimum: the origin of the exact value, in words.
        parameters: the parameters with their default values.
        reference: the reference by which another process finds the problem: `"name"`,
            `"module:name"` or `"file.py:name"`.
        optional: whether the loss has a minimum without the constraint too.
        dtypes: precisions in which the problem is solved.
        steps: the default number of steps.
        spacing: "log" or "linear": the spacing of the records along a run.
        methods: names of the methods that run if none is named; empty for those of the preset.
        grids: values of hyperparameters for single methods, or for all under "*".
        presets: parameters and `steps` that belong together, by the name of the preset.

    Example:
        >>> from torchmanifold.optim.compare import find_problem
        >>> problem = find_problem("rnn-copy").configured(length=20)
        >>> problem.description["title"]
        'Copying memory, K = 10, L = 20'
    """

    name: str
    title: str
    make: Callable[..., Instance]
    manifold: Manifold | Mapping[str, Manifold]
    optimum: str = "not known"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    reference: str = ""
    optional: bool = False
    dtypes: tuple[str, ...] = ("float32", "float64")
    steps: int = 200
    spacing: str = "log"
    methods: tuple[str, ...] = ()
    grids: Mapping[str, Mapping[str, tuple[Any, ...]]] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a name that a file could not have."""
        check_name("problem", self.name)

    def configured(self, **parameters: Any) -> Problem:
        """The same problem with other values of its parameters.

        Raises:
            ValueError: for a name that is not one of its parameters.
        """
        unknown = [name for name in parameters if name not in self.parameters]
        if unknown:
            known = ", ".join(self.parameters) or "it has none"
            raise ValueError(f"{self.name} has no parameter {unknown[0]!r}; parameters: {known}")
        return dataclasses.replace(self, parameters={**self.parameters, **parameters})

    def over(self, parameter: str, values: Iterable[Any]) -> list[Problem]:
        """The same problem for several values of a parameter, which its name tells.

        Raises:
            ValueError: for a name that is not one of its parameters.

        Example:
            >>> from torchmanifold.optim.compare import find_problem
            >>> [problem.name for problem in find_problem("rnn-copy").over("length", (100, 200))]
            ['rnn-copy-length100', 'rnn-copy-length200']
        """
        return [
            dataclasses.replace(
                self.configured(**{parameter: value}),
                name=re.sub(r"[^\w-]", "_", f"{self.name}-{parameter}{value}"),
            )
            for value in values
        ]

    def draw(self, seed: int) -> Instance:
        """The instance of a seed; this seeds torch's global generator."""
        torch.manual_seed(seed)
        made = self.make(torch.Generator().manual_seed(seed), **self.parameters)
        if isinstance(made, Mapping):
            made = Instance(**made)
        if not isinstance(made, Instance):
            raise ValueError(
                f"problem {self.name}: its function must return tm.compare.Instance(loss=..., "
                f"initial=...), got {type(made).__name__}"
            )
        return made

    @cached_property
    def probe(self) -> Instance:
        """The instance of seed 0, made once; torch's global generator stays as it was."""
        with torch.random.fork_rng():
            return self.draw(0)

    @property
    def is_network(self) -> bool:
        """Whether it trains a network."""
        return self.probe.is_network

    @property
    def manifolds(self) -> tuple[Manifold, ...]:
        """The manifolds of its weights."""
        if isinstance(self.manifold, Mapping):
            return tuple(self.manifold.values())
        factors = getattr(self.manifold, "manifolds", None)
        return tuple(factors) if factors is not None else (self.manifold,)

    @property
    def panels(self) -> tuple[Panel, ...]:
        """The panels of its figures."""
        if self.probe.panels is not None:
            return self.probe.panels
        gap = self.probe.exact is not None
        y, label = ("gap", r"gap $|f(x) - f^*|$") if gap else ("loss", "loss")
        log = gap
        return (
            Panel(y, label, log=log),
            Panel(y, label, "seconds", "seconds of steps", log=log),
            Panel("residual", "residual"),
            *(Panel(name, name.replace("_", " "), log=False) for name in self.probe.scores),
        )

    @property
    def description(self) -> dict[str, Any]:
        """The description for a results folder, enough to draw its figures without the code."""
        return {
            "reference": self.reference,
            "title": self.probe.title or self.title,
            "parameters": {name: _plain(value) for name, value in self.parameters.items()},
            "exact": self.probe.exact is not None,
            "optimum": self.optimum,
            "network": self.is_network,
            "solved": list(self.probe.solved) if self.probe.solved else None,
            "panels": [dataclasses.asdict(panel) for panel in self.panels],
        }


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def problem(
    manifold: Manifold | Mapping[str, Manifold], title: str | None = None, **fields: Any
) -> Callable[[Callable[..., Any]], Problem]:
    """Turn a function of a generator into a problem.

    Keyword parameters of the function, with their default values, become the parameters of the
    problem: options of the command line, and of `Problem.configured`.

    Args:
        manifold: the manifold of the point; for a network a manifold for each dotted name of a
            weight.
        title: heading in figures; the name of the function by default.
        fields: further fields of `Problem`.

    Returns:
        A decorator that turns the function into a `Problem`.

    Raises:
        TypeError: for parameters without a default value, or a value that is not a manifold.

    Example:
        >>> import torch, torchmanifold as tm
        >>> @tm.compare.problem(tm.Sphere(), title="least eigenvector")
        ... def eigenvector(generator, n=5):
        ...     a = torch.diag(torch.arange(float(n)))
        ...     x = tm.Sphere().random(n, generator=generator)
        ...     return tm.compare.Instance(lambda x, a: x @ a @ x / 2, x, data=(a,), exact=0.0)
        >>> eigenvector.name, dict(eigenvector.parameters)
        ('eigenvector', {'n': 5})
    """
    kinds = manifold.values() if isinstance(manifold, Mapping) else [manifold]
    for kind in kinds:
        if not isinstance(kind, Manifold):
            raise TypeError(f"manifold: expected a manifold as tm.Sphere(), got {kind!r}")

    def decorate(make: Callable[..., Any]) -> Problem:
        _, *rest = inspect.signature(make).parameters.values()
        missing = [p.name for p in rest if p.default is inspect.Parameter.empty]
        if missing:
            raise TypeError(f"{make.__name__}: the parameter {missing[0]} needs a default value")
        given = {
            "name": make.__name__.replace("_", "-"),
            "parameters": {p.name: p.default for p in rest},
            "reference": reference_of(make),
            **fields,
        }
        given.setdefault("title", title or given["name"])
        return Problem(make=make, manifold=manifold, **given)

    return decorate


def reference_of(function: Callable[..., Any]) -> str:
    """The reference by which another process finds the decorated function; empty if it cannot.

    Example:
        >>> from torchmanifold.optim.compare.problem import reference_of
        >>> reference_of(reference_of)
        'torchmanifold.optim.compare.problem:reference_of'
    """
    if "." in function.__qualname__:
        return ""  # defined within a function, so its name finds nothing
    file = function.__globals__.get("__file__")
    if function.__module__ == "__main__" or function.__globals__.get("__experiment__"):
        return f"{file}:{function.__name__}" if file else ""
    return f"{function.__module__}:{function.__name__}"


def check_name(kind: str, name: str) -> None:
    """Refuse a name with characters that files and options cannot have.

    Raises:
        ValueError: for such a name.
    """
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(
            f"{kind}: a name has only letters, digits, - and _, got {name!r}; give name="
        )
