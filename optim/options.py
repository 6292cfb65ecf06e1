"""The options of optimizers: types that state the allowed values, and functions that read them.

An option is written once, as a keyword argument of a rule. Constructors and parameter groups are
checked against its type, and the step passes it on by its name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from torch import Tensor

__all__ = [
    "Allowed",
    "Average",
    "Betas",
    "Fraction",
    "NonNegative",
    "Nonfinite",
    "OpenFraction",
    "Positive",
    "Rate",
    "SecondMoment",
    "allowed",
    "check",
    "options_of",
    "require",
]


def require(condition: bool, owner: object, name: str, wanted: str, value: object) -> None:
    """Raise a ValueError with the name of the argument, its allowed values, and its value."""
    if not condition:
        raise ValueError(f"{type(owner).__name__}: {name} must be {wanted}, got {value!r}")


@dataclass(frozen=True)
class Allowed:
    """The values that an option may have, in words and as a test."""

    words: str
    holds: Callable[[Any], bool]


def _number(words: str, holds: Callable[[Any], bool]) -> Allowed:
    return Allowed(words, lambda value: isinstance(value, Real) and bool(holds(value)))


def _is_rate(value: Any) -> bool:
    single = value.numel() == 1 if isinstance(value, Tensor) else isinstance(value, Real)
    return single and bool(value >= 0)


def _are_betas(value: Any) -> bool:
    pair = isinstance(value, tuple | list) and len(value) == 2
    return pair and all(isinstance(beta, Real) and 0 <= float(beta) < 1 for beta in value)


Rate = Annotated[
    float | Tensor, Allowed("a number of at least 0, or a tensor with one element", _is_rate)
]
NonNegative = Annotated[float, _number("at least 0", lambda value: value >= 0)]
Positive = Annotated[float, _number("positive", lambda value: value > 0)]
Fraction = Annotated[float, _number("in [0, 1)", lambda value: 0 <= value < 1)]
OpenFraction = Annotated[float, _number("in (0, 1)", lambda value: 0 < value < 1)]
Betas = Annotated[tuple[float, float], Allowed("two numbers in [0, 1)", _are_betas)]

# Momentum averages transported Riemannian gradients, or Euclidean ones
Average = Literal["riemannian", "euclidean"]
# A second moment belongs to a whole point, or to each of its entries
SecondMoment = Literal["matrix", "element"]
# The treatment of a step that is not finite
Nonfinite = Literal["propagate", "skip", "raise"]


def options_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The arguments of a function that have a default or are keyword-only."""
    return tuple(
        name
        for name, p in inspect.signature(function).parameters.items()
        if p.kind is p.KEYWORD_ONLY or p.default is not p.empty
    )


def allowed(function: Callable[..., Any]) -> dict[str, Allowed]:
    """The allowed values of a function's arguments, from their types."""
    found: dict[str, Allowed] = {}
    for name, hint in get_type_hints(function, include_extras=True).items():
        if get_origin(hint) is Literal:
            choices = get_args(hint)
            found[name] = Allowed(f"in {choices}", choices.__contains__)
        elif get_origin(hint) is Annotated:
            found[name] = next(a for a in get_args(hint) if isinstance(a, Allowed))
    return found


def check(owner: object, options: Mapping[str, Any], types: Mapping[str, Allowed]) -> None:
    """Refuse an option whose value its type does not allow."""
    for name, type_ in types.items():
        if name in options:
            require(type_.holds(options[name]), owner, name, type_.words, options[name])
