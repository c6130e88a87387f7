"""Table I: every row has its source and says only what a mark can say; the paper's rows say what it printed."""

from __future__ import annotations

import json

from geopix.evaluate.field import _FILE, COLUMNS, field_table
from geopix.evaluate.paper import paper_table
from geopix.evaluate.table import markdown

MARKS = ("yes", "part", "no", None)
ABILITIES = ("dialogue", "boxes", "words", "masks", "several", "absent", "georeferenced")
SOURCES = (
    "its files",
    "its files; paper",
    "paper",
    "its annotations",
    "its abstract",
    "files of SegEarth-R2",
    "this README and tests",
)


def test_every_row_is_whole_and_has_a_source() -> None:
    for row in json.loads(_FILE.read_text(encoding="utf-8"))["rows"]:
        assert set(row) == {"name", *COLUMNS.values()}
        assert row["source"].split(",")[0] in SOURCES
        assert all(row[ability] in MARKS for ability in ABILITIES)
        assert row["year"] is None or 2020 < int(row["year"]) < 2100


def test_the_papers_rows_say_what_the_paper_printed() -> None:
    ours = {row.name: dict(zip(COLUMNS, row.cells, strict=True)) for row in field_table().rows}
    printed = {"✓": "yes", "✗": "no"}
    for name, images, *marks in paper_table(1).rows:
        row = ours[name]
        found = [row[one] for one in ("dialogue", "boxes", "words for objects", "masks")]
        assert found == [printed[mark] for mark in marks]
        if row["source"] == "paper, Table I" and images != "-":
            assert row["kind"] == f"data set, {images} images"


def test_it_is_a_table_like_the_others() -> None:
    text = markdown(field_table())
    assert "| GeoPix, this project | system |" in text
    assert "Table I, data sets" in text
