"""Table I as the field stands: which system, and which data set, can what; from a data file with sources (§I, §II)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from geopix.evaluate.paper import paper_table
from geopix.evaluate.table import Row, Table

_FILE = Path(__file__).with_name("field.json")

COLUMNS: Final = {
    "kind": "kind", "year": "year", "paper": "paper", "licence of the code": "licence", "dialogue": "dialogue",
    "boxes": "boxes", "words for objects": "words", "masks": "masks", "several at once": "several",
    "absent objects": "absent", "georeferenced": "georeferenced", "source": "source",
}  # fmt: skip
"""Headings, and what the file calls them."""
FOOTER: Final = {
    "source": "its files: the published repository, its README and licence; paper: R. Ou et al., GeoPix, 2025",
    "cells": "yes, part, no: as its own files or the paper say; -: neither says so, or nobody looked",
    "dialogue": "captions and answers in words; of data sets, instructions with answers",
    "boxes": "of what a phrase names, or of every object",
    "words for objects": "text and masks interleaved, each phrase with its mask; of data sets, descriptions of objects",
    "several at once": "different targets in one turn",
    "absent objects": "asked about and not there, and told so",
    "georeferenced": "rasters read with their reference system, results written with it",
    "not told here": "how well anybody does it; Tables III to VIII do",
}


def field_table() -> Table:
    """Systems first, then data sets, with the paper's own Table I (data sets alone) beside."""
    raw: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    rows = tuple(Row(one["name"], tuple(one[key] for key in COLUMNS.values())) for one in raw["rows"])
    return Table(1, "the field as it stands", tuple(COLUMNS), rows, {"read": raw["read"], **FOOTER}, paper_table(1))
