"""GeoPixInstruct-Anno: the card's schema, other names for its fields, and boxes that are not what they seem."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geopix.data.entries import MOST_OBJECTS, EntryError
from tests.data.sources.fakes import EVIL, found, pictures, rle

arrow = pytest.importorskip("pyarrow", reason="the extra geopix[data] is not installed")
parquet = pytest.importorskip("pyarrow.parquet")


def instance(
    box: tuple[int, int, int, int], category: str | None = "ship", told: str = "the ship", **changed: Any
) -> Any:
    return {
        "bbox": list(box), "category": category, "category_id": 3, "description": told, "instance_id": 0,
        "mask": rle(*box), **changed,
    }  # fmt: skip


def row(name: str, *instances: Any) -> dict[str, Any]:
    return {"image_id": name, "image_path": f"{name}.png", "instances": list(instances)}


def put(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(arrow.Table.from_pylist(list(rows)), path)


FIRST = row("P1", instance((10, 20, 30, 40)), instance((50, 50, 90, 60), "storage-tank", "the tank"))
SECOND = row("P2", instance((0, 0, 100, 80), "Boeing737", "the airplane"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures(tmp_path / "images", "P1.png", "P2.png")
    put(tmp_path / "data" / "train.SIOR_T-00000-of-00001.parquet", FIRST)
    put(tmp_path / "data" / "valid.SOTA_T-00000-of-00001.parquet", SECOND)
    return tmp_path


@pytest.mark.parametrize("looks", [True, False])
def test_rows_are_images_of_the_split_in_the_files_name(folder: Path, looks: bool) -> None:
    (first, second), reasons = found("geopix_instruct", folder, looks=looks)
    assert not reasons
    assert (first.key, first.image, first.size_hw) == ("geopix_instruct/SIOR_T/P1", "P1.png", (80, 100))
    assert (first.split, second.split, second.key) == ("train", "val", "geopix_instruct/SOTA_T/P2")
    tank = first.objects[1]
    assert (tank.class_name, tank.category, tank.descriptions) == ("storage tank", "storage-tank", ("the tank",))
    assert tank.box_xyxy_px == (50.0, 50.0, 90.0, 60.0)
    assert tank.counts == rle(50, 50, 90, 60)["counts"]
    assert not first.complete


def test_images_are_optional(folder: Path) -> None:
    for path in (folder / "images").iterdir():
        path.unlink()
    (folder / "images").rmdir()
    entries, reasons = found("geopix_instruct", folder, looks=False)
    assert [entry.image for entry in entries] == ["P1.png", "P2.png"]
    assert not reasons


@pytest.mark.parametrize("anonymous", [False, True])
def test_other_names_for_the_fields_are_known(tmp_path: Path, anonymous: bool) -> None:
    objects = [
        {"box": [10, 20, 30, 40], "class": "ship", "caption": "the ship", "segmentation": rle(10, 20, 30, 40)},
        {"box": [1, 2, 30, 40], "class": "dam", "caption": "the dam", "segmentation": rle(1, 2, 30, 40)},
    ]
    path = "/mnt/somebody/P1.png" if anonymous else "P1.png"
    put(tmp_path / "test.parquet", {"id": 7, "file_name": path, "objects": objects})
    (entry,), reasons = found("geopix_instruct", tmp_path, looks=False)
    assert not reasons
    assert (entry.key, entry.image, entry.split) == ("geopix_instruct/7", "P1.png", "test")
    assert [one.descriptions for one in entry.objects] == [("the ship",), ("the dam",)]


def test_objects_may_lie_as_a_record_of_lists_and_pictures_inside_the_file(tmp_path: Path) -> None:
    lists = {name: [one[name] for one in FIRST["instances"]] for name in FIRST["instances"][0]}
    put(tmp_path / "train.parquet", {"image": {"bytes": b"x" * 1000, "path": "P1.png"}, "instances": lists})
    (entry,), reasons = found("geopix_instruct", tmp_path, looks=False)
    assert not reasons
    assert (entry.key, entry.image) == ("geopix_instruct/P1.png", "P1.png")
    assert [one.category for one in entry.objects] == ["ship", "storage-tank"]


def test_boxes_with_width_and_height_are_told_by_their_masks(tmp_path: Path) -> None:
    boxes = [(10, 20, 30, 40), (50, 50, 60, 60), (5, 5, 80, 70)]
    put(
        tmp_path / "train.parquet",
        row("P1", *(instance(box, bbox=[box[0], box[1], box[2] - box[0], box[3] - box[1]]) for box in boxes)),
    )
    (entry,), _ = found("geopix_instruct", tmp_path, looks=False)
    assert [one.box_xyxy_px for one in entry.objects] == boxes


def test_what_is_wrong_with_an_object_leaves_out_that_object(tmp_path: Path) -> None:
    bad = [
        instance((10, 20, 30, 40), told=EVIL),
        instance((10, 20, 30, 40), mask=rle(10, 20, 30, 40, size_hw=(60, 60))),
        instance((10, 20, 30, 40), mask={"size": [80, 100], "counts": "oooooooooo"}),
        instance((10, 20, 30, 40), mask=rle(0, 0, 0, 0)),
        instance((10, 20, 30, 40), bbox=[10, 20, 500, 40]),
        instance((10, 20, 30, 40), category=None),
    ]
    put(tmp_path / "train.parquet", row("P1", instance((1, 2, 3, 4)), *bad), row("../P2", instance((1, 2, 3, 4))))
    (entry,), reasons = found("geopix_instruct", tmp_path, looks=False)
    assert [one.box_xyxy_px for one in entry.objects] == [(1, 2, 3, 4)]
    assert reasons == {
        "text with a mark of the dialogue": 1, "mask of the wrong size": 2, "mask empty": 1, "text missing": 1,
        "box out of the image": 1, "image path leaves its folder": 1,
    }  # fmt: skip


def test_a_row_with_too_many_objects_is_refused_before_they_are_made(tmp_path: Path) -> None:
    crowd = [{"bbox": [1, 2, 3, 4], "category": "ship"}] * (MOST_OBJECTS + 1)
    calm = [{"bbox": [1, 2, 3, 4], "category": "ship"}]
    pictures(tmp_path / "images", "a.png", "b.png")
    put(tmp_path / "train.parquet", {"id": "a.png", "objects": crowd}, {"id": "b.png", "objects": calm})
    (entry,), reasons = found("geopix_instruct", tmp_path)
    assert entry.size_hw == (80, 100)
    assert reasons == {"too many objects in one image": 1}


def test_numbers_of_numpy_and_many_rows_come_in_batches(tmp_path: Path) -> None:
    rows = [row(f"P{n}", instance((n % 50, 1, n % 50 + 9, 9), category_id=np.int64(n))) for n in range(200)]
    put(tmp_path / "train.parquet", *rows)
    entries, reasons = found("geopix_instruct", tmp_path, looks=False)
    assert [entry.image for entry in entries] == [f"P{n}.png" for n in range(200)]
    assert not reasons


def test_what_is_no_such_set_is_told(tmp_path: Path) -> None:
    with pytest.raises(EntryError, match="holds no parquet file"):
        found("geopix_instruct", tmp_path)
    put(tmp_path / "train.parquet", {"question": "what?", "answer": "this"})
    with pytest.raises(EntryError, match=r"no columns for images and their objects.*question"):
        found("geopix_instruct", tmp_path)
    (tmp_path / "train.parquet").write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(EntryError, match="is no parquet file that can be read"):
        found("geopix_instruct", tmp_path)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(EntryError, match=r"pip install 'geopix\[data\]'"):
        found("geopix_instruct", tmp_path)
