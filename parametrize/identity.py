"""A description of a map that is the same in every process and in later versions.

State dicts carry the descriptions, so coordinates are never loaded into a map that would turn them
into another tensor.  A description has the class of the map and, if the map has a ``config``, the
settings that differ from their defaults.  A setting that a later version adds therefore does not
change old descriptions, and the default of a setting must never change.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

from torch import Tensor, nn

_MISSING = dataclasses.MISSING


def identity(link: nn.Module) -> str:
    """The class of a map and its ``config``: ``Softplus``, ``LowRank(rank=2)``.

    Args:
        link: the map.
    """
    name = type(link).__name__
    if not hasattr(link, "config"):
        return name
    settings = _settings(link)
    if settings is None:
        return f"{name}({describe(link.config)})"
    return f"{name}({_differing(settings)})"


def describe(value: object) -> str:
    """A value in words, without memory addresses and without fields that have their defaults.

    The name of a function or class is its module and qualified name.  Two functions that one
    function makes, such as lambdas, differ only by the values that are bound in them.

    Args:
        value: a ``config``, or a part of one.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__name__}({_differing(_fields(value))})"
    if isinstance(value, functools.partial):
        bound = [*map(describe, value.args), *_named(value.keywords.items())]
        return f"partial({', '.join([describe(value.func), *bound])})"
    if isinstance(value, type) or inspect.isroutine(value):
        places = (getattr(value, "__module__", None), value.__qualname__)
        return ".".join(place for place in places if place)
    if isinstance(value, Mapping):
        items = [f"{describe(key)}: {describe(item)}" for key, item in value.items()]
        return "{" + ", ".join(sorted(items)) + "}"
    if isinstance(value, Set):
        return "{" + ", ".join(sorted(map(describe, value))) + "}"
    if isinstance(value, list | tuple):
        return "(" + ", ".join(map(describe, value)) + ")"
    if type(value).__repr__ is object.__repr__:
        state = getattr(value, "__dict__", {})
        return f"{type(value).__name__}({', '.join(_named(state.items()))})"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


_Setting = tuple[str, Any, Any]  # a name, a value and its default


def _differing(settings: Iterable[_Setting]) -> str:
    return ", ".join(
        _named((name, value) for name, value, default in settings if not _same(value, default))
    )


def _same(value: object, default: object) -> bool:
    return default is not _MISSING and bool(value == default)


def _named(pairs: Iterable[tuple[str, Any]]) -> Iterator[str]:
    return (f"{name}={describe(value)}" for name, value in pairs)


def _fields(value: Any) -> Iterator[_Setting]:
    for field in dataclasses.fields(value):
        if field.compare:
            made = field.default_factory
            default = field.default if made is _MISSING else made()
            yield field.name, getattr(value, field.name), default


def _settings(link: Any) -> Sequence[_Setting] | None:
    """The arguments of a map that form its ``config``; None if the ``config`` is anything else."""
    found = []
    for name, parameter in inspect.signature(type(link)).parameters.items():
        value = getattr(link, name, _MISSING)
        if value is not _MISSING and not isinstance(value, Tensor | nn.Module):
            default = _MISSING if parameter.default is parameter.empty else parameter.default
            found.append((name, value, default))
    values = tuple(value for _, value, _ in found)
    alone = len(values) == 1 and link.config == values[0]
    return found if alone or link.config == values else None
