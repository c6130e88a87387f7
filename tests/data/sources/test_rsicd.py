"""RSICD in both of its forms, each image in the split it was published in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from geopix.data.entries import EntryError
from tests.data.sources.fakes import EVIL, found, pictures, put


def published(name: str, split: str, *captions: str) -> dict[str, Any]:
    told = [{"tokens": one.split(), "raw": one, "imgid": 0, "sentid": 0} for one in captions]
    return {"filename": name, "imgid": 0, "sentences": told, "split": split, "sentids": []}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures(tmp_path / "images", "Airport/airport_1.jpg", "bridge_2.jpg")
    return tmp_path


def test_a_list_of_images_with_captions(folder: Path) -> None:
    told = ["many planes are parked .", "many planes are parked .", "an airport"]
    first = {"image": "Airport/airport_1.jpg", "source": "jb_test", "captions": told}
    put(folder / "captions.json", [first, {"image": "bridge_2.jpg", "source": "val", "captions": ["a bridge"]}])
    (airport, bridge), reasons = found("rsicd", folder)
    assert (airport.key, airport.image, airport.split) == (
        "rsicd/Airport/airport_1.jpg",
        "Airport/airport_1.jpg",
        "test",
    )
    assert airport.captions == ("Many planes are parked.", "An airport.")
    assert (bridge.split, bridge.size_hw, bridge.complete) == ("val", (80, 100), False)
    assert reasons == {"caption repeated": 1}


def test_the_published_file(folder: Path) -> None:
    rows = [published("airport_1.jpg", "train", "planes"), published("bridge_2.jpg", "test", "a bridge")]
    (folder / "images" / "Airport" / "airport_1.jpg").rename(folder / "images" / "airport_1.jpg")
    put(folder / "dataset_rsicd.json", {"images": rows, "dataset": "rsicd"})
    entries, reasons = found("rsicd", folder)
    assert [(entry.split, entry.captions) for entry in entries] == [("train", ("Planes.",)), ("test", ("A bridge.",))]
    assert not reasons


def test_what_is_wrong_is_left_out_alone(folder: Path) -> None:
    bridge = {"image": "bridge_2.jpg", "split": "train", "captions": [EVIL, 7, "", "a bridge"]}
    rows = [
        bridge,
        {**bridge, "split": "everything"},
        {**bridge, "image": "gone.jpg"},
        {**bridge, "image": "../bridge_2.jpg"},
        {"image": "bridge_2.jpg", "captions": []},
        "a row",
        {**bridge, "captions": None},
    ]
    put(folder / "captions.json", rows)
    entries, reasons = found("rsicd", folder)
    assert [entry.captions for entry in entries] == [("A bridge.",)]
    assert reasons == {
        "text with a mark of the dialogue": 2, "text missing": 2, "text empty": 2, "unknown split": 1,
        "image missing": 1, "image path leaves its folder": 1, "record malformed": 3,
    }  # fmt: skip


def test_a_missing_file_is_told(folder: Path) -> None:
    with pytest.raises(EntryError, match=r"captions\.json is missing"):
        found("rsicd", folder)
