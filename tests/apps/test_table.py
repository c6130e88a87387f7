"""``geopix table`` end to end on anyone's answers: printed, written, compared, and refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from geopix.apps.cli import app
from geopix.evaluate.table import TableError, compare, read


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three images of UC Merced's form: one to train on, two to ask about."""
    folder = tmp_path / "data" / "ucm"
    (folder / "images").mkdir(parents=True)
    random, captions, asked = np.random.default_rng(0), [], []
    for name, split in (("a", "train"), ("b", "val"), ("c", "val")):
        image = f"images/{name}.png"
        Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / image)
        captions.append({"image": image, "split": split, "captions": ["a field with a road and two trees"]})
        asked.append({"image": image, "question": "Does this picture contain roads?", "answer": "yes"})
    (folder / "captions.json").write_text(json.dumps(captions))
    (folder / "vqa.json").write_text(json.dumps(asked))
    return tmp_path / "data"


def _table(*words: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["table", *map(str, words)])
    return found.exit_code, " ".join((found.stdout + found.stderr).split())


def _answered(data: Path, name: str, *texts: str) -> Path:
    asked = data.parent / f"asked-{name}"
    assert _table(4, "--data", data, "--questions", asked)[0] == 0
    lines = [json.loads(line) for line in (asked / "questions.jsonl").read_text().splitlines()]
    assert all((asked / line["image"]).is_file() for line in lines)
    path = data.parent / f"{name}.jsonl"
    told = zip(lines, texts, strict=False)
    path.write_text("".join(json.dumps({"id": one["id"], "text": text, "instances": []}) + "\n" for one, text in told))
    return path


def test_answers_become_a_table_in_every_form_and_two_are_compared(data: Path) -> None:
    out = data.parent
    right, half = _answered(data, "right", "yes", "yes"), _answered(data, "half", "yes")
    code, told = _table(4, "--data", data, "--predictions", right, "-o", out / "a.json", "-o", out / "a.md")
    assert code == 0
    assert "presence" in told
    assert "100.0 [100.0, 100.0]" in (out / "a.md").read_text()
    assert "GeoPix" in (out / "a.md").read_text()
    code, told = _table(4, "--data", data, "--predictions", half, "-o", out / "b.json", "-o", out / "b.csv")
    assert code == 0
    assert "1 questions without an answer" in told
    assert '"all, micro",all open answers wrong,2,questions,0.500000' in (out / "b.csv").read_text()
    code, told = _table("compare", out / "a.json", out / "b.json")
    assert code == 0
    assert "+50.0 [+0.0," in told.replace("\n", "")


def test_what_can_not_be_made_is_told_in_a_sentence_and_writes_nothing(data: Path) -> None:
    out = data.parent / "a.json"
    out.write_text("mine")
    code, told = _table(4, "--data", data, "-o", out)
    assert (code, out.read_text()) == (1, "mine")
    assert "--overwrite" in told
    assert "table 12 is not made here" in _table(12, "--data", data)[1]
    assert "is no name for a table" in _table(4, "--data", data, "-o", data.parent / "a.txt")[1]
    empty = data.parent / "empty.jsonl"
    empty.write_text("")
    code, told = _table(4, "--data", data, "--predictions", empty)
    assert code == 1
    assert "it is empty" in told
    with pytest.raises(TableError, match="no table"):
        read(out)


def test_tables_of_other_questions_are_not_compared(data: Path) -> None:
    out = data.parent / "a.json"
    assert _table(4, "--data", data, "--predictions", _answered(data, "x", "yes"), "-o", out)[0] == 0
    other = json.loads(out.read_text())
    other["footer"]["questions"] = "others"
    (data.parent / "b.json").write_text(json.dumps(other))
    with pytest.raises(TableError, match="differ in their questions"):
        compare(read(out), read(data.parent / "b.json"))
