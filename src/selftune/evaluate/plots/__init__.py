"""Plots as inline SVG: no script, no request, readable in light and dark and by screen readers.

Colours are CSS classes of the page, never the only thing that tells two models apart. Everything
that came from a user is escaped here.
"""

from selftune.evaluate.plots.bars import Bar, categories, shares
from selftune.evaluate.plots.heatmap import heatmap
from selftune.evaluate.plots.latency import latencies
from selftune.evaluate.plots.planes import costs, line, running, scatter

__all__ = [
    "Bar",
    "categories",
    "costs",
    "heatmap",
    "latencies",
    "line",
    "running",
    "scatter",
    "shares",
]
