"""Table II: a set in numbers, as a table with the paper's row beside it (§IV-D)."""

from __future__ import annotations

import hashlib
from pathlib import Path

from geopix.data import statistics
from geopix.data.entries import ENTRIES, SetReader
from geopix.data.foreign.found import Watch, unwatched
from geopix.evaluate.paper import paper_table
from geopix.evaluate.table import Row, Table


def set_table(folder: Path, title: str, watch: Watch = unwatched) -> Table:
    """Table II of a set: a row for every subset's split, one for all where there are several.

    Args:
        folder: The set's.
        title: The table's.
        watch: Told how far the counting is.

    Raises:
        EntryError: If it is no set, or a mask does not fit its image.
        OSError: If it can't be read.
    """
    reader = SetReader(folder)
    parts = statistics.count(reader, reader.about.name, reader.about.counts.get("images", 0), watch)
    rows = tuple(Row(name, tuple(cells)) for name, *cells in statistics.table_2(parts))
    with (folder / ENTRIES).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    about = reader.about
    footer = {
        "protocol": "counted, not sampled: no interval. φ: instances in an image, mean over images; θ: share of its "
        "image that an instance's mask covers, mean over instances (≤: of boxes, where there is no mask)",
        "questions": f"none; the set {about.name}, sha256 of its entries {digest[:16]}",
        "made by": "; ".join(about.steps) or "not told",
        "left out": "; ".join(f"{n:,} {what}" for what, n in sorted(about.skipped.items()) if n) or "nothing",
    }
    return Table(2, title, statistics.TABLE_2[1:], rows, footer, paper_table(2))
