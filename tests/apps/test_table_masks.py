"""``geopix table 3`` end to end: a model by three protocols side by side, and answers of others without the third."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geopix import assistant
from geopix.apps.cli import app
from geopix.assistant import Assistant
from geopix.checkpoint import open as opening
from geopix.evaluate.measures import Measure
from geopix.evaluate.table import read
from tests.tiny import scene
from tests.tiny_model import tiny_geopix
from tests.tiny_set import entry_of, tiny_set

SHIPS = [("ship", (5, 5, 45, 30)), ("ship", (60, 60, 95, 95)), ("bridge", (10, 40, 110, 60))]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A set with two images to ask about, the first of them with three described objects."""
    seen = scene(SHIPS, (100, 120), key="seen", split="val"), scene(SHIPS[2:], (100, 120), key="few", split="val")
    said = [["The ship on the left."], ["The ship on the right."], ["The bridge."]]
    return tiny_set(tmp_path / "set", [entry_of(seen[0], said), entry_of(seen[1])], seen)


def _table(*words: object) -> str:
    found = CliRunner().invoke(app, ["table", *map(str, words)])
    assert found.exit_code == 0, found.stderr
    return " ".join((found.stdout + found.stderr).split())


def test_the_third_protocol_has_every_mask_and_is_not_given_for_answers_of_others(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assistant, "load", lambda *_: Assistant(*tiny_geopix(), name="tiny"))
    monkeypatch.setattr(opening, "find", lambda name: data)
    _table(3, "--data", data, "--model", "tiny", "-o", tmp_path / "ours.json")
    cells = {
        row.name: dict(zip(("AR-H", "AR-O", "TF"), row.cells, strict=True)) for row in read(tmp_path / "ours.json").rows
    }
    told = cells["mIoU, mean over masks"]["TF"]
    assert isinstance(told, Measure)
    assert told.n == 3 + 2 + 1 + 1  # one question for all three, then one a class
    assert len(told.ids) == 4
    assert cells["absent objects refused"]["TF"] is None
    _table(3, "--data", data, "--questions", tmp_path / "asked")
    lines = [json.loads(line) for line in (tmp_path / "asked" / "questions.jsonl").read_text().splitlines()]
    theirs = tmp_path / "theirs.jsonl"
    theirs.write_text("".join(json.dumps({"id": one["id"], "text": "", "instances": []}) + "\n" for one in lines))
    shown = _table(3, "--data", data, "--predictions", theirs, "-o", tmp_path / "theirs.json")
    assert "not given" in shown
    others = {row.name: row.cells for row in read(tmp_path / "theirs.json").rows}
    assert others["mIoU, mean over masks"][2] == "not given"
    assert others["absent objects refused"][2] is None
    assert "number of masks right" in _table("compare", tmp_path / "ours.json", tmp_path / "theirs.json")
