"""The parts that commands share: the console, refusals in one line, and optional packages."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click
from rich.console import Console

__all__ = ["console", "library", "one_line", "refuse"]

WIDTH = 140  # the width of tables in a file or a pipe


def console() -> Console:
    """The standard output, wide if it is not a terminal."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=WIDTH)


def refuse(message: str) -> NoReturn:
    """End with one line."""
    raise click.UsageError(" ".join(message.split()))


def library(module: str, extra: str) -> Any:
    """A part of the library that needs more packages than the library itself.

    It is loaded when a command runs, so `--help` loads neither matplotlib nor pandas.
    """
    try:
        part = importlib.import_module(f"torchmanifold.{module}")
        for name in part.__all__:  # some are loaded at first use, and may lack something too
            getattr(part, name)
        return part
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("torchmanifold"):
            raise
        refuse(f"this command needs {error.name}: pip install 'torchmanifold[{extra}]'")


@contextmanager
def one_line() -> Iterator[None]:
    """Turn an error of the library about bad input into one line."""
    try:
        yield
    except ValueError as error:
        refuse(str(error))
    except OSError as error:
        refuse(f"cannot write {error.filename or 'the results'}: {error.strerror or error}")
