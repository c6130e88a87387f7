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
