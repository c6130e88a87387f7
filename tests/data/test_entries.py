"""Sets of annotations: what is written is read back, and nothing hostile or half-written gets through."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geopix.data.entries import ABOUT, ENTRIES, About, Annotated, Entry, EntryError, SetReader, checked
from geopix.data.writing import SetWriter
from geopix.records import Turn, encode_mask

MASK = np.zeros((6, 8), dtype=np.bool_)
MASK[1:3, 2:6] = True
COUNTS = encode_mask(MASK)["counts"]
SHIP = Annotated("ship", (2.0, 1.0, 6.0, 3.0), COUNTS, "Ship", ("the ship in the middle",), "isolated")
TURN = Turn("Is there a ship?", "Yes.")
ENTRY = Entry("a/1", "a/1.png", (6, 8), (SHIP,), ("A ship.",), (TURN,), "val", False, "TOY_T")


def written(folder: Path, *entries: Entry) -> Path:
    with SetWriter(folder) as writer:
        for entry in entries:
            writer.add(entry)
        writer.finish(About("toy", "pictures", {"a": "public domain"}, {"read": 3}, {"mask empty": 2}, ("import",)))
    return folder


def test_a_set_comes_back_as_it_was_written(tmp_path: Path) -> None:
    reader = SetReader(written(tmp_path / "set", ENTRY, Entry("a/2", "2.png", (5, 5))))
    assert list(reader) == [ENTRY, Entry("a/2", "2.png", (5, 5))]
    assert reader.about.counts == {"read": 3, "images": 2, "objects": 1}
    assert reader.about.skipped == {"mask empty": 2}
    assert reader.images == tmp_path / "set" / "pictures"


def test_an_entry_with_its_picture_is_a_sample(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("RGB", (8, 6), (9, 8, 7)).save(tmp_path / "a" / "1.png")
    sample = ENTRY.sample(tmp_path)
    assert sample.image.shape == (6, 8, 3)
    assert sample.image[0, 0].tolist() == [9, 8, 7]
    found = sample.instances[0].mask
    assert found is not None
    assert np.array_equal(found, MASK)
    assert sample.instances[0].phrase == "the ship in the middle"
    assert (sample.split, sample.complete, sample.captions) == ("val", False, ("A ship.",))


def test_a_picture_of_another_size_or_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(EntryError, match="image missing"):
        ENTRY.sample(tmp_path)
    (tmp_path / "a").mkdir()
    Image.new("RGB", (8, 7)).save(tmp_path / "a" / "1.png")
    with pytest.raises(EntryError, match="image size differs"):
        ENTRY.sample(tmp_path)
    (tmp_path / "a" / "1.png").write_bytes(b"no picture")
    with pytest.raises(EntryError, match="image unreadable"):
        ENTRY.sample(tmp_path)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.png", "a/../../x.png", "", "a\\b.png", "a\0.png"])
def test_no_path_leaves_the_image_folder(path: str) -> None:
    with pytest.raises(EntryError, match="leaves its folder"):
        Entry("k", path, (5, 5))


def test_absurd_entries_are_refused() -> None:
    with pytest.raises(EntryError, match="too many objects"):
        Entry("k", "x.png", (6, 8), (SHIP,) * 10_001)
    with pytest.raises(EntryError, match="image size out of range"):
        Entry("k", "x.png", (0, 8))
    with pytest.raises(EntryError, match="image size out of range"):
        Entry("k", "x.png", (30_001, 8))
    with pytest.raises(EntryError, match="subset is no plain word"):
        Entry("k", "x.png", (6, 8), subset="../x")


@pytest.mark.parametrize(
    ("box", "counts", "reason"),
    [
        ((2.0, 1.0, 2.0, 3.0), COUNTS, "box degenerate"),
        ((2.0, 1.0, 60.0, 3.0), COUNTS, "box out of the image"),
        ((float("nan"), 1.0, 6.0, 3.0), COUNTS, "box not finite"),
        ((2.0, 1.0, 6.0, 3.0), encode_mask(np.zeros((6, 8), dtype=np.bool_))["counts"], "mask empty"),
        ((2.0, 1.0, 6.0, 3.0), encode_mask(np.ones((6, 9), dtype=np.bool_))["counts"], "mask of the wrong size"),
        ((2.0, 1.0, 6.0, 3.0), "ooooooooooooooooooooooooooo", "mask of the wrong size"),
    ],
)
def test_objects_that_do_not_fit_have_a_reason(
    box: tuple[float, float, float, float], counts: str, reason: str
) -> None:
    with pytest.raises(EntryError) as caught:
        checked(Annotated("ship", box, counts), (6, 8))
    assert caught.value.reason == reason


def test_a_box_a_pixel_over_the_edge_is_cut_to_the_image() -> None:
    assert checked(Annotated("ship", (-0.5, 0.0, 8.7, 6.0)), (6, 8)).box_xyxy_px == (0.0, 0.0, 8.0, 6.0)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path / "set", ENTRY)
    with (folder / ENTRIES).open("a") as file:
        file.write('{"key": 1')
    with pytest.raises(EntryError, match="line 2"):
        list(SetReader(folder))
    line = json.dumps({"key": "a\ud800"})
    with pytest.raises(EntryError, match=r"line 7.*surrogates not allowed"):
        SetReader(folder).entry(line.encode(), 6)
    (folder / ABOUT).write_text(json.dumps({"nonsense": 1}))
    with pytest.raises(EntryError, match="is no set"):
        SetReader(folder)
    fields = [("counts", {"images": "2"}), ("steps", [1]), ("sources", {"a": None}), ("counts", []), ("name", 3)]
    for field, wrong in fields:
        (folder / ABOUT).write_text(json.dumps({"name": "toy", "images": ".", field: wrong}))
        with pytest.raises(EntryError, match="is no set"):
            SetReader(folder)
