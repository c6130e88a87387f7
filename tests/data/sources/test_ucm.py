"""UC Merced's captions and questions as samples, each image in its captions' split."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from geopix.data.entries import EntryError
from geopix.data.sources.ucm import read_ucm
from geopix.records import Turn
from tests.data.sources.fakes import EVIL, found, put


@pytest.fixture
def root(tmp_path: Path) -> Path:
    captions = []
    for index, (name, split) in enumerate([("a/a00.png", "train"), ("a/a01.png", "val"), ("b/b00.png", "train")]):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PillowImage.new("RGB", (12, 9), (index, 0, 0)).save(path)
        told = ["There are  two planes .", "There are  two planes .", "here, a plane , parked", "Grass."]
        captions.append({"image": f"images/{name}", "split": split, "captions": told})
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    questions = [
        {"image": "images/a/a00.png", "question": "how many planes?", "answer": "2", "source": "x"},
        {"image": "images/b/b00.png", "question": "is there grass?", "answer": "yes", "source": "x"},
        {"image": "images/a/a00.png", "question": "where?", "answer": "left", "source": "x"},
        {"image": "images/gone.png", "question": "what?", "answer": "nothing", "source": "x"},
    ]
    (tmp_path / "vqa.json").write_text(json.dumps(questions))
    return tmp_path


def test_images_come_with_their_captions_and_questions(root: Path) -> None:
    first, second = read_ucm(root, "train")
    assert (first.key, second.key) == ("ucm/images/a/a00.png", "ucm/images/b/b00.png")
    assert first.turns == (Turn("how many planes?", "2", "vqa"), Turn("where?", "left", "vqa"))
    assert second.turns == (Turn("is there grass?", "yes", "vqa"),)
    assert first.image.shape == (9, 12, 3)
    assert np.array_equal(second.image[0, 0], [2, 0, 0])
    assert first.instances == ()


def test_captions_are_tidied_and_told_once(root: Path) -> None:
    (sample,) = read_ucm(root, "val")
    assert sample.captions == ("There are two planes.", "Here, a plane, parked.", "Grass.")
    assert sample.turns == ()


def test_absence_may_not_be_concluded_from_a_caption(root: Path) -> None:
    assert not any(sample.complete for sample in read_ucm(root, "train"))


def test_a_split_without_images_is_empty_and_a_missing_image_is_an_error(root: Path) -> None:
    assert list(read_ucm(root, "test")) == []
    (root / "images" / "a" / "a01.png").unlink()
    with pytest.raises(EntryError, match=r"image missing.*a01\.png"):
        list(read_ucm(root, "val"))


def test_a_folder_gives_entries_of_all_splits(root: Path) -> None:
    entries, reasons = found("ucm", root)
    assert [(entry.image, entry.split, len(entry.turns)) for entry in entries] == [
        ("images/a/a00.png", "train", 2),
        ("images/a/a01.png", "val", 0),
        ("images/b/b00.png", "train", 1),
    ]
    assert entries[0].size_hw == (9, 12)
    assert reasons == {"caption repeated": 3, "question about no image": 1}


def test_questions_whose_noun_is_missing_are_left_out_but_nano_saw_them(root: Path) -> None:
    image = "images/b/b00.png"
    put(root / "vqa.json", [{"image": image, "question": "How many  in the picture?", "answer": "zero"}])
    entries, reasons = found("ucm", root)
    assert not any(entry.turns for entry in entries)
    assert reasons["question with a gap"] == 1
    (_, second) = read_ucm(root, "train")
    assert second.turns == (Turn("How many  in the picture?", "zero"),)


def test_what_is_wrong_is_left_out_alone(root: Path) -> None:
    first = {"image": "images/a/a00.png", "split": "train", "captions": [EVIL, "grass"]}
    rows = [first, first, {**first, "image": "../a.png"}, {**first, "image": "images/a/a01.png", "split": "all"}, {}, 7]
    put(root / "captions.json", rows)
    questions = [
        {"image": "images/a/a00.png", "question": "what?", "answer": "[SEG0]"},
        {"image": "images/a/a00.png", "question": "what?", "answer": None},
        {"question": "what?"},
    ]
    put(root / "vqa.json", questions)
    (entry,), reasons = found("ucm", root)
    assert (entry.captions, entry.turns) == (("Grass.",), ())
    assert reasons == {
        "text with a mark of the dialogue": 3, "text missing": 1, "record malformed": 4, "duplicate id": 1,
        "image path leaves its folder": 1,
    }  # fmt: skip
    with pytest.raises(EntryError, match="record malformed"):  # training wants all of it or nothing
        list(read_ucm(root, "train"))
