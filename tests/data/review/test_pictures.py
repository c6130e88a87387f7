"""Pictures for browsers: the file itself where it will do, else pixel for pixel the same."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geopix.data.entries import EntryError
from geopix.data.review.pictures import LONGEST_OVERLAY_PX, overlay, picture
from tests.tiny_review import SIZE_HW, pair

PIXELS = np.random.default_rng(0).integers(0, 255, (*SIZE_HW, 3), dtype=np.uint8)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(("name", "form"), [("a.jpg", "JPEG"), ("a.png", "PNG"), ("a.webp", "WEBP")])
def test_a_file_that_browsers_show_is_handed_out_as_it_is(tmp_path: Path, name: str, form: str) -> None:
    Image.fromarray(PIXELS).save(tmp_path / name)
    found, pixels = picture(tmp_path / name, SIZE_HW)
    assert (found.data, found.format) == ((tmp_path / name).read_bytes(), form)
    assert np.array_equal(pixels, np.asarray(opened(found.data).convert("RGB")))


@pytest.mark.parametrize("name", ["a.tif", "a.bmp", "grey.jpg", "palette.png", "turned.jpg", "moving.webp"])
def test_any_other_becomes_a_png_of_the_same_pixels(tmp_path: Path, name: str) -> None:
    whole = Image.fromarray(PIXELS)
    if name == "turned.jpg":  # browsers would turn it, and the annotations with it they would not
        tags = Image.Exif()
        tags[0x0112] = 6
        whole.save(tmp_path / name, exif=tags)
    elif name == "moving.webp":
        whole.save(tmp_path / name, save_all=True, append_images=[whole.rotate(180)], lossless=True)
    else:
        whole.convert({"grey.jpg": "L", "palette.png": "P"}.get(name, "RGB")).save(tmp_path / name)
    found, pixels = picture(tmp_path / name, SIZE_HW)
    assert found.format == "PNG"
    assert (opened(found.data).mode, opened(found.data).format) == ("RGB", "PNG")
    assert np.array_equal(np.asarray(opened(found.data)), pixels)
    with Image.open(tmp_path / name) as file:
        assert np.array_equal(pixels, np.asarray(file.convert("RGB")))


def test_a_file_that_is_too_large_becomes_a_jpeg_or_is_refused(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    size = (tmp_path / "a.png").stat().st_size
    assert picture(tmp_path / "a.png", SIZE_HW, size)[0].format == "PNG"
    assert picture(tmp_path / "a.png", SIZE_HW, size - 1)[0].format == "JPEG"
    with pytest.raises(EntryError, match="image file too large"):
        picture(tmp_path / "a.png", SIZE_HW, 100)


def test_objects_are_drawn_on_an_overlay_and_large_ones_are_shrunk() -> None:
    drawn = opened(overlay(pair(1), np.full((*SIZE_HW, 3), 90, np.uint8)).data)
    assert (drawn.format, drawn.size) == ("JPEG", (540, 360))  # nine times 60 x 40: small pictures are enlarged
    differs = np.abs(np.asarray(drawn).astype(int) - 90).max(axis=2) > 20
    assert differs[30:100, 30:100].mean() > 0.9  # a mask is filled
    assert differs[180:, 270:450].any()  # a box is a frame
    assert not differs[220:280, 320:400].any()
    assert not differs[200:, :200].any()
    large = np.zeros((100, 3 * LONGEST_OVERLAY_PX, 3), np.uint8)
    assert opened(overlay(replace(pair(1), size_hw=(100, large.shape[1]), objects=()), large).data).size[0] == 2048


def test_a_mask_that_does_not_fit_is_told() -> None:
    one = pair(1)
    bad = replace(one, objects=(replace(one.objects[0], counts="0"),))
    with pytest.raises(EntryError, match="mask of the wrong size"):
        overlay(bad, PIXELS)
