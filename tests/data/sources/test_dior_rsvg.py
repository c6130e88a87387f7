"""DIOR-RSVG: numbers that run over all files, one box with many sentences, and XML that would explode."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from geopix.data.entries import EntryError
from tests.data.sources.fakes import EVIL, found, pictures


def annotation(name: str, *objects: tuple[str, tuple[int, int, int, int], str], size: str = "100x80") -> str:
    width, height = size.split("x")
    told = "".join(
        f"<object><name>{kind}</name><pose>Unspecified</pose><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox><description>{escape(sentence)}</description></object>"
        for kind, box, sentence in objects
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}</filename>{size}{told}</annotation>"


def put(folder: Path, **files: str) -> Path:
    (folder / "Annotations").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8")
    return folder


FIELD, SHIP = (10, 20, 60, 70), (1, 2, 9, 8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures(tmp_path / "JPEGImages", "00001.jpg", "00002.jpg", "00010.jpg")
    return put(  # written out of order: the numbers follow the names
        tmp_path,
        **{
            "00010": annotation("00010.jpg", ("dam", FIELD, "the dam")),
            "00002": annotation("00002.jpg", ("ship", SHIP, "the ship"), ("ship", FIELD, "the larger ship")),
            "00001": annotation("00001.jpg", ("golffield", FIELD, "A green field"), ("golffield", FIELD, "the field")),
        },
    )


def test_without_lists_all_is_training_data_and_a_box_keeps_every_sentence(folder: Path) -> None:
    (first, second, third), reasons = found("dior_rsvg", folder)
    assert not reasons
    assert first.key == "dior_rsvg/train/00001"
    assert first.image == "00001.jpg"
    (field,) = first.objects
    assert (field.class_name, field.category, field.box_xyxy_px) == ("golf course", "golffield", (10, 20, 60, 70))
    assert field.descriptions == ("A green field", "the field")
    assert [one.descriptions for one in second.objects] == [("the ship",), ("the larger ship",)]
    assert not third.complete  # only what is described is annotated


def test_lists_count_objects_over_all_files_in_the_order_of_their_names(folder: Path) -> None:
    for split, listed in (("train", "0\n2\n"), ("val", "3\n"), ("test", "4\n7\n")):
        (folder / f"{split}.txt").write_text(listed)
    entries, reasons = found("dior_rsvg", folder)
    assert [(entry.key, [one.descriptions for one in entry.objects]) for entry in entries] == [
        ("dior_rsvg/train/00001", [("A green field",)]),
        ("dior_rsvg/train/00002", [("the ship",)]),
        ("dior_rsvg/val/00002", [("the larger ship",)]),
        ("dior_rsvg/test/00010", [("the dam",)]),
    ]
    assert [entry.split for entry in entries] == ["train", "train", "val", "test"]
    assert reasons == {"object in no split": 1, "number without an object": 1}


def test_a_file_that_can_not_be_read_shifts_every_number_after_it_and_so_ends_it_all(folder: Path) -> None:
    put(folder, **{"00002": "<annotation><object>"})
    entries, reasons = found("dior_rsvg", folder)
    assert ([entry.key[-5:] for entry in entries], dict(reasons)) == (["00001", "00010"], {"XML broken": 1})
    (folder / "train.txt").write_text("0\n3\n")
    with pytest.raises(EntryError, match=r"00002\.xml can't be read, and the numbers in the split lists count"):
        found("dior_rsvg", folder)


def test_a_skipped_object_still_has_its_number(folder: Path) -> None:
    put(folder, **{"00001": annotation("00001.jpg", ("ship", (9, 9, 9, 9), "nothing"), ("ship", SHIP, EVIL))})
    (folder / "train.txt").write_text("\n".join(map(str, range(5))))
    entries, reasons = found("dior_rsvg", folder)
    assert [len(entry.objects) for entry in entries] == [0, 2, 1]
    assert reasons == {"box degenerate": 1, "text with a mark of the dialogue": 1}


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {y} "{f"&{x};" * 10}">' for x, y in zip("abcdefghi", "bcdefghij", strict=True))
    + "]>"
)


@pytest.mark.parametrize(
    "head",
    [
        BOMB,
        '<!DOCTYPE a [<!ENTITY j SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a SYSTEM "http://localhost:9/a.dtd" [<!ENTITY j "x">]>',
        '<!DOCTYPE a [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p; <!ENTITY j "x">]>',
    ],
    ids=["billion laughs", "a file", "the network", "parameter"],
)
def test_entities_are_never_followed(folder: Path, head: str) -> None:
    put(folder, **{"00001": head + annotation("00001.jpg", ("ship", SHIP, "ENTITY")).replace("ENTITY", "&j;")})
    entries, reasons = found("dior_rsvg", folder)
    assert [entry.key[-5:] for entry in entries] == ["00002", "00010"]
    assert reasons == {"XML with a document type": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (annotation("../../secret.jpg", ("ship", SHIP, "it")), "image path leaves its folder"),
        (annotation("00001.jpg", ("ship", SHIP, "it"), size="100x81"), "image size differs from its annotation"),
        (annotation("00001.jpg", ("ship", SHIP, "it"), size="manyx80"), "record malformed"),
        (annotation("none.jpg", ("ship", SHIP, "it")), "image missing"),
        (annotation("00001.jpg", ("ship", SHIP, "it")).replace("filename", "file"), "text missing"),
        ("<annotation>" + "<object/>" * 10_001 + "</annotation>", "too many objects in one image"),
        ("<a>" * 2_000_000, "XML too large"),
        ("", "XML broken"),
    ],
)
def test_a_file_that_can_not_be_used_has_a_reason(folder: Path, text: str, reason: str) -> None:
    put(folder, **{"00001": text})
    entries, reasons = found("dior_rsvg", folder)
    assert (len(entries), dict(reasons)) == (2, {reason: 1})


def test_other_encodings_are_read_as_declared_and_broken_ones_told(folder: Path) -> None:
    text = annotation("00001.jpg", ("ship", SHIP, "the café"))
    (folder / "Annotations" / "00001.xml").write_bytes(
        b'<?xml version="1.0" encoding="ISO-8859-1"?>' + text.encode("latin-1")
    )
    (folder / "Annotations" / "00002.xml").write_bytes(text.encode("latin-1"))
    (first, _), reasons = found("dior_rsvg", folder)
    assert first.objects[0].descriptions == ("the café",)
    assert reasons == {"XML broken": 1}


@pytest.mark.parametrize(("listed", "told"), [("0 one", "is no list of numbers"), ("\x80", "is no list of numbers")])
def test_lists_hold_numbers(folder: Path, listed: str, told: str) -> None:
    (folder / "train.txt").write_bytes(listed.encode("latin-1"))
    with pytest.raises(EntryError, match=told):
        found("dior_rsvg", folder)


def test_no_object_is_in_two_splits(folder: Path) -> None:
    for split in ("train", "val"):
        (folder / f"{split}.txt").write_text("1\n")
    with pytest.raises(EntryError, match=r"val\.txt lists 1: which is in train"):
        found("dior_rsvg", folder)
