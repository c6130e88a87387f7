"""The benchmarks' files become questions; what can't be asked is counted, and nothing is asked of a missing image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from geopix.data.entries import EntryError
from geopix.evaluate.questions import (
    CAPTION,
    Questions,
    rsieval_captions,
    rsieval_vqa,
    ucm_captions,
    ucm_vqa,
    vrsbench_captions,
    vrsbench_vqa,
)
from tests.data.sources.fakes import pictures, put


def vrsbench(folder: Path) -> Path:
    pictures(folder / "Images_val", "P1.png", "P2.png")
    rows: list[Any] = [
        ("P1.png", "How many ships?", "2", "object quantity"),
        ("P1.png", "Rural?", "No", "Rural or Urban"),
        ("P2.png", "What weather?", "fair", "weather"),
        ("P3.png", "How many?", "2", "object quantity"),
        ("P3.png", "Is there one?", "Yes", "object existence"),
        ("P2.png", "", "Yes", "object existence"),
        ("P2.png", "Is there a road? " * 200, "Yes", "object existence"),
    ]
    told = [
        {"image_id": image, "question": question, "ground_truth": answer, "type": kind, "question_id": number}
        for number, (image, question, answer, kind) in enumerate(rows)
    ]
    put(folder / "VRSBench_EVAL_vqa.json", [*told, {**told[0]}, 7, {"image_id": "P1.png"}])
    caption = {"image_id": "P1.png", "ground_truth": "Two ships.", "question_id": 0, "type": "caption"}
    put(folder / "VRSBench_EVAL_Cap.json", [caption, {**caption, "image_id": "../P1.png", "question_id": 1}])
    return folder


def rsieval(folder: Path) -> Path:
    pictures(folder / "images", "P1.png", "P2.png")
    pairs = [
        {"question": "Is there a road?", "answer": "Yes", "type": "Presence"},
        {"question": "Where to?", "answer": "North.", "type": "road_ori"},
        {"question": "Why?", "answer": "So.", "type": 3},
    ]
    rows = [
        {"filename": "P1.png", "caption": "An airport.", "qa_pairs": pairs},
        {"filename": "P9.png", "caption": "gone", "qa_pairs": pairs[:2]},
        {"filename": "P2.png", "caption": "A road."},
    ]
    put(folder / "annotations.json", {"info": {}, "annotations": rows})
    return folder


def ucm(folder: Path) -> Path:
    pictures(folder / "images/beach", "beach00.jpg", "beach01.jpg")
    names = [f"images/beach/beach0{number}.jpg" for number in range(3)]
    splits = ("val", "train", "val")
    captions = [
        {"image": name, "split": split, "captions": ["A beach .", "A beach .", "Sand ."]}
        for name, split in zip(names, splits, strict=True)
    ]
    put(folder / "captions.json", captions)
    asked = [
        ("what is the theme of this picture?", "beach"), ("Does this picture contain trees?", "no"),
        ("How many cars in the picture?", "zero"), ("What is the location of the boat in this picture?", "left"),
        ("How many  in the picture?", "one"),
    ]  # fmt: skip
    put(folder / "vqa.json", [{"image": name, "question": q, "answer": a} for name in names for q, a in asked])
    return folder


def told(questions: Questions) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return [(one.id, one.kind, one.question, one.answers) for one in questions.asked]


def test_vrsbench_merges_its_scene_types_and_counts_what_is_left_out(tmp_path: Path) -> None:
    found = vrsbench_vqa(vrsbench(tmp_path))
    assert told(found) == [
        ("vrsbench/0", "quantity", "How many ships?", ("2",)),
        ("vrsbench/1", "scene", "Rural?", ("No",)),
        ("vrsbench/2", "weather", "What weather?", ("fair",)),
    ]
    assert found.left_out == {
        "image missing": 2, "text empty": 1, "question too long": 1, "duplicate id": 1, "record malformed": 2,
    }  # fmt: skip
    assert str(found) == (
        "VRSBench, questions: 3 questions about 2 images; left out: 2 image missing, 1 text empty, "
        "1 question too long, 1 duplicate id, 2 record malformed"
    )
    assert found.asked[0].image.is_file()


def test_captions_of_vrsbench_are_asked_as_the_paper_asks(tmp_path: Path) -> None:
    found = vrsbench_captions(vrsbench(tmp_path))
    assert told(found) == [("vrsbench/0", "caption", CAPTION, ("Two ships.",))]
    assert found.left_out == {"image path leaves its folder": 1}


def test_rsieval_has_the_columns_of_table_5(tmp_path: Path) -> None:
    found = rsieval_vqa(rsieval(tmp_path))
    assert [(one.kind, one.question, one.answers) for one in found.asked] == [
        ("presence", "Is there a road?", ("Yes",)),
        ("road direction", "Where to?", ("North",)),  # without its full stop
    ]
    assert found.left_out == {"text missing": 1, "image missing": 2}
    captions = rsieval_captions(tmp_path)
    assert [one.answers for one in captions.asked] == [("An airport.",), ("A road.",)]
    assert captions.left_out == {"image missing": 1}


def test_ucm_asks_about_one_split_and_keeps_repeated_captions(tmp_path: Path) -> None:
    found = ucm_vqa(ucm(tmp_path))
    assert [one.kind for one in found.asked] == ["scene", "presence", "quantity", "position"]
    assert {one.image_key for one in found.asked} == {"ucm/images/beach/beach00.jpg"}
    assert found.left_out == {"question with a gap": 2, "image missing": 4}
    captions = ucm_captions(tmp_path)
    assert [one.answers for one in captions.asked] == [("A beach .", "A beach .", "Sand .")]
    assert len(ucm_captions(tmp_path, "train").asked) == 1


def test_the_hash_follows_the_files(tmp_path: Path) -> None:
    first = ucm_vqa(ucm(tmp_path)).sha256
    assert ucm_vqa(tmp_path).sha256 == first
    put(tmp_path / "vqa.json", [{"image": "images/beach/beach00.jpg", "question": "Why?", "answer": "so"}])
    assert ucm_vqa(tmp_path).sha256 != first


@pytest.mark.parametrize(
    "read", [vrsbench_vqa, vrsbench_captions, rsieval_vqa, rsieval_captions, ucm_vqa, ucm_captions]
)
def test_a_folder_without_its_files_or_images_is_one_sentence(
    tmp_path: Path, read: Callable[[Path], Questions]
) -> None:
    with pytest.raises(EntryError, match="is missing"):
        read(tmp_path)
    for make in (vrsbench, rsieval, ucm):
        make(tmp_path)
    for path in tmp_path.rglob("*.[jp][pn]g"):
        path.unlink()
    with pytest.raises(EntryError, match=r"nothing can be asked: .*image missing|nothing can be asked: .*folder"):
        read(tmp_path)
