"""The benchmark of maps: forward and backward, against torch's and geotorch's maps."""

from __future__ import annotations

from collections.abc import Iterator

from . import spd, square, thin
from .benchmark import Benchmark, Piece, Settings

__all__ = ["MAPS"]


def _pieces(settings: Settings) -> Iterator[Piece]:
    yield from square.exponential_pieces(settings)
    yield from square.cayley_pieces(settings)
    yield from square.network_pieces(settings)
    yield from square.batch_pieces(settings)
    yield from thin.column_pieces(settings)
    yield from thin.long_pieces(settings)
    yield from spd.pieces(settings)


MAPS = Benchmark("maps", "maps and their derivatives against torch and geotorch", _pieces)
