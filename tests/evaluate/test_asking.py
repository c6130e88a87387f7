"""Which folder is asked what: a benchmark in its place or by itself, UC Merced, the evaluation part of a set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from geopix.data.entries import EntryError
from geopix.evaluate.asking import sheet
from geopix.evaluate.questions import CAPTION
from geopix.evaluate.vqa import TABLE_4, TABLE_5
from geopix.records import Turn
from tests.data.sources.fakes import pictures
from tests.evaluate.test_questions import rsieval, ucm, vrsbench
from tests.tiny import scene
from tests.tiny_set import TOLD, entry_of, tiny_set

ASKED = scene(
    [], (60, 60), key="asked", split="val", complete=False, captions=("Many trees.", "A wood."),
    turns=(Turn("Is there a road?", "No."), Turn("Segment it.", "Here.", "segment"), Turn("What?", "[SEG0]")),
)  # fmt: skip


def test_a_benchmark_lies_in_its_folder_or_is_the_folder(tmp_path: Path) -> None:
    vrsbench(tmp_path / "vrsbench")
    pictures(tmp_path / "vrsbench" / "Images_train", "T1.png", "T2.png")
    rsieval(tmp_path / "rsieval")
    ucm(tmp_path / "ucm")
    for number, name, kinds in (
        (4, "vrsbench", TABLE_4),
        (5, "rsieval", TABLE_5),
        (6, "rsieval", ()),
        (7, "vrsbench", ()),
    ):
        inside, itself = sheet(number, tmp_path), sheet(number, tmp_path / name)
        assert inside.whole.name.lower().startswith(name)
        assert inside.kinds == itself.kinds == kinds
        assert [one.id for one in inside.whole.asked] == [one.id for one in itself.whole.asked]
    assert [key for key, _ in sheet(4, tmp_path).training] == ["Images_train/T1.png", "Images_train/T2.png"]
    assert sheet(5, tmp_path).training == ()
    assert sheet(4, tmp_path / "ucm").whole.name == "UC Merced val, questions"
    assert [key for key, _ in sheet(7, tmp_path / "ucm").training] == ["ucm/images/beach/beach01.jpg"]


def test_training_names_of_uc_merced_stay_in_its_folder(tmp_path: Path) -> None:
    folder = ucm(tmp_path / "ucm")
    rows = json.loads((folder / "captions.json").read_text())
    named = ("/dev/zero", "../../secret.png", 7)
    rows += [{"image": name, "split": "train", "captions": ["A beach ."]} for name in named]
    (folder / "captions.json").write_text(json.dumps(rows))
    for number in (4, 7):
        files = [path for _, path in sheet(number, folder).training]
        assert files == [folder / "images/beach/beach01.jpg", None, None, None]


def test_a_set_is_asked_what_came_with_its_evaluation_images(tmp_path: Path) -> None:
    folder = tiny_set(tmp_path / "set", (entry_of(TOLD), entry_of(ASKED)), (TOLD, ASKED))
    questions, captions = sheet(4, folder), sheet(6, folder)
    (one,) = questions.whole.asked
    assert (one.id, one.image_key, one.question, one.answers) == (
        "asked/question 1",
        "asked",
        "Is there a road?",
        ("No",),
    )
    assert questions.whole.left_out == {"text with a mark of the dialogue": 1}
    assert questions.kinds == ()
    (one,) = captions.whole.asked
    assert (one.question, one.answers) == (CAPTION, ("Many trees.", "A wood."))
    assert [key for key, _ in captions.training] == ["told"]
    tested = replace(ASKED, key="tested", split="test")
    folder = tiny_set(tmp_path / "other", (entry_of(tested),), (tested,))
    assert [one.id for one in sheet(5, folder).whole.asked] == ["tested/question 1"]


def test_images_of_a_set_that_are_gone_or_changed_are_counted(tmp_path: Path) -> None:
    other, small = replace(ASKED, key="other"), replace(ASKED, key="small")
    folder = tiny_set(tmp_path / "set", tuple(map(entry_of, (ASKED, other, small))), (ASKED, other, small))
    (tmp_path / "set-images" / "other.png").unlink()
    pictures(tmp_path / "set-images", "small.png", size_hw=(5, 5))
    assert sheet(7, folder).whole.left_out == {"image missing": 1, "image of another size": 1}


def test_a_folder_of_nothing_is_told_what_is_needed(tmp_path: Path) -> None:
    for number, wanted in ((4, "vrsbench/VRSBench_EVAL_vqa.json or ucm/vqa.json"), (6, "rsieval/annotations.json")):
        with pytest.raises(EntryError, match=f"table {number} could ask: it needs {wanted}"):
            sheet(number, tmp_path)
    with pytest.raises(EntryError, match="nothing can be asked"):
        sheet(4, tiny_set(tmp_path / "set", (entry_of(TOLD),), (TOLD,)))
