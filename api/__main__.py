"""`python -m torchmanifold`, and the command `torchmanifold`."""

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line, or name in one line the package that it needs."""
    try:
        from torchmanifold.cli import main as run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("torchmanifold"):
            raise
        needed = f"the command line needs {error.name}: pip install 'torchmanifold[compare]'"
        print(f"torchmanifold: {needed}", file=sys.stderr)
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
