"""Tables IV and VII as rows: bounds without a judge, twins apart, BLEU as the corpus has it; twins found by sight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geopix.evaluate import captions
from geopix.evaluate.java import JavaError
from geopix.evaluate.leaks import leaks
from geopix.evaluate.measures import Measure
from geopix.evaluate.paper import paper_table
from geopix.evaluate.questions import Asked
from geopix.evaluate.worded import caption_rows, vqa_rows


def _asked(id: str, kind: str, *answers: str) -> Asked:
    return Asked(id, f"image {id}", Path("none.png"), kind, "?", answers)


def test_what_nobody_judged_is_wrong_in_one_column_and_right_in_the_other() -> None:
    asked = [_asked("1", "presence", "yes"), _asked("2", "scene", "farmland"), _asked("3", "presence", "no")]
    rows = vqa_rows(asked, {"1": "yes", "2": "fields", "3": "yes"}, ("presence", "scene"), frozenset({"image 3"}))
    values = {row.name: [cell.value if isinstance(cell, Measure) else None for cell in row.cells] for row in rows}
    assert values["presence"] == [0.5, 0.5, 0.5, 0.0]
    assert values["scene"] == [0.0, 1.0, 0.0, 1.0]
    assert values["all, micro"] == pytest.approx([1 / 3, 2 / 3, 1 / 3, 1 / 3])
    assert values["all, macro"] == [0.25, 0.75, 0.25, None]
    assert values["without twins of training images, micro"] == [0.5, 1.0, 0.5, 0.5]


def test_captions_have_the_numbers_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycocoevalcap")

    def without_java(texts: object) -> object:
        raise JavaError("none here")

    monkeypatch.setattr(captions, "ptb_tokens", without_java)
    asked = [_asked("1", "caption", "two white planes on the grey apron"), _asked("2", "caption", "a river in a wood")]
    said = {"1": "two white planes stand on the apron", "2": "a river in a wood"}
    rows, protocol = caption_rows(asked, said)
    cells = {row.name: row.cells[0] for row in rows}
    whole = captions.score(asked, said)
    for n, value in enumerate(whole.bleu, start=1):
        cell = cells[f"BLEU-{n}"]
        assert isinstance(cell, Measure)
        assert cell.value == pytest.approx(value)
    assert cells["METEOR"] == "not available"
    assert cells["CLAIR"] == "not judged"
    assert "none here" in protocol


def test_a_training_image_saved_again_is_found(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("train", "other"):
        small = Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8))
        small.resize((64, 64)).save(tmp_path / f"{name}.png")
    Image.open(tmp_path / "train.png").resize((80, 80)).save(tmp_path / "again.jpg")
    asked = [("again", tmp_path / "again.jpg"), ("other", tmp_path / "other.png"), ("gone", tmp_path / "gone.png")]
    found, told = leaks([("train", tmp_path / "train.png")], asked)
    assert found == {"again"}
    assert "again (train)" in told
    assert "1 images could not be read" in told
    assert leaks([], asked)[0] == frozenset()


def test_the_papers_rows_fit_their_columns() -> None:
    for number in range(1, 12):
        head, *body = paper_table(number).lines()
        assert body
        assert all(len(line) == len(head) for line in body)
