"""The text that ships with every Python: the topics of its manual, as numbers."""

from __future__ import annotations

import importlib
from functools import cache

import torch
from torch import Tensor

__all__ = ["characters", "windows"]

HELD_OUT = 20  # one part of so many is held out, the last one


@cache
def characters() -> tuple[Tensor, Tensor, int]:
    """The text for training, the held-out text, and the number of characters of the alphabet.

    The text of another version of Python differs, and so do losses.

    Example:
        >>> train, heldout, alphabet = characters()
        >>> len(heldout) < len(train) / 10, bool(train.max() < alphabet)
        (True, True)
    """
    topics = importlib.import_module("pydoc_data.topics").topics
    text = "\n".join(topics[name] for name in sorted(topics))
    alphabet = {character: code for code, character in enumerate(sorted(set(text)))}
    codes = torch.tensor([alphabet[character] for character in text])
    cut = len(codes) - len(codes) // HELD_OUT
    return codes[:cut], codes[cut:], len(alphabet)


def windows(text: Tensor, first: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Characters from given places on and the character after each one, `(len(first), length)`.

    Example:
        >>> windows(torch.arange(9), torch.tensor([0, 5]), 3)[1].tolist()
        [[1, 2, 3], [6, 7, 8]]
    """
    places = first[:, None] + torch.arange(length + 1)
    return text[places[:, :-1]], text[places[:, 1:]]
