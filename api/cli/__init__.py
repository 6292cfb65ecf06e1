"""The command line: `torchmanifold compare`, `plot`, `list` and `bench`."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from torchmanifold.cli.bench import bench
from torchmanifold.cli.compare import compare
from torchmanifold.cli.show import list_, plot

__all__ = ["main"]

# After \b click keeps the line breaks of a paragraph.
START = """\b
Start here:
  torchmanifold compare --preset quick     the comparison, in under three minutes
  torchmanifold list                       problems, methods, manifolds
  torchmanifold compare --help             all options
"""
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=CONTEXT, epilog=START)
@click.version_option(package_name="torchmanifold", prog_name="torchmanifold")
def cli() -> None:
    """Manifold-constrained weights for PyTorch."""


for command in (compare, plot, list_, bench):
    cli.add_command(command)


def main() -> NoReturn:
    """Run the command line; bad input prints one line and exits with code 2."""
    try:
        cli.main(prog_name="torchmanifold", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        sys.exit(0)
    except click.ClickException as error:
        print(f"torchmanifold: {error.format_message()}", file=sys.stderr)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        print("torchmanifold: interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)
