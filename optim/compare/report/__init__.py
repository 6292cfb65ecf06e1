"""Presentation of results: table, figures, page, progress."""

from torchmanifold.optim.compare.report.catalog import catalog
from torchmanifold.optim.compare.report.figures import draw, save
from torchmanifold.optim.compare.report.page import page
from torchmanifold.optim.compare.report.profiles import costs, profile_figure
from torchmanifold.optim.compare.report.progress import progress
from torchmanifold.optim.compare.report.table import SummaryTable, table

__all__ = [
    "SummaryTable",
    "catalog",
    "costs",
    "draw",
    "page",
    "profile_figure",
    "progress",
    "save",
    "table",
]
