"""`python -m torchmanifold`."""

from torchmanifold.cli import main

if __name__ == "__main__":
    main()
