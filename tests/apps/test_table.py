"""``geopix table`` end to end on anyone's answers: printed, written, compared, and refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geopix.apps.table import _of_words
from geopix.evaluate.metrics import Interval
from geopix.evaluate.table import Row, Table, TableError, compare, read, write
from tests.tiny_table import answered, table, ucm


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return ucm(tmp_path / "data")


def test_answers_become_a_table_in_every_form_and_two_are_compared(data: Path) -> None:
    out = data.parent
    right, half = answered(data, "right", "yes", "yes"), answered(data, "half", "yes")
    code, told = table(4, "--data", data, "--predictions", right, "-o", out / "a.json", "-o", out / "a.md")
    assert code == 0
    assert "presence" in told
    assert "100.0 [100.0, 100.0]" in (out / "a.md").read_text()
    assert "GeoPix" in (out / "a.md").read_text()
    code, told = table(4, "--data", data, "--predictions", half, "-o", out / "b.json", "-o", out / "b.csv")
    assert code == 0
    assert "1 questions without an answer" in told
    assert "judge: nobody; name one with --judge" in told
    assert '"all, micro",all open answers wrong,2,questions,0.500000' in (out / "b.csv").read_text()
    code, told = table("compare", out / "a.json", out / "b.json")
    assert code == 0
    assert "+50.0 [+0.0," in told.replace("\n", "")


def test_what_can_not_be_made_is_told_in_a_sentence_and_writes_nothing(data: Path) -> None:
    out = data.parent / "a.json"
    out.write_text("mine")
    code, told = table(4, "--data", data, "-o", out)
    assert (code, out.read_text()) == (1, "mine")
    assert "--overwrite" in told
    assert table(12, "--data", data) == (1, "geopix: there is no table 12; the paper has 1 to 11")
    assert "is no name for a table" in table(4, "--data", data, "-o", data.parent / "a.txt")[1]
    empty = data.parent / "empty.jsonl"
    empty.write_text("")
    code, told = table(4, "--data", data, "--predictions", empty)
    assert code == 1
    assert "it is empty" in told
    with pytest.raises(TableError, match="no table"):
        read(out)


def test_tables_of_other_questions_are_not_compared(data: Path) -> None:
    out = data.parent / "a.json"
    assert table(4, "--data", data, "--predictions", answered(data, "x", "yes"), "-o", out)[0] == 0
    other = json.loads(out.read_text())
    other["footer"]["questions"] = "others"
    (data.parent / "b.json").write_text(json.dumps(other))
    with pytest.raises(TableError, match="differ in their questions"):
        compare(read(out), read(data.parent / "b.json"))


def test_what_has_nothing_to_compare_is_told(tmp_path: Path) -> None:
    path = tmp_path / "nine.json"
    write(Table(9, "made up", ("mIoU",), (Row("default", (Interval(0.5, 0.4, 0.6),)),), {}), path)
    code, told = table("compare", path, path)
    assert code == 1
    assert "these tables keep no samples, so there is nothing to compare" in told
    path.write_text(path.read_text().replace('"number": 9', '"number": 1e999'))
    with pytest.raises(TableError, match=r"nine\.json is no table"):
        read(path)


def test_questions_in_a_row_about_an_image_share_its_pixels(data: Path) -> None:
    path = data / "ucm" / "vqa.json"
    path.write_text(json.dumps([row for row in json.loads(path.read_text()) for _ in range(2)]))
    first, second, other, _ = _of_words(4, data, None, None).items
    assert first.pixels() is second.pixels()
    assert first.pixels() is not other.pixels()
