"""Table XI of made-up tables: side by side, differences by hand, costs added up; other questions are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from geopix.evaluate.measures import mean_of
from geopix.evaluate.strategies import COLUMNS, strategies
from geopix.evaluate.table import Row, Table, TableError, write


def _table(path: Path, number: int, values: list[float], questions: str = "the same") -> Path:
    row, columns = {3: ("cIoU", ("AR-H", "AR-O")), 8: ("A@0.5, all", ("+1 pixel rule", "continuous IoU"))}[number]
    ids = [str(place) for place in range(len(values))]
    cells = (mean_of(row, ids, ids, values), None)
    write(Table(number, "made up", columns, (Row(row, cells),), {"protocol": "p", "questions": questions}), path)
    return path


def test_models_stand_side_by_side_with_paired_differences(tmp_path: Path) -> None:
    one, two = _table(tmp_path / "a.json", 3, [0.2, 0.4, 0.6]), _table(tmp_path / "b.json", 3, [0.3, 0.5, 0.7])
    boxes = _table(tmp_path / "boxes.json", 8, [1.0, 0.0, 1.0])
    logs = [tmp_path / "first.jsonl", tmp_path / "second.jsonl"]
    for log, seconds in zip(logs, (1800, 900), strict=True):
        log.write_text(f'{{"step": 0, "seconds": {seconds}}}\n{{"step": 1, "seconds": {seconds}}}\n')
    made = strategies([f"one stage={one}", *(f"two={path}" for path in (two, boxes, *logs))])
    cells = {row.name: dict(zip(COLUMNS, row.cells, strict=True)) for row in made.rows}
    assert list(cells) == ["one stage", "two", "two, minus one stage"]
    assert cells["two, minus one stage"]["cIoU"] == "+10.0 [+10.0, +10.0] *"
    assert cells["two, minus one stage"]["grounding A@0.5"] is None
    assert cells["one stage"]["grounding A@0.5"] == "not given"
    assert cells["one stage"]["cost, hours"] is None
    assert cells["two"]["cost, hours"] == "1.50"
    assert cells["two"]["mIoU"] is None  # the table has no such row
    assert made.footer["questions, Table 3"] == made.footer["questions, Table 8"] == "the same"  # 8: of the second
    assert made.paper is not None
    assert "1,010" in str(made.paper.rows)


def test_what_can_not_stand_side_by_side_is_told(tmp_path: Path) -> None:
    one, other = _table(tmp_path / "a.json", 3, [0.2]), _table(tmp_path / "b.json", 3, [0.2], "others")
    log = tmp_path / "a.jsonl"
    log.write_text('{"loss": 1}\n')
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    boxes = _table(tmp_path / "boxes.json", 8, [1.0])
    for named, match in (
        ([], "no model is given"),
        ([str(one)], "is no NAME=FILE"),
        ([f"a={one}", f"a={one}"], "Table 3 twice"),
        ([f"a={one}", f"b={other}"], "differ in their questions"),
        ([f"a={log}"], "no log of training"),
        ([f"a={empty}"], "holds no step of a training"),
        ([f"a={boxes}", f"b={one}", f"c={other}"], "differ in their questions"),
    ):
        with pytest.raises(TableError, match=match):
            strategies(named)
    write(Table(9, "made up", (), (), {}), tmp_path / "nine.json")
    with pytest.raises(TableError, match="is Table 9; Table 11 is made of 3, 4, 7, 8"):
        strategies([f"a={tmp_path / 'nine.json'}"])
