"""The questions of whole folders: a set of ours by its splits and subsets, VRSBench by its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geopix.data.entries import EntryError
from geopix.evaluate.probes import probes
from geopix.records import encode_mask
from tests.data.sources.fakes import pictures, put
from tests.tiny import scene
from tests.tiny_set import ENTRIES, KEPT, SAMPLES, TWO, entry_of, tiny_set

VAL = replace(TWO, key="val", split="val")
OTHER = replace(scene([("windmill", (10, 10, 60, 60))], (80, 100), key="other"), split="val")
DESCRIBED = (
    entry_of(VAL, [["The ship on the left."], ["The ship on the right."]], subset="A_T"),
    entry_of(OTHER, subset="C_T"),
)


def test_a_set_is_asked_about_its_val_images_and_what_its_subset_annotates(tmp_path: Path) -> None:
    folder = tiny_set(tmp_path / "set", (*ENTRIES, *DESCRIBED), (*SAMPLES, VAL, OTHER))
    found = probes(folder, ("referred", "all", "absent"))
    assert [(one.id, one.question) for one in found.asked if one.image_key == "val"] == [
        ("val/referred", "Segment the ship on the left and the ship on the right."),
        ("val/all ship", "Segment all ships."),
        ("val/absent", "Segment the airplane."),  # or the bridge: of subset A_T, nothing else
    ]
    assert [one.question for one in found.asked if one.image_key == "other"] == ["Segment all windmills."]
    assert found.name == "set, val"
    assert found.left_out == {
        "no object that kind 'referred' can ask for": 2, "no object that kind 'absent' can ask for": 1,
    }  # fmt: skip
    assert {key for key, _ in found.evaluated} == {"kept", "val", "other"}
    assert {key for key, _ in found.training} == {"two", "bridge", "tall", "boxes", "told"}
    referred = next(one for one in found.asked if one.id == "val/referred")
    assert [true.counts for true in referred.truth] == [
        encode_mask(one.mask)["counts"] for one in TWO.instances if one.mask is not None
    ]
    assert np.array_equal(referred.pixels(), VAL.image)
    assert str(found).startswith("set, val: 6 of 6 questions about 3 images; 1 not asked: no object")


def test_a_limit_takes_the_same_questions_and_only_their_images(tmp_path: Path) -> None:
    folder = tiny_set(tmp_path / "set", (*ENTRIES, *DESCRIBED), (*SAMPLES, VAL, OTHER))
    whole, some = probes(folder, ("all",)), probes(folder, ("all",), 1)
    assert [one.id for one in some.asked] == [one.id for one in whole.asked[:1]]
    assert [key for key, _ in some.evaluated] == [some.asked[0].image_key]
    assert (some.of, len(some.training)) == (3, 5)
    assert some.fingerprint() != whole.fingerprint()


def test_a_set_without_val_images_is_asked_about_its_test_images(tmp_path: Path) -> None:
    tested = tuple(replace(entry, split="test") for entry in DESCRIBED)
    found = probes(tiny_set(tmp_path / "set", tested, (VAL, OTHER)), ("box",))
    assert (found.name, len(found.asked)) == ("set, test", 2)
    assert [one.question for one in found.asked] == [
        "[refer] Where is the ship on the left?", "[refer] Where is the ship on the right?",
    ]  # fmt: skip
    assert found.asked[0].box == TWO.instances[0].box_xyxy_px
    with pytest.raises(EntryError, match="holds no question for this table"):
        probes(tiny_set(tmp_path / "other", (entry_of(KEPT),), (KEPT,)), ("box",))


def test_training_names_of_vhr10_stay_in_its_folder(tmp_path: Path) -> None:
    root = tmp_path / "nwpu_vhr10"
    pictures(root / "images", "t.png", "v.png", size_hw=(64, 64))
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 30, 30]}
    square = [[4, 4, 34, 4, 34, 34, 4, 34]]
    put(
        root / "annotations.json",
        {
            "images": [{"id": 1, "file_name": "v.png", "height": 64, "width": 64}],
            "annotations": [{**box, "segmentation": square}],
            "categories": [{"id": 1, "name": "ship"}],
        },
    )
    put(root / "split.json", {"train": ["t.png", "/dev/zero", "../../secret.png"], "val": ["v.png"]})
    found = probes(tmp_path, ("all",))
    assert [path for _, path in found.training] == [root / "images" / "t.png", None, None]
    assert found.evaluated == (("nwpu_vhr10/v.png", root / "images" / "v.png"),)


def _row(number: int, corners: list[float], **more: object) -> dict[str, object]:
    return {
        "image_id": "P1.png", "question": "The ship near the pier.", "question_id": number, "obj_corner": corners,
        "obj_cls": "ship", "type": "ref", **more,
    }  # fmt: skip


def test_vrsbench_is_asked_with_its_own_truncated_hundredths(tmp_path: Path) -> None:
    pictures(tmp_path / "Images_val", "P1.png", size_hw=(50, 200))
    pictures(tmp_path / "Images_train", "T1.png")
    corners = [0.29, 0.105, 0.5, 0.105, 0.5, 0.999, 0.29, 0.999]
    rows = [
        _row(0, corners, unique=True), _row(1, corners, is_unique=False, unique=True), _row(2, corners),
        _row(3, [0.5, 0.5, 0.5, 0.9]), _row(4, corners, image_id="P2.png"), _row(5, corners, question=""),
        _row(7, corners), _row(7, corners), _row(8, corners, question="ship " * 500), {"image_id": "P1.png"},
    ]  # fmt: skip
    put(tmp_path / "VRSBench_EVAL_referring.json", rows)
    found = probes(tmp_path, ("box",))
    assert [(one.id, one.unique) for one in found.asked] == [
        ("vrsbench/P1.png/0", True), ("vrsbench/P1.png/1", False), ("vrsbench/P1.png/2", None),
    ]  # fmt: skip
    first = found.asked[0]
    assert first.question == "[refer] Where is the ship near the pier?"
    assert first.units == (28, 10, 50, 99)  # int(100 * 0.29) is 28
    assert first.box == pytest.approx((58.0, 5.25, 100.0, 49.95))
    assert first.size_hw == (50, 200)
    assert found.of == 10
    assert found.left_out == {
        "box degenerate": 1, "image missing": 1, "text empty": 1, "id that is there twice": 2, "record malformed": 1,
        "question too long": 1,
    }  # fmt: skip
    assert [key for key, _ in found.evaluated] == ["vrsbench/P1.png"]
    assert [key for key, _ in found.training] == ["Images_train/T1.png"]
    with pytest.raises(EntryError, match="nothing to ask about"):
        probes(tmp_path, ("all",))  # it has no masks
