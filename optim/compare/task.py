"""A problem in one precision and place, from one seed: a model to train and its measurements."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from torchmanifold.manifolds import Manifold, Product, Retraction
from torchmanifold.optim.compare.instance import Instance
from torchmanifold.optim.compare.method import Config, Method, Stepper
from torchmanifold.optim.compare.problem import Problem
from torchmanifold.weights import constrain

__all__ = ["DTYPES", "Point", "Task"]

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Point(nn.Module):
    """A module that is one point: a tensor as its parameter `weight`, or several by name.

    Args:
        x: a tensor, or a tuple or dict of them.

    Example:
        >>> import torch
        >>> [name for name, _ in Point((torch.ones(2), torch.ones(3))).named_parameters()]
        ['x0', 'x1']
    """

    def __init__(self, x: Any) -> None:
        super().__init__()
        self.kind = "tensor" if isinstance(x, Tensor) else "dict" if _is_dict(x) else "tuple"
        parts = named_parts(x)
        self.names = list(parts)
        for name, part in parts.items():
            self.register_parameter(name, nn.Parameter(part.detach().clone()))

    def forward(self) -> Any:
        """The point, as it was given."""
        parts = {name: getattr(self, name) for name in self.names}
        if self.kind == "dict":
            return parts
        return tuple(parts.values()) if self.kind == "tuple" else parts["weight"]


def _is_dict(x: Any) -> bool:
    return isinstance(x, Mapping)


def named_parts(x: Any) -> dict[str, Any]:
    """The tensors of a point, or the factors of its manifold, under the names of `Point`."""
    if isinstance(x, Mapping):
        return dict(x)
    if isinstance(x, tuple | list):
        return {f"x{i}": part for i, part in enumerate(x)}
    return {"weight": x}


def _cast(x: Any, dtype: torch.dtype, device: str) -> Any:
    if isinstance(x, Mapping):
        return {name: _cast(part, dtype, device) for name, part in x.items()}
    if isinstance(x, tuple | list):
        return tuple(_cast(part, dtype, device) for part in x)
    if x.is_floating_point():
        return x.to(device, dtype, copy=True)
    if x.is_complex():
        return x.to(device, torch.complex64 if dtype == torch.float32 else torch.complex128)
    return x.to(device)


class Task:
    """The model and the measurements of a run.

    Args:
        problem: the problem.
        seed: seed of its instance, and then of torch's global generator.
        dtype: "float32" or "float64".
        device: "cpu" or "cuda".

    Example:
        >>> from torchmanifold.optim.compare import find_problem
        >>> task = Task(find_problem("procrustes"), seed=0, dtype="float32", device="cpu")
        >>> task.measure()["residual"] < 1e-6
        True
    """

    def __init__(self, problem: Problem, seed: int, dtype: str, device: str) -> None:
        instance = problem.draw(seed)
        self.instance, self.device = instance, device
        self.data = _cast(instance.data, DTYPES[dtype], device)
        self._exact_data = _cast(instance.data, torch.float64, device)
        if instance.is_network:
            self.model: nn.Module = instance.initial.to(device)
        else:
            self.model = Point(_cast(instance.initial, DTYPES[dtype], device))
        self.weights = _weights(problem, instance)
        self.manifold = problem.manifold
        self.evaluations = 0

    def prepare(self, method: Method, values: Mapping[str, Any], steps: int) -> Stepper:
        """Constrain the weights as the method states, and let it build its optimizer.

        Args:
            method: the method.
            values: its hyperparameters.
            steps: the number of steps of the run.
        """
        weights = {
            name: _with_retraction(manifold, method.retraction)
            for name, manifold in self.weights.items()
        }
        if method.how != "plain":
            for name, manifold in weights.items():
                path, _, attribute = name.rpartition(".")
                constrain(self.model.get_submodule(path), attribute, manifold, how=method.how)
        stepper = method.build(self.model, Config(values, weights, steps))
        if self.instance.is_network:
            self.model.to(self.device)  # a method may have replaced a part
        return stepper

    def objective(self, step: int) -> Callable[[], Tensor]:
        """The loss of a step; each evaluation is counted."""
        arguments = self._arguments(step)

        def evaluate() -> Tensor:
            self.evaluations += 1
            return self.loss(self.model if self.instance.is_network else self.model(), arguments)

        return evaluate

    def loss(self, x: Any, arguments: tuple[Tensor, ...] | None = None) -> Tensor:
        """The loss of a point or model in the precision of the run."""
        return self.instance.loss(x, *(self.data if arguments is None else arguments))

    def _arguments(self, step: int) -> tuple[Tensor, ...]:
        if self.instance.batch is None:
            return self.data
        return tuple(part.to(self.device) for part in self.instance.batch(step))

    @torch.enable_grad()
    def measure(self, x: Any = None) -> dict[str, float]:
        """Loss, gap, gradient norm, residual, and the problem's own scores.

        The loss of a point is evaluated in float64.

        Args:
            x: the point; by default that of the model.
        """
        if self.instance.is_network:
            return self._measure_network()
        given = self.model() if x is None else x
        x = _cast(_detached(given), torch.float64, self.device)
        leaves = [part.requires_grad_() for part in named_parts(x).values()]
        loss = self.instance.loss(x, *self._exact_data)
        grads = torch.autograd.grad(loss, leaves, materialize_grads=True)
        egrad = _as_point(grads, x)
        assert isinstance(self.manifold, Manifold)
        with torch.no_grad():
            values = {
                "loss": loss.detach(),
                # For a batch of points: the norm over all, and the largest residual.
                "gradient_norm": torch.linalg.vector_norm(
                    self.manifold.norm(x, self.manifold.gradient(x, egrad))
                ),
                "residual": self.manifold.residual(_detached(given)).max(),
                **{name: f(x, *self._exact_data) for name, f in self.instance.scores.items()},
            }
        return self._with_gap({name: float(value) for name, value in values.items()})

    def _measure_network(self) -> dict[str, float]:
        with torch.no_grad():
            if self.instance.measure is not None:
                values = {k: float(v) for k, v in self.instance.measure(self.model).items()}
            else:
                values = {"loss": float(self.loss(self.model, self._arguments(0)))}
            if "residual" not in values:
                values["residual"] = self._residual()
        return self._with_gap(values)

    def _with_gap(self, values: dict[str, float]) -> dict[str, float]:
        if self.instance.exact is not None:
            values["gap"] = values["loss"] - self.instance.exact
        return values

    def _residual(self) -> float:
        """The largest residual of the weights that still exist."""
        found = [math.nan]
        for name, manifold in self.weights.items():
            try:
                weight = attrgetter(name)(self.model)
                manifold.check_shape(tuple(weight.shape))
            except (AttributeError, ValueError):  # the method has put another network in its place
                continue
            found.append(float(manifold.residual(weight.detach()).max()))
        return max(found[1:], default=math.nan)


def _weights(problem: Problem, instance: Instance) -> dict[str, Manifold]:
    if isinstance(problem.manifold, Mapping):
        return dict(problem.manifold)
    if isinstance(problem.manifold, Product):
        factors = problem.manifold.manifolds
        names = problem.manifold.names or list(named_parts(instance.initial))
        return dict(zip(names, factors, strict=True))
    return {"weight": problem.manifold}


def _with_retraction(manifold: Manifold, retraction: Retraction | None) -> Manifold:
    """The manifold with another retraction; for a view, that of the inner manifold."""
    if retraction is None:
        return manifold
    inner = getattr(manifold, "manifold", None)
    if inner is not None:
        return dataclasses.replace(manifold, manifold=_with_retraction(inner, retraction))  # type: ignore[call-arg]
    return dataclasses.replace(manifold, retraction=retraction)  # type: ignore[call-arg]


def _detached(x: Any) -> Any:
    return _as_point([part.detach() for part in named_parts(x).values()], x)


def _as_point(parts: Any, like: Any) -> Any:
    if isinstance(like, Mapping):
        return dict(zip(like, parts, strict=True))
    return tuple(parts) if isinstance(like, tuple | list) else parts[0]
