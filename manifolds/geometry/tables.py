"""The tables of a manifold, and the choice among their rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from torch import nn

from torchmanifold.manifolds.geometry.metrics import Metric, MetricRule
from torchmanifold.manifolds.geometry.retractions import Retraction, RetractionRule

__all__ = ["Tables"]


@dataclass(frozen=True)
class Tables(ABC):
    """The abilities of a manifold, as data: a row for each metric, and one for each retraction.

    Raises:
        ValueError: for a metric or a retraction that is not in the tables, or a pair of them that
            does not go together; the message names the possible ones.
    """

    @property
    @abstractmethod
    def metric(self) -> Metric:
        """The chosen metric."""

    @property
    @abstractmethod
    def retraction(self) -> Retraction:
        """The chosen retraction."""

    @property
    @abstractmethod
    def metrics(self) -> Mapping[type[Metric], MetricRule]:
        """The row of each metric."""

    @property
    @abstractmethod
    def retractions(self) -> Mapping[type[Retraction], RetractionRule]:
        """The row of each retraction."""

    def __post_init__(self) -> None:
        """Refuse metrics and retractions that are not in the tables."""
        for what, given, table in (
            ("metric", self.metric, self.metrics),
            ("retraction", self.retraction, self.retractions),
        ):
            if type(given) not in table:
                raise ValueError(
                    f"{type(self).__name__}: {what} must be one of {_listed(table)}, "
                    f"got {_described(given, table)}"
                )
        if type(self.metric) not in self.retraction_rule.order:
            pairs = [r for r, rule in self.retractions.items() if type(self.metric) in rule.order]
            raise ValueError(
                f"{type(self).__name__}: {self.retraction!r} does not go with {self.metric!r}; "
                f"with this metric the retraction can be {_listed(pairs)}"
            )

    @property
    def metric_rule(self) -> MetricRule:
        """The row of the chosen metric."""
        return self.metrics[type(self.metric)]

    @property
    def retraction_rule(self) -> RetractionRule:
        """The row of the chosen retraction."""
        return self.retractions[type(self.retraction)]

    def offers(self, name: str) -> bool:
        """Whether the method of that name exists for the chosen metric and retraction.

        Args:
            name: `"steepest"`, `"hessian"`, `"weingarten"`, `"exp"`, `"log"`, `"dist"`,
                `"parallel_transport"`, `"injectivity_radius"` or `"inverse_retract"`.

        Example:
            >>> import torchmanifold as tm
            >>> tm.Sphere().offers("log"), tm.FixedRank(2).offers("log")
            (True, False)
        """
        rule = self.metric_rule
        if name == "inverse_retract":
            return self.retraction_rule.inverse is not None
        if name == "steepest" and getattr(self, "event_ndim", None) in (0, 1, 2):
            return True
        if name == "dist" and rule.log is not None:
            return True
        if name == "hessian" and rule.weingarten is not None:
            return True
        row: object = getattr(rule, name)
        return row is not None

    def lacks(self, name: str) -> NoReturn:
        """Raise the error for a missing row."""
        raise NotImplementedError(
            f"{self!r}: no exact {name} is known in closed form for {self.metric!r}"
        )


def _listed(kinds: Any) -> str:
    return ", ".join(f"{kind.__name__}()" for kind in kinds) or "none"


def _described(given: object, table: Any) -> str:
    """The value; for a map with the name of a retraction, also the name of that retraction."""
    name = type(given).__name__
    if isinstance(given, nn.Module) and name in {kind.__name__ for kind in table}:
        return f"the map tm.maps.{name}(); the retraction of that name is tm.{name}()"
    return repr(given)
