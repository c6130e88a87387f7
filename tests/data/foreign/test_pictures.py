"""A name means one file in the image folder, or none; never one outside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image as PillowImage

from geopix.data.entries import EntryError
from geopix.data.foreign.pictures import Pictures


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.new("RGB", (10, 8)).save(path)


@pytest.mark.parametrize(
    ("there", "name", "means"),
    [
        ("a.png", "a.png", "a.png"),
        ("deep/a.png", "deep/a.png", "deep/a.png"),
        ("a.png", "deep/a.png", "a.png"),
        ("a.png", "a.tiff", "a.png"),
        ("a.b.png", "x/a.b.tiff", "a.b.png"),
        ("a.jpg", "a", "a.jpg"),
        ("other.png", "a.png", "a.png"),
    ],
)
def test_names_find_their_files(tmp_path: Path, there: str, name: str, means: str) -> None:
    put(tmp_path / there)
    assert Pictures(tmp_path).find(name) == means


def test_folders_are_searched_in_their_order(tmp_path: Path) -> None:
    for name in ("val/a.png", "train/a.png", "val/b.png"):
        put(tmp_path / name)
    pictures = Pictures(tmp_path, ("train", "val", ""))
    assert [pictures.find(name) for name in ("a.png", "b.png", "c.png")] == ["train/a.png", "val/b.png", "train/c.png"]
    assert pictures.size_hw("val/b.png") == (8, 10)


@pytest.mark.parametrize(
    "name",
    ["../a.png", "/etc/passwd", "x/../../a.png", "..", "", ".", "a\\..\\b.png", "C:/a.png", "http://x/a.png", "a\0"],
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    put(tmp_path / "a.png")
    (tmp_path / "images").mkdir()
    with pytest.raises(EntryError, match="leaves its folder"):
        Pictures(tmp_path / "images").find(name)


def test_what_is_no_image_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "folder.png").mkdir()
    pictures = Pictures(tmp_path)
    with pytest.raises(EntryError, match="image unreadable"):
        pictures.size_hw("a.png")
    for name in ("none.png", "folder.png"):
        with pytest.raises(EntryError, match="image missing"):
            pictures.size_hw(name)
