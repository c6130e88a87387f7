"""A foreign set becomes one of ours, with every number told, or nothing is written at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geopix.data.entries import Entry, EntryError, SetReader
from geopix.data.foreign.found import Found, Place
from geopix.data.importing import Wish, import_set
from geopix.data.sources.kinds import KINDS
from tests.data.sources.fakes import pictures, put, rle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A COCO set of three images."""
    root = tmp_path / "my-set"
    pictures(root / "images", "a.png", "b.png", "c.png")
    images = [{"id": n, "file_name": f"{name}.png", "height": 80, "width": 100} for n, name in enumerate("abc")]
    objects = [
        {"id": n, "image_id": n, "category_id": 1, "segmentation": rle(n, 1, 9, 9 if n else 1)} for n in range(3)
    ]
    put(
        root / "annotations.json", {"images": images, "categories": [{"id": 1, "name": "ship"}], "annotations": objects}
    )
    put(root / "split.json", {"train": ["a.png", "b.png"], "test": ["c.png"]})
    return root


def keys(out: Path) -> list[str]:
    return [entry.key for entry in SetReader(out)]


def test_a_set_knows_what_it_is_made_of(folder: Path, tmp_path: Path) -> None:
    watched: list[str] = []
    tally = import_set(
        Wish("coco", folder), tmp_path / "out", watch=lambda what, *_: watched.append(what), step="geopix data import"
    )
    reader = SetReader(tmp_path / "out")
    assert keys(tmp_path / "out") == ["my-set/a.png", "my-set/b.png", "my-set/c.png"]
    assert reader.images == folder / "images"
    assert [entry.sample(reader.images).key for entry in reader] == keys(tmp_path / "out")
    about = reader.about
    assert about.counts == {
        "images": 3, "images of train": 2, "images of test": 1, "objects": 2, "masks": 2,
    }  # fmt: skip
    assert about.skipped == dict(tally.skipped) == {"mask empty": 1}
    assert tally.examples["mask empty"] == "my-set/a.png object 1"
    assert about.sources == {"my-set": KINDS["coco"].terms}
    assert about.steps == ("geopix data import",)
    assert {"reading annotations.json", "images"} <= set(watched)


def test_wishes_are_followed(folder: Path, tmp_path: Path) -> None:
    import_set(Wish("coco", folder, only="test"), tmp_path / "test")
    assert keys(tmp_path / "test") == ["my-set/c.png"]
    import_set(Wish("coco", folder, called="val", name="ours", complete=False), tmp_path / "val")
    entries = list(SetReader(tmp_path / "val"))
    assert {entry.split for entry in entries} == {"val"}
    assert not any(entry.complete for entry in entries)
    assert keys(tmp_path / "val") == ["ours/a.png", "ours/b.png", "ours/c.png"]
    (folder / "images").rename(tmp_path / "elsewhere")
    import_set(Wish("coco", folder, images=tmp_path / "elsewhere"), tmp_path / "moved")
    assert SetReader(tmp_path / "moved").images == tmp_path / "elsewhere"
    with pytest.raises(EntryError, match=r"no images in .*--images.*--check none"):
        import_set(Wish("coco", folder), tmp_path / "none")
    import_set(Wish("coco", folder, check="none"), tmp_path / "bare")
    assert len(keys(tmp_path / "bare")) == 3


def test_images_are_looked_at_as_closely_as_one_likes(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "images" / "a.png").read_bytes()
    (folder / "images" / "a.png").write_bytes(whole[:60])  # the header is there, the pixels are not
    pictures(folder / "images", "b.png", size_hw=(100, 80))
    (folder / "images" / "c.png").unlink()
    tally = import_set(Wish("coco", folder), tmp_path / "size")
    assert tally.skipped == {"mask empty": 1, "image size differs from its annotation": 1, "image missing": 1}
    tally = import_set(Wish("coco", folder, check="none"), tmp_path / "none")
    assert tally.skipped == {"mask empty": 1}
    pictures(folder / "images", "c.png")
    tally = import_set(Wish("coco", folder, check="pixels"), tmp_path / "pixels")
    assert tally.skipped == {
        "mask empty": 1, "image size differs from its annotation": 1, "image unreadable": 1,
    }  # fmt: skip


def test_a_key_is_used_once(folder: Path, tmp_path: Path) -> None:
    table = json.loads((folder / "annotations.json").read_text())
    table["images"].append({**table["images"][0], "id": 77})
    put(folder / "annotations.json", table)
    tally = import_set(Wish("coco", folder), tmp_path / "out")
    assert keys(tmp_path / "out") == ["my-set/a.png", "my-set/b.png", "my-set/c.png"]
    assert tally.skipped["duplicate key"] == 1


def test_a_file_name_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    root = tmp_path / "airports"
    pictures(root / "images", "a.png")
    (root / "labelTxt").mkdir()
    for name in (b"a", b"b\xff", b"c\x1b[2J"):
        (root / "labelTxt" / os.fsdecode(name + b".txt")).write_text("")
        (root / "images" / os.fsdecode(name + b".png")).write_bytes((root / "images" / "a.png").read_bytes())
    tally = import_set(Wish("dota", root), tmp_path / "out")
    assert keys(tmp_path / "out") == ["airports/a"]
    assert tally.skipped == {"file name that is no text": 2}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"folder": Path("nowhere")}, "nowhere is no folder"),
        ({"only": "val"}, "nothing in .*my-set can be used as coco: 1 mask empty"),
        ({"name": "a/b"}, "can't begin a key"),
        ({"name": "a\x1b[2J"}, "can't begin a key"),
        ({"kind": "sior"}, "ins is missing"),
    ],
)
def test_nothing_is_written_where_nothing_can_be_read(
    folder: Path, tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    wish: dict[str, Any] = {"kind": "coco", "folder": folder, **changed}
    with pytest.raises(EntryError, match=told):
        import_set(Wish(**wish), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my-set"]


def test_a_reading_that_breaks_off_leaves_what_was_before(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_set(Wish("coco", folder), tmp_path / "out")
    before = sorted((path.name, path.read_bytes()) for path in (tmp_path / "out").iterdir())

    def breaks(place: Place) -> Iterator[Found]:
        yield Entry("x/1", "a.png", (80, 100))
        raise KeyboardInterrupt

    monkeypatch.setitem(KINDS, "coco", KINDS["coco"].__class__(breaks, "", "", ""))
    with pytest.raises(EntryError, match="--overwrite"):
        import_set(Wish("coco", folder), tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        import_set(Wish("coco", folder), tmp_path / "out", overwrite=True)
    assert sorted((path.name, path.read_bytes()) for path in (tmp_path / "out").iterdir()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my-set", "out"]


# What the real sets hold; they are not part of the repository, so this runs only where GEOPIX_DATA names their folder.
REAL: dict[str, tuple[str, dict[str, int], dict[str, int]]] = {
    "nwpu_vhr10": (
        "coco",
        {"images": 520, "images of train": 420, "images of val": 100, "objects": 3157, "masks": 3157},
        {},
    ),
    "sen2ships": ("coco", {"images": 4, "images of train": 4, "objects": 95, "masks": 95}, {}),
    "gdit_airport": ("dota", {"images": 233, "images of train": 233, "objects": 3408}, {}),
    "ucm": (
        "ucm",
        {
            "images": 1995, "images of train": 1680, "images of val": 210, "images of test": 105, "objects": 0,
            "captions": 9485, "questions": 4364,
        },
        {"caption repeated": 490, "question with a gap": 286},
    ),
    "aid_rsicd": (
        "rsicd",
        {"images": 700, "images of val": 358, "images of test": 342, "objects": 0, "captions": 1542},
        {"caption repeated": 1958},
    ),
}  # fmt: skip


@pytest.mark.skipif("GEOPIX_DATA" not in os.environ, reason="GEOPIX_DATA names no folder of the real sets")
@pytest.mark.parametrize("name", REAL)
def test_the_real_sets_are_imported_whole(name: str, tmp_path: Path) -> None:
    kind, counts, skipped = REAL[name]
    import_set(Wish(kind, Path(os.environ["GEOPIX_DATA"]) / name), tmp_path / "out")
    about = SetReader(tmp_path / "out").about
    assert (about.counts, about.skipped) == (counts, skipped)
    assert sum(1 for _ in SetReader(tmp_path / "out")) == counts["images"]
