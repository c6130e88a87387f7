"""VRSBench: what is trained on, what is asked, and the traps of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from geopix.data.entries import EntryError
from geopix.records import Turn
from tests.data.sources.fakes import EVIL, found, pictures, put


def train(image: str, question: str, answer: str) -> dict[str, Any]:
    conversation = [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": answer}]
    return {"id": 1, "image": image, "conversations": conversation}


def refer(image: str, question: str, truth: str, corners: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "image_id": image, "question": question, "ground_truth": truth, "dataset": "RSBench", "question_id": 0,
        "type": "ref", "obj_corner": corners, "obj_cls": "ship", "obj_ids": [0], "size_group": "small", **more,
    }  # fmt: skip


def ask(image: str, question: str, answer: str, kind: str) -> dict[str, Any]:
    return {"image_id": image, "question": question, "ground_truth": answer, "question_id": 0, "type": kind}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures(tmp_path / "Images_train", "00002_0000.png", size_hw=(512, 512))
    pictures(tmp_path / "Images_val", "P0003_0002.png", size_hw=(512, 512))
    put(
        tmp_path / "VRSBench_train.json",
        [
            train("00002_0000.png", "[caption] Could you describe the contents of this image for me?", "A harbor."),
            train("00002_0000.png", "[refer] location for <p>the left ship</p>?", "{<45><45><50><50>}"),
            train("00002_0000.png", "[vqa] Is it big? A short answer to the question is", "No"),
            train("00002_0000.png", "[refer] location for <p>the far ship</p>?", "{<95><45><154><50>}"),
        ],
    )
    corners = [0.252, 0.402, 0.332, 0.402, 0.332, 0.601, 0.252, 0.601]
    put(
        tmp_path / "VRSBench_EVAL_referring.json",
        [
            refer("P0003_0002.png", "The ship on the left", "{<25><40><33><60>}", corners, unique=True),
            refer("P0003_0002.png", "The white ship", "{<25><40><33><60>}", corners, is_unique=True),
            refer("P0003_0002.png", "The ship that is a point", "{<25><40><25><60>}", [0.251, 0.4, 0.259, 0.6]),
            refer("P0003_0002.png", "The ship without corners", "{<70><70><80><80>}"),
            refer("P0003_0002.png", "The ship without a box", "somewhere"),
        ],
    )
    put(
        tmp_path / "VRSBench_EVAL_vqa.json",
        [
            ask("P0003_0002.png", "How many ships?", "2", "object quantity"),
            ask("P0003_0002.png", "Is it rural?", "No", "rural or urban"),
        ],
    )
    put(tmp_path / "VRSBench_EVAL_Cap.json", [ask("P0003_0002.png", "Describe", "Two ships.", "caption")])
    return tmp_path


def test_all_that_is_said_of_an_image_is_one_entry(folder: Path) -> None:
    (first, second), reasons = found("vrsbench", folder)
    assert (first.key, first.image) == ("vrsbench/train/00002_0000.png", "Images_train/00002_0000.png")
    assert (second.key, second.image) == ("vrsbench/test/P0003_0002.png", "Images_val/P0003_0002.png")
    assert (first.split, second.split) == ("train", "test")
    assert first.captions == ("A harbor.",)
    assert first.turns == (Turn("Is it big?", "No"),)
    (ship,) = first.objects
    assert (ship.class_name, ship.descriptions) == ("ship", ("the left ship",))
    assert ship.box_xyxy_px == pytest.approx((230.4, 230.4, 256, 256))
    assert second.captions == ("Two ships.",)
    assert second.turns == (Turn("How many ships?", "2"), Turn("Is it rural?", "No"))
    assert reasons == {"box out of the image": 1, "box degenerate": 1, "answer without a box": 1}


def test_evaluation_boxes_are_as_fine_as_their_corners(folder: Path) -> None:
    (left, other) = found("vrsbench", folder)[0][1].objects
    assert left.descriptions == ("The ship on the left", "The white ship")
    assert left.box_xyxy_px == pytest.approx((0.252 * 512, 0.402 * 512, 0.332 * 512, 0.601 * 512))
    assert other.box_xyxy_px == pytest.approx((0.7 * 512, 0.7 * 512, 0.8 * 512, 0.8 * 512))


def test_without_images_the_size_is_what_it_always_is(folder: Path) -> None:
    (folder / "Images_val" / "P0003_0002.png").unlink()
    entries, reasons = found("vrsbench", folder)
    assert [entry.split for entry in entries] == ["train"]
    assert reasons["image missing"] == 1
    entries, _ = found("vrsbench", folder, looks=False)
    assert [entry.size_hw for entry in entries] == [(512, 512), (512, 512)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (train("00002_0000.png", "[refer] <p>" + EVIL + "</p>", "{<1><2><3><4>}"), "text with a mark of the dialogue"),
        (train("../../x.png", "[vqa] what?", "it"), "image path leaves its folder"),
        ({"image": "00002_0000.png"}, "record malformed"),
        ({"image": "00002_0000.png", "conversations": [{"from": "human"}]}, "conversation without an answer"),
        ({"conversations": []}, "record malformed"),
        ("a text", "record malformed"),
    ],
    ids=str,
)  # fmt: skip
def test_a_row_that_can_not_be_used_has_a_reason(folder: Path, row: Any, reason: str) -> None:
    put(folder / "VRSBench_train.json", [train("00002_0000.png", "[vqa] what?", "it"), row])
    entries, reasons = found("vrsbench", folder)
    assert entries[0].turns == (Turn("what?", "it"),)
    assert reasons[reason] == 1


def test_any_of_the_files_will_do_but_one_is_needed(folder: Path) -> None:
    for name in ("VRSBench_train.json", "VRSBench_EVAL_referring.json", "VRSBench_EVAL_vqa.json"):
        (folder / name).unlink()
    (entry,), _ = found("vrsbench", folder)
    assert entry.captions == ("Two ships.",)
    (folder / "VRSBench_EVAL_Cap.json").unlink()
    with pytest.raises(EntryError, match="holds none of VRSBench_train"):
        found("vrsbench", folder)
