"""SAMRS: FAST's other name for its box, classes by label, and masks that came out empty."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geopix.data.entries import MOST_OBJECTS, Annotated, EntryError
from geopix.data.sources.samrs import CLASSES
from tests.data.sources.fakes import found, pictures, rle


def record(category: str, label: int | None, box: tuple[int, int, int, int], **changed: Any) -> dict[str, Any]:
    made = {"mask": rle(*box), "bbox": np.array(box, float), "category": category, "size": 9, "label": label, **changed}
    return {name: value for name, value in made.items() if value is not None}


def put(folder: Path, **images: Any) -> Path:
    (folder / "ins").mkdir()
    for name, records in images.items():
        (folder / "ins" / f"{name}.pkl").write_bytes(pickle.dumps(records))
    return folder


@pytest.fixture
def sior(tmp_path: Path) -> Path:
    pictures(tmp_path / "images", "00001.jpg", "00002.jpg")
    first = [record("ship", 13, (10, 20, 30, 40)), record("storagetank", 15, (50, 50, 60, 60))]
    return put(tmp_path, **{"00001": first, "00002": [record("windmill", 19, (0, 0, 100, 80))]})


def test_every_pickle_is_an_image(sior: Path) -> None:
    (first, second), reasons = found("sior", sior)
    assert not reasons
    assert (first.key, first.image, first.size_hw, first.split) == ("sior/00001", "00001.jpg", (80, 100), "train")
    counts = rle(50, 50, 60, 60)["counts"]
    assert first.objects[1] == Annotated("storage tank", (50, 50, 60, 60), counts, "storagetank")
    assert [one.class_name for one in second.objects] == ["windmill"]
    assert first.complete


def test_without_images_the_masks_tell_the_size(sior: Path) -> None:
    (sior / "images" / "00001.jpg").unlink()
    entries, reasons = found("sior", sior)
    assert ([entry.key for entry in entries], dict(reasons)) == (["sior/00002"], {"image missing": 1})
    entries, reasons = found("sior", sior, looks=False)
    assert [(entry.key, entry.size_hw) for entry in entries] == [("sior/00001", (80, 100)), ("sior/00002", (80, 100))]
    assert not reasons


def test_fast_names_its_boxes_otherwise_and_sota_has_png_tiles(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "1.png")
    turned = record("Boeing737", 7, (5, 6, 20, 30), bbox=None, rbox=np.ones((4, 2)), rhbox=np.array([5.0, 6, 20, 30]))
    put(tmp_path, **{"1": [turned, record("Small-Car", 29, (50, 60, 55, 66))]})
    (entry,), reasons = found("fast", tmp_path)
    assert not reasons
    assert [(one.class_name, one.category) for one in entry.objects] == [
        ("boeing737", "Boeing737"),
        ("small car", "Small-Car"),
    ]
    assert entry.objects[0].box_xyxy_px == (5.0, 6.0, 20.0, 30.0)
    assert found("sota", tmp_path)[1] == {"unknown class": 2}


def test_what_is_wrong_with_an_object_leaves_out_that_object(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "1.jpg")
    good, ship = record("dam", 8, (1, 1, 9, 9)), (10, 20, 30, 40)
    bad = [
        record("ship", 13, ship, mask=rle(0, 0, 0, 0), size=0),
        record("ship", 13, ship, mask=rle(10, 20, 30, 40, size_hw=(81, 100))),
        record("ship", 13, ship, mask={"size": [80, 100], "counts": "o" * 1000}),
        record("ship", 13, ship, bbox=np.array([10.0, 20, 10, 40])),
        record("ship", 13, ship, bbox=np.array([10.0, 20, 300, 40])),
        record("ship", 13, ship, bbox=np.array([np.nan, 20, 30, 40])),
        record("ship", 12, ship),
        record("submarine", 13, ship),
        record("ship", 13, ship, bbox=None),
        "no record",
    ]
    put(tmp_path, **{"1": [good, *bad]})
    (entry,), reasons = found("sior", tmp_path)
    assert [one.class_name for one in entry.objects] == ["dam"]
    assert not entry.complete  # a ship is there that nobody could use
    assert reasons == {
        "mask empty": 1, "mask of the wrong size": 2, "box degenerate": 1, "box out of the image": 1,
        "box not finite": 1, "class and label disagree": 1, "unknown class": 1, "record malformed": 2,
    }  # fmt: skip


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def test_a_hostile_pickle_runs_nothing_and_takes_no_other_image_down(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    put(
        tmp_path,
        **{
            "1": Evil(tmp_path / "executed"),
            "2": [{**record("ship", 13, (1, 1, 5, 5)), "bbox": Evil(tmp_path / "executed")}],
            "3": {"not": "a list"},
            "4": [record("ship", 13, (1, 1, 5, 5))],
        },
    )
    (tmp_path / "ins" / "5.pkl").write_bytes(b"\x80\x04]broken")
    entries, reasons = found("sior", tmp_path)
    assert [entry.key for entry in entries] == ["sior/4"]
    assert reasons == {"pickle that would run code": 2, "record malformed": 1, "pickle broken": 1}
    assert not (tmp_path / "executed").exists()


def test_a_pickle_that_says_one_object_a_million_times_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "1.jpg")
    one = record("ship", 13, (1, 1, 5, 5))
    put(tmp_path, **{"1": [one] * (MOST_OBJECTS + 1)})  # two bytes each
    assert found("sior", tmp_path) == ([], {"too many objects in one image": 1})


def test_lists_of_ids_are_splits(sior: Path) -> None:
    (sior / "train.txt").write_text("00002\n")
    (sior / "valid.txt").write_text("00001\n00099\n")
    entries, _ = found("sior", sior)
    assert [(entry.key, entry.split) for entry in entries] == [("sior/00001", "val"), ("sior/00002", "train")]
    (sior / "valid.txt").write_text("")
    assert found("sior", sior)[1] == {"image in no split": 1}
    (sior / "valid.txt").write_text("00002\n")
    with pytest.raises(EntryError, match=r"valid\.txt lists 00002"):
        found("sior", sior)


def test_a_folder_without_pickles_is_told(tmp_path: Path) -> None:
    with pytest.raises(EntryError, match=r"ins is missing.*--help"):
        found("sior", tmp_path)


def test_the_classes_are_the_75_of_the_papers_memory() -> None:
    assert [len(CLASSES[subset]) for subset in ("sior", "fast", "sota")] == [20, 37, 18]
    assert CLASSES["sota"][9] == "small-vehicle"
