"""RSIEval and RSICap, the two files of one project: questions that are only asked, captions that are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from geopix.data.entries import EntryError
from geopix.records import Turn
from tests.data.sources.fakes import EVIL, found, pictures, put


def image(name: str, caption: Any, *pairs: tuple[Any, Any]) -> dict[str, Any]:
    asked = [{"question": question, "answer": answer, "type": "quantity"} for question, answer in pairs]
    return {"filename": name, "caption": caption, "qa_pairs": asked}


def test_rsieval_is_for_evaluation(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "P1.png", "P2.png")
    rows = [image("P1.png", "This is  an airport.", ("How many?", "Seven.")), image("P2.png", "A road.")]
    put(tmp_path / "annotations.json", {"info": {"year": 2023}, "annotations": rows})
    (first, second), reasons = found("rsieval", tmp_path)
    assert not reasons
    assert (first.key, first.split, first.captions) == ("rsieval/P1.png", "test", ("This is an airport.",))
    assert first.turns == (Turn("How many?", "Seven."),)
    assert second.turns == ()


def test_rsicap_is_for_training(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "P1.png", "P2.png")
    rows = [
        {"image_id": "0", "filename": name, "text_input": "Take a look.", "text_output": f"Image {name}."}
        for name in ("P1.png", "P2.png")
    ]
    put(tmp_path / "captions.json", {"annotations": rows})
    (first, second), reasons = found("rsicap", tmp_path)
    assert not reasons
    assert (first.key, first.split, first.captions) == ("rsicap/P1.png", "train", ("Image P1.png.",))
    assert second.size_hw == (80, 100)


def test_what_is_wrong_is_left_out_alone(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "P1.png")
    rows = [
        image("P1.png", EVIL, ("What?", "It."), ("What?", "It [SEG]."), (None, "It."), ("What?", "")),
        image("P2.png", "gone"),
        image("../P1.png", "outside"),
        {"filename": "P1.png"},
        7,
    ]
    put(tmp_path / "annotations.json", {"annotations": rows})
    (entry,), reasons = found("rsieval", tmp_path)
    assert (entry.captions, entry.turns) == ((), (Turn("What?", "It."),))
    assert reasons == {
        "text with a mark of the dialogue": 2, "text missing": 1, "text empty": 1, "image missing": 1,
        "image path leaves its folder": 1, "record malformed": 3,
    }  # fmt: skip
    put(tmp_path / "captions.json", {"annotations": [{"filename": "P1.png", "text_output": EVIL}, {}]})
    assert found("rsicap", tmp_path) == ([], {"text with a mark of the dialogue": 1, "record malformed": 1})


@pytest.mark.parametrize("kind", ["rsieval", "rsicap"])
def test_a_missing_file_is_told(tmp_path: Path, kind: str) -> None:
    with pytest.raises(EntryError, match=r"\.json is missing"):
        found(kind, tmp_path)
