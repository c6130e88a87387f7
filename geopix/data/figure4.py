"""Fig. 4: images by their number of instances (φ) and the share that these cover (θ), one panel a subset (§IV-D)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from geopix.data.entries import EntryError
from geopix.data.statistics import Part, edge, percent, whole


def draw(parts: dict[tuple[str, str], Part], path: Path) -> None:
    """Write the picture as a PNG.

    Args:
        parts: As `geopix.data.statistics.count` gives them; a subset's splits are drawn together.
        path: Where it goes.

    Raises:
        EntryError: If matplotlib is not installed, or no image has an object.
        OSError: If it can't be written.
    """
    try:
        from matplotlib.colors import LogNorm
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter, MaxNLocator
    except ImportError as error:
        raise EntryError("the figure needs matplotlib", "install it with: pip install 'geopix[data]'") from error
    subsets = {name: whole(part for (of, _), part in parts.items() if of == name) for name, _ in parts}
    subsets = {name: part for name, part in subsets.items() if part.cells}
    if not subsets:
        raise EntryError("there is nothing to draw", "no image of the set has an object")
    tallest = max(phi for part in subsets.values() for phi, _ in part.cells)
    places = [place for part in subsets.values() for _, place in part.cells]
    first, last = min(places), max(places)
    most = max(n for part in subsets.values() for n in part.cells.values())
    figure = Figure(figsize=(1.6 + 3.6 * len(subsets), 4.0), layout="constrained")
    panels = figure.subplots(1, len(subsets), sharex=True, sharey=True, squeeze=False)[0]
    edges = [100 * edge(place) for place in range(first, last + 2)]
    for panel, (name, part) in zip(panels, subsets.items(), strict=True):
        images = np.zeros((tallest, last + 1 - first))
        for (phi, place), n in part.cells.items():
            images[phi - 1, place - first] = n
        shades: Any = panel.pcolormesh(
            edges,
            np.arange(tallest + 1) + 0.5,
            np.ma.masked_equal(images, 0),
            norm=LogNorm(1, max(most, 2)),
            cmap="viridis_r",
        )
        panel.plot([100 * part.theta], [part.phi], marker="X", markersize=11, color="#d55e00", markeredgecolor="white")
        panel.set_title(f"{name}: φ {part.phi:.2f}, θ {percent(part)} %", fontsize=10)
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.yaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(alpha=0.25)
    panels[0].set_ylabel("φ: instances in an image")
    figure.colorbar(shades, ax=list(panels), label="images")
    figure.supxlabel(
        "θ: % of the image that an instance covers, an image's mean\n(cross: mean of the subset)", fontsize=9
    )
    figure.savefig(path, dpi=150, format="png", metadata={"Software": None})
