"""DOTA's text: four corners become an upright box, and nobody's mask."""

from __future__ import annotations

from pathlib import Path

import pytest

from geopix.data.entries import EntryError
from geopix.data.sources import dota
from tests.data.sources.fakes import found, pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures(tmp_path / "images", "P1.png", "P2.jpg")
    (tmp_path / "labelTxt").mkdir()
    heading = "imagesource:GoogleEarth\ngsd:0.146343590398\n"
    turned = "30 10 50 30 30 50 10 30 small-vehicle 1\n"
    (tmp_path / "labelTxt" / "P1.txt").write_text(f"{heading}{turned}0 0 9.5 0 9.5 8 0 8 plane 0")
    (tmp_path / "labelTxt" / "P2.txt").write_text("5 5 20 5 20 9 5 9 ship\n\n")
    return tmp_path


def test_lines_are_objects(folder: Path) -> None:
    (first, second), reasons = found("dota", folder)
    assert not reasons
    assert (first.key, first.image, first.size_hw, first.complete) == ("dota/P1", "P1.png", (80, 100), True)
    assert [(one.class_name, one.box_xyxy_px, one.counts) for one in first.objects] == [
        ("vehicle", (10, 10, 50, 50), None),
        ("airplane", (0, 0, 9.5, 8), None),
    ]
    assert first.objects[0].category == "small-vehicle"
    assert (second.image, len(second.objects)) == ("P2.jpg", 1)


def test_what_is_wrong_with_a_line_leaves_out_that_line(folder: Path) -> None:
    lines = [
        "5 5 20 5 20 9 5 9 ship 0", "5 5 20 5 20 9 5 ship 0", "5 5 20 5 20 9 5 x ship 0", "5 5 5 5 5 5 5 5 ship 0",
        "5 5 200 5 200 9 5 9 ship 0", "nan 5 20 5 20 9 5 9 ship 0", "5 5 20 5 20 9 5 9 ship 0 and more",
        "5 5 20 5 20 9 5 9 [SEG] 0",
    ]  # fmt: skip
    (folder / "labelTxt" / "P1.txt").write_text("\n".join(lines))
    (first, _), reasons = found("dota", folder)
    assert len(first.objects) == 1
    assert not first.complete
    assert reasons == {
        "record malformed": 3, "box degenerate": 1, "box out of the image": 1, "box not finite": 1,
        "text with a mark of the dialogue": 1,
    }  # fmt: skip


def test_a_file_that_can_not_be_used_is_left_out_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("P3", "P4"):
        pictures(folder / "images", f"{name}.png")
    monkeypatch.setattr(dota, "LARGEST", 500_000)
    (folder / "labelTxt" / "P1.txt").write_bytes(b"5 5 20 5 20 9 5 9 caf\xe9 0")
    (folder / "labelTxt" / "P3.txt").write_text("5 5 20 5 20 9 5 9 ship 0\n" * 10_001)
    (folder / "labelTxt" / "P4.txt").write_text("5 5 20 5 20 9 5 9 ship 0\n" * 30_000)
    (folder / "labelTxt" / "P9.txt").write_text("")
    entries, reasons = found("dota", folder)
    assert [entry.key for entry in entries] == ["dota/P2"]
    assert reasons == {"text not UTF-8": 1, "too many objects in one image": 2, "image missing": 1}


def test_a_folder_without_labels_is_told(tmp_path: Path) -> None:
    with pytest.raises(EntryError, match="labelTxt is missing"):
        found("dota", tmp_path)
