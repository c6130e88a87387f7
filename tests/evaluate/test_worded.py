"""Tables IV and VII as rows: bounds without a judge, twins apart, BLEU as the corpus has it; twins found by sight."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geopix.evaluate import captions
from geopix.evaluate.java import JavaError
from geopix.evaluate.leaks import files_named, leaks
from geopix.evaluate.measures import Measure
from geopix.evaluate.paper import paper_table
from geopix.evaluate.questions import Asked
from geopix.evaluate.table import Row
from geopix.evaluate.worded import caption_rows, vqa_rows


def _asked(id: str, kind: str, *answers: str) -> Asked:
    return Asked(id, f"image {id}", Path("none.png"), kind, "?", answers)


def _without_java(texts: object) -> object:
    raise JavaError("none here")


def _values(rows: Sequence[Row]) -> dict[str, list[object]]:
    return {row.name: [cell.value if isinstance(cell, Measure) else cell for cell in row.cells] for row in rows}


ASKED = [_asked("1", "presence", "yes"), _asked("2", "scene", "farmland"), _asked("3", "presence", "no")]
SAID = {"1": "yes", "2": "fields", "3": "yes"}
TWINS = frozenset({"image 3"})


def test_what_nobody_judged_is_wrong_in_one_column_and_right_in_the_other() -> None:
    values = _values(vqa_rows(ASKED, SAID, ("presence", "scene"), TWINS).rows)
    assert values["presence"] == [0.5, 0.5, 0.5, 0.5, 0.0]
    assert values["scene"] == ["not judged", 0.0, 1.0, 0.0, 1.0]
    assert values["all, micro"] == ["not judged", 1 / 3, pytest.approx(2 / 3), 1 / 3, 1 / 3]
    assert values["all, macro"] == ["not judged", 0.25, 0.75, 0.25, 0.5]
    assert values["without twins of training images, micro"] == ["not judged", 0.5, 1.0, 0.5, 0.5]


def test_the_judged_accuracy_is_of_what_somebody_decided() -> None:
    asked = [*ASKED, _asked("4", "scene", "rural")]
    made = vqa_rows(asked, {**SAID, "4": "urban"}, ("presence", "scene"), decide=lambda told: [True, None])
    values = _values(made.rows)
    assert values["scene"] == [1.0, 0.5, 1.0, 0.0, 0.5]
    assert values["all, micro"] == pytest.approx([2 / 3, 0.5, 0.75, 0.25, 0.25])
    assert values["all, macro"] == [0.75, 0.5, 0.75, 0.25, 0.25]
    assert [row.n for row in made.rows] == ["2 questions", "1 questions", "3 questions", "3 questions"]
    assert "2 left open by it, of which 1 judged (50.0 %), 1 not judged" in made.judged


def test_rows_bootstrap_counts_not_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycocoevalcap")
    monkeypatch.setattr(captions, "ptb_tokens", _without_java)
    asked = [_asked(str(n), "caption", f"here a ship on the sea {n}", "water and a ship") for n in range(30)]
    said = {str(n): "a ship on the sea" if n % 3 else "a road" for n in range(30)}
    cell = caption_rows(asked, said).rows[3].cells[0]
    assert isinstance(cell, Measure)
    interval = cell.interval(draws=200)
    assert interval.value == pytest.approx(captions.score(asked, said).bleu[3])
    assert interval.low < interval.value < interval.high


def test_clair_is_of_what_was_judged_and_bounded_where_it_was_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycocoevalcap")
    monkeypatch.setattr(captions, "ptb_tokens", _without_java)
    asked = [_asked(str(n), "caption", "a river in a wood") for n in range(4)]
    made = caption_rows(asked, dict.fromkeys("012", "a river"), lambda told: [0.75, 0.25, None])
    values = _values(made.rows)
    assert values["CLAIR"] == pytest.approx([1 / 3])  # the caption that is not there has 0
    assert values["CLAIR, all open captions 0"] == [0.25]
    assert values["CLAIR, all open captions 100"] == [0.5]
    assert made.judged == "1 of 4 captions not judged, 1 not there"
    assert "CLAIR, all open captions 0" not in _values(caption_rows(asked, {}, lambda told: []).rows)


def test_captions_have_the_numbers_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycocoevalcap")

    monkeypatch.setattr(captions, "ptb_tokens", _without_java)
    asked = [_asked("1", "caption", "two white planes on the grey apron"), _asked("2", "caption", "a river in a wood")]
    said = {"1": "two white planes stand on the apron", "2": "a river in a wood"}
    made = caption_rows(asked, said)
    cells = {row.name: row.cells[0] for row in made.rows}
    whole = captions.score(asked, said)
    for n, value in enumerate(whole.bleu, start=1):
        cell = cells[f"BLEU-{n}"]
        assert isinstance(cell, Measure)
        assert cell.value == pytest.approx(value)
    assert cells["METEOR"] == "not available"
    assert cells["CLAIR"] == "not judged"
    assert "none here" in made.protocol


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


def test_names_that_lead_elsewhere_are_not_followed_but_counted(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "outside.png")
    (tmp_path / "images").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "images" / "a.png")
    named = ["/dev/zero", "../outside.png", 3, "b" * 5000 + ".png", "a.png"]
    training = files_named("set", tmp_path / "images", named)
    assert [path for _, path in training] == [None, None, None, None, tmp_path / "images" / "a.png"]
    os.mkfifo(tmp_path / "pipe.png")
    found, told = leaks([*training, ("pipe", tmp_path / "pipe.png")], [("out", tmp_path / "outside.png")])
    assert found == {"out"}
    assert "out (set/a.png)" in told
    assert "5 images could not be read" in told


def test_the_papers_rows_fit_their_columns() -> None:
    for number in range(1, 12):
        head, *body = paper_table(number).lines()
        assert body
        assert all(len(line) == len(head) for line in body)
