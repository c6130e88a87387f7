"""Exports are what other tools read: parquet with datasets, COCO with pycocotools, a card that tells the terms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from geopix.data.entries import About, Annotated, Entry, EntryError, SetReader
from geopix.data.export import parquet
from geopix.data.export.card import text
from geopix.data.export.run import export
from geopix.data.importing import Wish, import_set
from geopix.data.writing import SetWriter
from geopix.records import decode_mask
from tests.data.assembly.made import entry, make_set, rectangle, ships

datasets = pytest.importorskip("datasets")
SIZE = (60, 80)
LEFT, RIGHT = (
    replace(ship, descriptions=(words,)) for ship, words in zip(ships(5, 40), ("left", "right"), strict=True)
)
TWICE = replace(LEFT, descriptions=("the left ship", "the ship at the left"))
BOX = Annotated("airplane", (1.2, 2.0, 9.5, 9.9), category="Airplane")


@pytest.fixture
def made(tmp_path: Path) -> SetReader:
    """Three images of two subsets, two splits; one object without mask, one without description."""
    entries = [
        entry("one", (TWICE, RIGHT), subset="SIOR_T"),
        entry("two", ships(9), subset="SIOR_T", split="val", captions=("A ship.",)),
        entry("three", (BOX,), subset="FAST_T"),
    ]
    return SetReader(make_set(tmp_path / "toy", entries))


def loaded(folder: Path, cache: Path) -> Any:
    return datasets.load_dataset(str(folder), cache_dir=str(cache))


def test_parquet_loads_with_datasets(made: SetReader, tmp_path: Path) -> None:
    export(made, tmp_path / "out", "parquet")
    read = loaded(tmp_path / "out", tmp_path / "cache")
    assert {name: len(split) for name, split in read.items()} == {
        "train.SIOR_T": 1,
        "valid.SIOR_T": 1,
        "train.FAST_T": 1,
    }
    row = read["train.SIOR_T"][0]
    assert (row["image_id"], row["image_path"]) == ("toy/one", "one.png")
    with Image.open(made.images / "one.png") as picture:
        assert np.array_equal(np.asarray(row["image"]), np.asarray(picture))
    first = row["instances"][0]
    assert first == {
        "bbox": [5, 10, 13, 30],
        "category": "Ship",
        "category_id": 1,
        "description": "the left ship",
        "instance_id": "toy/one#0",
        "mask": {"counts": LEFT.counts, "size": [60, 80]},
    }
    assert row["other_descriptions"] == [{"instance_id": "toy/one#0", "description": "the ship at the left"}]
    plane = read["train.FAST_T"][0]["instances"][0]
    assert plane["bbox"] == [1, 2, 10, 10]
    assert plane["mask"] is None
    assert plane["description"] is None
    assert plane["category"] == "Airplane"


def test_the_schema_is_the_published_one(made: SetReader, tmp_path: Path) -> None:
    export(made, tmp_path / "out", "parquet", pictures=False)
    features = loaded(tmp_path / "out", tmp_path / "cache")["train.SIOR_T"].features
    text_, number = datasets.Value("string"), datasets.Value("int64")
    mask = {"counts": text_, "size": datasets.List(number)}
    instance = {"bbox": datasets.List(number), "category": text_, "category_id": number, "description": text_}
    published = {
        "image_id": text_,
        "image_path": text_,
        "instances": datasets.List(instance | {"instance_id": text_, "mask": mask}),
    }
    assert {name: features[name] for name in published} == published
    assert set(features) == {*published, "other_descriptions"}


def test_what_is_exported_is_imported_again(made: SetReader, tmp_path: Path) -> None:
    export(made, tmp_path / "out", "parquet")
    wish = Wish("geopix_instruct", tmp_path / "out", images=made.images)
    import_set(wish, tmp_path / "again")
    again = {one.image: one for one in SetReader(tmp_path / "again")}
    for one in made:
        back = again[one.image]
        assert back.split == one.split
        for ours, theirs in zip(one.objects, back.objects, strict=True):
            assert (theirs.class_name, theirs.category, theirs.counts) == (ours.class_name, ours.category, ours.counts)
            assert theirs.descriptions == ours.descriptions[:1]


def test_large_splits_become_several_files(made: SetReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_BYTES", 1)
    monkeypatch.setattr(parquet, "FILE_BYTES", 1)
    with SetWriter(tmp_path / "more") as writer:
        for one in made:
            for number in range(3):
                writer.add(replace(one, key=f"{one.key}/{number}"))
        writer.finish(made.about)
    export(SetReader(tmp_path / "more"), tmp_path / "out", "parquet")
    files = sorted(path.name for path in (tmp_path / "out" / "data").iterdir())
    assert files[:3] == [f"train.FAST_T-{number:05}-of-00003.parquet" for number in range(3)]
    assert len(loaded(tmp_path / "out", tmp_path / "cache")["train.FAST_T"]) == 3


def test_coco_loads_with_pycocotools(made: SetReader, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(made, tmp_path / "out", "coco")
    coco = COCO(str(tmp_path / "out" / "instances.json"))
    assert sorted(coco.imgs) == [1, 2, 3]
    assert {category["name"]: category["supercategory"] for category in coco.cats.values()} == {
        "Airplane": "airplane",
        "Ship": "ship",
    }
    annotations = [annotation for annotation in coco.anns.values() if annotation["image_id"] == 1]
    assert [annotation["bbox"] for annotation in annotations] == [[5, 10, 8, 20], [40, 10, 8, 20]]
    assert [annotation["area"] for annotation in annotations] == [160, 160]
    assert annotations[0]["descriptions"] == ["the left ship", "the ship at the left"]
    assert np.array_equal(coco.annToMask(annotations[0]), decode_mask({"size": SIZE, "counts": LEFT.counts}))
    (plane,) = (annotation for annotation in coco.anns.values() if annotation["image_id"] == 3)
    assert plane["segmentation"] == []
    assert coco.imgs[2]["captions"] == ["A ship."]
    assert (coco.imgs[2]["height"], coco.imgs[2]["width"]) == SIZE
    capsys.readouterr()


def test_coco_is_imported_again(made: SetReader, tmp_path: Path) -> None:
    export(made, tmp_path / "out", "coco")
    (tmp_path / "out" / "images").symlink_to(made.images.resolve())
    import_set(Wish("coco", tmp_path / "out"), tmp_path / "again")
    masks = [one.counts for again in SetReader(tmp_path / "again") for one in again.objects]
    assert masks == [one.counts for ours in made for one in ours.objects]


def test_the_card_tells_terms_and_numbers(made: SetReader, tmp_path: Path) -> None:
    export(made, tmp_path / "out", "parquet")
    card = (tmp_path / "out" / "README.md").read_text()
    head = yaml.safe_load(card.split("---\n")[1])
    assert [file["split"] for file in head["configs"][0]["data_files"]] == [
        "train.SIOR_T",
        "valid.SIOR_T",
        "train.FAST_T",
    ]
    assert head["license"] == "other"
    assert "- **toy**: made by script, public domain" in card
    assert "3 images and 4 instances, 3 of them with masks, 2 with descriptions" in card
    assert "| train.SIOR\\_T | 1 | 1 | 2 | 2 | 2 | 3 | 60 x 80 | 2.00 | 3.33 |" in card
    assert "1. `make toy`" in card


def test_a_card_obeys_nobody() -> None:
    about = About(
        "a|b",
        ".",
        {"<script>": "[free](http://evil)\n# Heading"},
        skipped={"`x`\n": 1},
        steps=("a\n`b", "import /home" + "/ann/sets/x -o out/x"),
    )
    card = text(about, {}, [], "coco")
    assert "\\<script\\>" in card
    assert "\\[free\\](http://evil) \\# Heading" in card
    assert "1. `a 'b`" in card
    assert "2. `import .../x -o out/x`" in card  # nobody's folders


def broken(entries: Sequence[Entry]) -> list[Entry]:
    return [replace(one, objects=(rectangle("ship", (0, 0, 5, 5), (60, 81)),)) for one in entries]


@pytest.mark.parametrize("form", ["parquet", "coco"])
def test_nothing_is_half_written(made: SetReader, tmp_path: Path, form: Any) -> None:
    (made.images / "three.png").unlink()
    if form == "parquet":
        with pytest.raises(EntryError, match=r"the image of toy/three can't be read: .*No such file"):
            export(made, tmp_path / "out", form)
    with pytest.raises(EntryError, match="mask of the wrong size"):
        export(SetReader(make_set(tmp_path / "bad", broken(list(made)))), tmp_path / "out", form)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_only_an_export_is_replaced(made: SetReader, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(made, out, "coco")
    with pytest.raises(EntryError, match="--overwrite"):
        export(made, out, "parquet")
    export(made, out, "parquet", overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "data"]
    (out / "thesis.doc").touch()
    with pytest.raises(EntryError, match="exists"):
        export(made, out, "coco", overwrite=True)
    assert json.loads((made.folder / "set.json").read_text())["name"] == "toy"
