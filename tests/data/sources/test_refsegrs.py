"""RefSegRS: a line, an image and a mask under one number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from geopix.data.entries import EntryError
from tests.data.sources.fakes import EVIL, SIZE_HW, found, pictures, rle


def mask(folder: Path, number: int, box: tuple[int, int, int, int] | None, mode: str = "L", value: int = 255) -> None:
    drawn = np.zeros(SIZE_HW, np.uint8)
    if box is not None:
        drawn[box[1] : box[3], box[0] : box[2]] = value
    picture = PillowImage.fromarray(drawn)
    if mode == "P":
        picture.putpalette([0, 0, 0] * 256)  # all colours black: the index counts
    elif mode != "L":
        picture = picture.convert(mode)
    (folder / "masks").mkdir(exist_ok=True)
    picture.save(folder / "masks" / f"{number}.tif")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures(tmp_path / "images", "0.tif", "1.tif")
    mask(tmp_path, 0, (10, 20, 30, 40))
    mask(tmp_path, 1, (50, 50, 60, 60), value=1)
    (tmp_path / "output_phrase_train.txt").write_text("0 road\n")
    (tmp_path / "output_phrase_test.txt").write_text("1 vehicle in the parking area\n\n")
    return tmp_path


@pytest.mark.parametrize("looks", [True, False])
def test_every_line_is_an_image_with_a_mask(folder: Path, looks: bool) -> None:
    (first, second), reasons = found("refsegrs", folder, looks=looks)
    assert not reasons
    assert (first.key, first.image, first.size_hw, first.split) == ("refsegrs/0", "0.tif", SIZE_HW, "train")
    (road,) = first.objects
    assert (road.class_name, road.descriptions, road.box_xyxy_px) == ("unknown", ("road",), (10, 20, 30, 40))
    assert road.counts == rle(10, 20, 30, 40)["counts"]
    assert second.split == "test"
    assert second.objects[0].class_name == "vehicle"


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "I"])
def test_whatever_is_above_zero_belongs_to_the_mask(folder: Path, mode: str) -> None:
    mask(folder, 0, (10, 20, 30, 40), mode=mode, value=1)
    assert found("refsegrs", folder)[0][0].objects[0].box_xyxy_px == (10, 20, 30, 40)


def test_what_is_wrong_is_left_out_alone(folder: Path) -> None:
    pictures(folder / "images", *(f"{number}.tif" for number in range(9)))
    mask(folder, 2, None)
    PillowImage.new("L", (99, 80)).save(folder / "masks" / "3.tif")
    (folder / "masks" / "4.tif").write_bytes(b"no picture")
    mask(folder, 6, (1, 1, 5, 5))
    lines = ["0 road", "0 road again", "2 nothing", "3 other size", "4 broken", "5 no mask", f"6 {EVIL}", "1", "../0 x"]
    (folder / "output_phrase_train.txt").write_text("\n".join([*lines, "77 no image"]))
    (folder / "output_phrase_test.txt").unlink()
    entries, reasons = found("refsegrs", folder)
    assert [entry.key for entry in entries] == ["refsegrs/0"]
    assert reasons == {
        "duplicate id": 1, "mask empty": 1, "mask of the wrong size": 1, "image unreadable": 1, "image missing": 2,
        "text with a mark of the dialogue": 1, "text empty": 1, "image path leaves its folder": 1,
    }  # fmt: skip


def test_lists_are_needed_and_are_text(folder: Path) -> None:
    (folder / "output_phrase_test.txt").write_bytes(b"1 caf\xe9\n")
    with pytest.raises(EntryError, match=r"output_phrase_test\.txt is not UTF-8 text"):
        found("refsegrs", folder)
    for path in folder.glob("*.txt"):
        path.unlink()
    with pytest.raises(EntryError, match=r"output_phrase_train\.txt is missing"):
        found("refsegrs", folder)
