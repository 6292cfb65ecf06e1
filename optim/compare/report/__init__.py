"""What people look at: table, figures, page, progress."""

from torchmanifold.optim.compare.report.catalog import catalog
from torchmanifold.optim.compare.report.figures import draw
from torchmanifold.optim.compare.report.page import page
from torchmanifold.optim.compare.report.progress import progress
from torchmanifold.optim.compare.report.table import SummaryTable, table

__all__ = ["SummaryTable", "catalog", "draw", "page", "progress", "table"]
