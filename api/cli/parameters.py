"""Further options of the command: parameters of problems, and hyperparameters."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from torchmanifold.cli.terminal import refuse

__all__ = ["Values", "configured", "problems_of", "words_of"]


class Values(click.ParamType):
    """`[METHOD:]NAME=V1,V2`, or with a fixed name `[METHOD=]V1,V2`."""

    name = "values"

    def __init__(self, hyperparameter: str | None = None) -> None:
        self.hyperparameter = hyperparameter

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str, tuple[Any, ...]]:
        """The method, "*" for all, the name of the hyperparameter, and its values."""
        if isinstance(value, tuple):
            return value
        before, equals, numbers = value.rpartition("=")
        if self.hyperparameter is not None:
            return before or "*", self.hyperparameter, self.numbers(numbers, param, ctx)
        method, colon, name = before.rpartition(":")
        if not equals or not name:
            self.fail(f"'{value}' is not NAME=VALUES such as momentum=0.5,0.9", param, ctx)
        return method if colon else "*", name, tuple(map(_value, numbers.split(",")))

    def numbers(self, text: str, param: Any, ctx: Any) -> tuple[float, ...]:
        """The numbers of a list, without repetitions."""
        try:
            return tuple(dict.fromkeys(float(part) for part in text.split(",")))
        except ValueError:
            self.fail(f"'{text}' is not a list of numbers such as 0.01,0.1", param, ctx)


def _value(text: str) -> Any:
    """The number that the text states, or the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def words_of(words: Sequence[str]) -> tuple[list[str], dict[str, str | None]]:
    """The problems among the arguments, and the options that the command does not define."""
    names: list[str] = []
    extra: dict[str, str | None] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            if word.startswith("-"):
                refuse(f"No such option: {word}")
            names.append(word)
            continue
        name, equals, value = word[2:].partition("=")
        follows = bool(rest) and not rest[0].startswith("--")
        given = value if equals else rest.pop(0) if follows else None
        extra[name.replace("-", "_")] = given
    return names, extra


def problems_of(tools: Any, references: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """The problems of all references, and the methods of the files among them."""
    found, methods = [], []
    for reference in dict.fromkeys(references):
        problems, own = tools.problems_of(reference)
        found += problems
        methods += own
    return found, methods


def configured(
    tools: Any,
    problems: list[Any],
    extra: Mapping[str, str | None],
    preset: str,
    options: Iterable[str],
) -> tuple[list[Any], dict[str, dict[str, Any]]]:
    """Problems with the values of their parameters, and the values of hyperparameters."""
    grids: dict[str, dict[str, Any]] = {}
    presets = {name for problem in problems for name in problem.presets}
    if preset not in {*tools.PRESETS, *presets}:
        known = ", ".join(f"'{name}'" for name in (*tools.PRESETS, *sorted(presets)))
        refuse(f"--preset: '{preset}' is not one of {known}")
    problems = [
        tools.with_preset(p, p.presets[preset]) if preset in p.presets else p for p in problems
    ]
    if not problems and not extra:
        return [], grids
    hyper = {name for m in tools.METHODS.values() for name in m.grid}
    hyper |= {name for problem in problems for grid in problem.grids.values() for name in grid}
    known_parameters = {name for problem in problems for name in problem.parameters}
    for name, value in extra.items():
        if name in known_parameters:
            problems = [
                each for p in problems
                for each in (_with(p, name, value) if name in p.parameters else [p])
            ]  # fmt: skip
        elif name in hyper and value is not None:
            grids.setdefault("*", {})[name] = tuple(map(_value, value.split(",")))
        else:
            _unknown(name, [*known_parameters, *hyper], options)
    return problems, grids


def _with(problem: Any, name: str, text: str | None) -> list[Any]:
    """The problem with a value of a parameter; for a list of numbers, one problem for each."""
    default = problem.parameters[name]
    parts = [text] if text is None or isinstance(default, str) else text.split(",")
    values = [_parsed(name, part, default) for part in parts]
    return (
        problem.over(name, values) if len(values) > 1 else [problem.configured(**{name: values[0]})]
    )


def _parsed(name: str, text: str | None, default: Any) -> Any:
    """A parameter in the type of its default value."""
    option = f"--{name.replace('_', '-')}"
    if isinstance(default, bool):
        if text not in (None, "true", "false"):
            refuse(f"{option} takes true or false, got '{text}'")
        return text != "false"
    if text is None:
        refuse(f"{option} needs a value")
    if not isinstance(default, int | float):
        return text
    try:
        value = type(default)(text)
    except ValueError:
        kind = "integer" if isinstance(default, int) else "number"
        refuse(f"{option}: '{text}' is not a valid {kind}")
    return value


def _unknown(name: str, parameters: list[str], options: Iterable[str]) -> None:
    known = [*options, *(f"--{p.replace('_', '-')}" for p in parameters)]
    option = f"--{name.replace('_', '-')}"
    near = difflib.get_close_matches(option, known, n=2, cutoff=0.6)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    refuse(f"No such option: {option}{hint}")
