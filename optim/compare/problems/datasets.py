"""The data that comes with scikit-learn.

A process imports scikit-learn only when it reads data, because the import takes a second and most
problems are generated. scikit-learn has no types, so its values are Any.
"""

from __future__ import annotations

from typing import Any

__all__ = ["digits", "photograph", "split", "wine"]


def digits() -> Any:
    """1797 handwritten digits: `data` (1797, 64) from 0 to 16, and `target`."""
    from sklearn.datasets import load_digits

    return load_digits()


def wine() -> Any:
    """13 measurements of 178 wines: `data` (178, 13), and `target`, one of 3 vineyards."""
    from sklearn.datasets import load_wine

    return load_wine()


def photograph() -> Any:
    """A temple: bytes (427, 640, 3)."""
    from sklearn.datasets import load_sample_image

    return load_sample_image("china.jpg")


def split(*arrays: Any, **options: Any) -> Any:
    """`sklearn.model_selection.train_test_split`."""
    from sklearn.model_selection import train_test_split

    return train_test_split(*arrays, **options)
