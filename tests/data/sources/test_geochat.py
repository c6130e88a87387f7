"""GeoChat-Instruct: rows about one image gathered, boxes that leave it, and images that nobody could unpack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from geopix.data.entries import EntryError
from geopix.records import Turn
from tests.data.sources.fakes import EVIL, found, pictures, put


def row(image: str, *said: str) -> dict[str, Any]:
    who = ("human", "gpt")
    told = [{"from": who[number % 2], "value": value} for number, value in enumerate(said)]
    return {"id": Path(image).name, "image": image, "conversations": told}


BRIDGES = "{<0><0><9><9>|<0>}{<20><20><30><30>|<0>}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures(tmp_path / "images" / "imgs", "r1.jpg", "r2.jpg")
    put(
        tmp_path / "GeoChat_Instruct.json",
        [
            row("imgs/r1.jpg", "<image>\n[refer] where is <p>silver boeing737</p> ?", "{<16><55><24><63>|<0>}"),
            row("imgs/r2.jpg", "<image>\nIs it rural?", "Yes", "[refer] <p>bridges</p>", BRIDGES),
            row("imgs/r1.jpg", "<image>\n[identify] {<16><55><24><63>|<0>}", "an airplane", "How many?", "One"),
            row("imgs/r1.jpg", "<image>\n[refer] <p>the ship</p>", "{<16><55><981><63>|<0>}", "Is it day?", "Yes"),
        ],
    )  # fmt: skip
    return tmp_path


def test_rows_about_one_image_are_one_entry(folder: Path) -> None:
    (first, second), reasons = found("geochat", folder)
    assert (first.key, first.image, first.size_hw) == ("geochat/imgs/r1.jpg", "imgs/r1.jpg", (80, 100))
    (airplane,) = first.objects
    assert (airplane.class_name, airplane.box_xyxy_px) == ("unknown", (16, 44, 24, 50.4))
    assert airplane.descriptions == ("silver boeing737",)
    assert first.turns == (
        Turn("{<16><55><24><63>}", "an airplane"),
        Turn("How many?", "One"),
        Turn("Is it day?", "Yes"),
    )
    assert second.turns[0] == Turn("Is it rural?", "Yes")
    assert [one.class_name for one in second.objects] == ["bridge", "bridge"]
    assert reasons == {"box out of the image": 1}


def test_a_box_is_worth_nothing_without_the_images_size(folder: Path) -> None:
    (folder / "images" / "imgs" / "r1.jpg").write_bytes(b"cut short")
    (folder / "images" / "imgs" / "r2.jpg").unlink()
    assert found("geochat", folder) == ([], {"image unreadable": 1, "image missing": 1})


def test_hostile_rows_are_left_out_alone(folder: Path) -> None:
    put(
        folder / "GeoChat_Instruct.json",
        [
            row("../../../etc/passwd", "what?", "it"),
            row("imgs/r1.jpg", "what?", EVIL),
            row("imgs/r1.jpg", "[refer] <p>it</p>", "{<1><2><3><4>}" + "{<1><2><3><4>}" * 100_000),
            {"image": {"bytes": "x"}, "conversations": []},
            row("imgs/r1.jpg", "what?", "a ship"),
        ],
    )
    (entry,), reasons = found("geochat", folder)
    assert entry.turns == (Turn("what?", "a ship"),)
    assert reasons == {
        "image path leaves its folder": 1, "text with a mark of the dialogue": 1, "text too long": 1,
        "record malformed": 1,
    }  # fmt: skip


def test_a_missing_or_foreign_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(EntryError, match=r"GeoChat_Instruct\.json is missing"):
        found("geochat", tmp_path)
    (tmp_path / "GeoChat_Instruct.json").write_bytes("[“x”]".encode("cp1252"))
    with pytest.raises(EntryError, match="is not UTF-8 text"):
        found("geochat", tmp_path)
