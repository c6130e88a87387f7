"""COCO files as samples: polygons and run lengths, names of ours, and images that are there under another suffix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from geopix.data.entries import EntryError
from geopix.data.sources.coco import read_coco, read_vhr10
from geopix.records import Mask, encode_mask
from tests.data.sources.fakes import EVIL, found, pictures, put, rle

SQUARE = [[2, 1, 6, 1, 6, 4, 2, 4]]
"""A polygon over columns 2 to 5 and rows 1 to 3 of an image of 8 x 10 pixels (height x width)."""


def square() -> Mask:
    mask = np.zeros((8, 10), np.bool_)
    mask[1:4, 2:6] = True
    return mask


def write(folder: Path, segmentations: dict[str, list[Any]]) -> Path:
    """A COCO file whose images hold these objects, and the images as PNG."""
    (folder / "images").mkdir()
    table: dict[str, Any] = {"categories": [{"id": 3, "name": "storage_tank"}], "images": [], "annotations": []}
    for index, (name, objects) in enumerate(segmentations.items()):
        image = np.full((8, 10, 3), 10 * index, np.uint8)
        PillowImage.fromarray(image).save((folder / "images" / Path(name).name).with_suffix(".png"))
        table["images"].append({"id": index, "file_name": name})
        for one in objects:
            table["annotations"].append({"image_id": index, "category_id": 3, "segmentation": one})
    (folder / "annotations.json").write_text(json.dumps(table))
    return folder / "annotations.json"


@pytest.mark.parametrize(
    "segmentation",
    [
        SQUARE,
        json.dumps(SQUARE),
        encode_mask(square()),
        {"size": [8, 10], "counts": [17, 3, 5, 3, 5, 3, 5, 3, 36]},
        [[2, 1, 4, 1, 4, 4, 2, 4], [4, 1, 6, 1, 6, 4, 4, 4], [0, 0, 9, 9]],
    ],
    ids=["polygon", "polygon as text", "compressed", "run lengths", "two polygons and a line"],
)
def test_every_form_of_segmentation_is_the_same_mask(tmp_path: Path, segmentation: Any) -> None:
    (sample,) = read_coco(write(tmp_path, {"a.png": [segmentation]}), tmp_path / "images", source="set")
    (instance,) = sample.instances
    assert instance.mask is not None
    assert np.array_equal(instance.mask, square())
    assert instance.box_xyxy_px == (2.0, 1.0, 6.0, 4.0)
    assert instance.class_name == instance.phrase == "storage tank"


def test_samples_are_named_by_source_and_keep_what_they_are_told(tmp_path: Path) -> None:
    file = write(tmp_path, {"a.png": [SQUARE], "b.png": [], "c.png": [SQUARE, SQUARE]})
    samples = list(read_coco(file, tmp_path / "images", source="set", split="val", complete=False))
    assert [sample.key for sample in samples] == ["set/a.png", "set/b.png", "set/c.png"]
    assert [len(sample.instances) for sample in samples] == [1, 0, 2]
    assert [int(sample.image[0, 0, 0]) for sample in samples] == [0, 10, 20]
    assert {sample.split for sample in samples} == {"val"}
    assert not any(sample.complete for sample in samples)
    assert [s.key for s in read_coco(file, tmp_path / "images", source="set", keep={"b.png"})] == ["set/b.png"]


@pytest.mark.parametrize("name", ["port_rgb.tiff", "far/away/port_rgb.tiff", "port.2024.tiff"])
def test_an_image_may_lie_there_as_png(tmp_path: Path, name: str) -> None:
    (sample,) = read_coco(write(tmp_path, {name: [SQUARE]}), tmp_path / "images", source="set")
    assert sample.key == f"set/{name}"
    assert sample.size_hw == (8, 10)


def test_an_image_that_is_not_rgb_becomes_it(tmp_path: Path) -> None:
    file = write(tmp_path, {"a.png": []})
    PillowImage.new("L", (10, 8), 77).save(tmp_path / "images" / "a.png")
    (sample,) = read_coco(file, tmp_path / "images", source="set")
    assert sample.image.shape == (8, 10, 3)
    assert set(sample.image.ravel()) == {77}


@pytest.mark.parametrize("segmentation", [[], [[1, 1, 2, 2]], {"size": [8, 10], "counts": [80]}])
def test_an_object_without_pixels_is_left_out(tmp_path: Path, segmentation: Any) -> None:
    (sample,) = read_coco(write(tmp_path, {"a.png": [segmentation]}), tmp_path / "images", source="set")
    assert sample.instances == ()


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ({"size": [8, 10], "counts": [3, 4]}, "run lengths sum to 7"),
        ({"size": [10, 8], "counts": [17, 3, 60]}, r"a mask of \(10, 8\) does not fit"),
    ],
)
def test_a_segmentation_that_does_not_fit_is_an_error(tmp_path: Path, segmentation: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        list(read_coco(write(tmp_path, {"a.png": [segmentation]}), tmp_path / "images", source="set"))


def test_a_missing_image_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path, {"a.png": []})
    (tmp_path / "images" / "a.png").unlink()
    with pytest.raises(EntryError, match=r"image missing.*a\.png"):
        list(read_coco(file, tmp_path / "images", source="set"))


def test_vhr10_is_read_by_its_split(tmp_path: Path) -> None:
    write(tmp_path, {"001.png": [SQUARE], "002.png": [], "003.png": [SQUARE]})
    (tmp_path / "split.json").write_text(json.dumps({"train": ["001.png", "003.png"], "val": ["002.png"]}))
    assert [sample.key for sample in read_vhr10(tmp_path, "train")] == ["nwpu_vhr10/001.png", "nwpu_vhr10/003.png"]
    (only,) = read_vhr10(tmp_path, "val")
    assert only.split == "val"
    assert only.complete


def table(images: list[Any], annotations: list[Any], **more: Any) -> dict[str, Any]:
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "storage_tank"}], **more}


def image(number: int, name: str, **changed: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name, "height": 80, "width": 100, **changed}


def tank(number: int, image_id: Any, **changed: Any) -> dict[str, Any]:
    segmentation = [[10, 20, 30, 20, 30, 40, 10, 40]]
    return {"id": number, "image_id": image_id, "category_id": 1, "segmentation": segmentation, **changed}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Annotations before images, as some files have them."""
    pictures(tmp_path / "images", "a.png", "b.png")
    whole = table(
        [image(1, "a.png"), image(2, "b.png")], [tank(1, 2), tank(2, 1), tank(3, 2, segmentation=rle(1, 1, 4, 4))]
    )
    put(tmp_path / "annotations.json", dict(reversed(whole.items())))
    return tmp_path


def test_a_folder_gives_entries(folder: Path) -> None:
    (first, second), reasons = found("coco", folder)
    assert not reasons
    assert (first.key, first.image, first.size_hw, first.split) == ("coco/a.png", "a.png", (80, 100), "train")
    (one,) = first.objects
    assert (one.class_name, one.category, one.box_xyxy_px) == ("storage tank", "storage_tank", (10, 20, 30, 40))
    assert one.counts == rle(10, 20, 30, 40)["counts"]
    assert len(second.objects) == 2
    assert second.complete


def test_splits_come_from_a_list_or_from_the_files_names(folder: Path) -> None:
    put(folder / "split.json", {"train": ["b.png"], "val": ["a.png"]})
    assert [(entry.image, entry.split) for entry in found("coco", folder)[0]] == [("a.png", "val"), ("b.png", "train")]
    put(folder / "split.json", {"train": ["b.png"]})
    assert found("coco", folder)[1] == {"image in no split": 1}
    put(folder / "split.json", {"train": ["b.png"], "val": ["b.png"]})
    with pytest.raises(EntryError, match="names an image twice"):
        found("coco", folder)
    put(folder / "split.json", ["b.png"])
    with pytest.raises(EntryError, match="is no split"):
        found("coco", folder)
    (folder / "split.json").unlink()
    (folder / "annotations.json").rename(folder / "instances_val2017.json")
    assert {entry.split for entry in found("coco", folder)[0]} == {"val"}
    put(folder / "instances_train2017.json", table([image(1, "c.png")], []))
    pictures(folder / "images", "c.png")
    assert [entry.split for entry in found("coco", folder)[0]] == ["train", "val", "val"]
    put(folder / "more.json", {})
    with pytest.raises(EntryError, match="holds 3 JSON files"):
        found("coco", folder)


def test_what_is_wrong_with_an_object_leaves_out_that_object(folder: Path) -> None:
    pictures(folder / "images", "c.png")
    bad = [
        tank(2, 1),  # the id of another
        tank(3, 1, iscrowd=1),
        tank(4, 1, category_id=9),
        tank(5, 1, segmentation=[]),
        tank(6, 1, segmentation=rle(1, 1, 4, 4, size_hw=(100, 80))),
        tank(7, 1, segmentation={"size": [80, 100], "counts": [2**63, 2**63]}),
        tank(8, 1, segmentation=[[0, 0, 1e12, 0, 1e12, 1e12]]),
        tank(9, 99),
        tank(10, None),
        tank(11, 1, segmentation=None, bbox=[5, 5, 200, 10]),
        tank(12, 1, segmentation=None, bbox=[5, 5, 0, 10]),
        "no annotation",
    ]
    good = tank(13, 1, segmentation=None, bbox=[5, 5, 20.5, 10])
    put(folder / "annotations.json", table([image(1, "a.png"), image(1, "b.png")], [tank(2, 1), *bad, good]))
    (entry,), reasons = found("coco", folder)
    assert [(one.box_xyxy_px, one.counts is None) for one in entry.objects] == [
        ((10, 20, 30, 40), False),
        ((5, 5, 25.5, 15), True),
    ]
    assert not entry.complete
    assert reasons == {
        "duplicate id": 2,  # an annotation's, an image's
        "crowd": 1, "record malformed": 3, "mask empty": 1, "mask of the wrong size": 2, "polygon out of the image": 1,
        "object of no image": 1, "box out of the image": 1, "box degenerate": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"file_name": "../../etc/passwd"}, "image path leaves its folder"),
        ({"file_name": "/etc/passwd"}, "image path leaves its folder"),
        ({"file_name": "none.png"}, "image missing"),
        ({"file_name": 7}, "text missing"),
        ({"height": 81}, "image size differs from its annotation"),
        ({"height": -80}, "image size out of range"),
        ({"width": 10**12}, "image size out of range"),
        ({"width": 10**400}, "image size out of range"),
        ({"width": "wide"}, "record malformed"),
        ({"width": 1e999}, "record malformed"),
        ({"width": [100]}, "record malformed"),
    ],
)
def test_an_image_that_can_not_be_used_has_a_reason(folder: Path, changed: dict[str, Any], reason: str) -> None:
    put(folder / "annotations.json", table([image(1, "a.png", **changed), image(2, "b.png")], [tank(1, 1), tank(2, 2)]))
    entries, reasons = found("coco", folder)
    assert [entry.image for entry in entries] == ["b.png"]
    assert reasons == {reason: 1}


def test_a_crowd_without_end_takes_no_other_image_down(folder: Path) -> None:
    crowd = [tank(number, 1) for number in range(10_001)]
    put(folder / "annotations.json", table([image(1, "a.png"), image(2, "b.png")], [*crowd, tank(-1, 2)]))
    entries, reasons = found("coco", folder)
    assert [(entry.image, len(entry.objects)) for entry in entries] == [("b.png", 1)]
    assert reasons == {"too many objects in one image": 1}


@pytest.mark.parametrize("raw", [b"", b"{", b'{"images": [}', b'"caf\xe9"', b"[" * 100_000])
def test_a_file_that_is_no_json_ends_it(folder: Path, raw: bytes) -> None:
    (folder / "annotations.json").write_bytes(raw)
    with pytest.raises(EntryError, match=r"annotations\.json is no"):
        found("coco", folder)


def test_a_class_that_is_a_mark_of_the_dialogue_is_no_class(folder: Path) -> None:
    put(
        folder / "annotations.json",
        {**table([image(1, "a.png")], [tank(1, 1)]), "categories": [{"id": 1, "name": EVIL}]},
    )
    (entry,), reasons = found("coco", folder)
    assert entry.objects == ()
    assert reasons == {"text with a mark of the dialogue": 1, "record malformed": 1}
