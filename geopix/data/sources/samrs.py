"""SAMRS: masks that segment-anything drew into the boxes of DIOR, FAIR1M and DOTA (§IV-A, the root of the data set)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from geopix.data.entries import MOST_OBJECTS, Annotated, EntryError, check_size
from geopix.data.foreign.found import Entry, Found, Place, guarded, numbers, required, sift
from geopix.data.foreign.pickles import read_pickle
from geopix.data.foreign.pictures import Pictures
from geopix.data.foreign.segmentation import counts_and_box
from geopix.data.foreign.words import class_names
from geopix.records import Split

Subset: TypeAlias = Literal["sior", "fast", "sota"]

CLASSES: dict[Subset, tuple[str, ...]] = {
    "sior": (
        "airplane", "airport", "baseballfield", "basketballcourt", "bridge", "chimney", "expressway-service-area",
        "expressway-toll-station", "dam", "golffield", "groundtrackfield", "harbor", "overpass", "ship", "stadium",
        "storagetank", "tenniscourt", "trainstation", "vehicle", "windmill",
    ),
    "fast": (
        "A220", "A321", "A330", "A350", "ARJ21", "Baseball-Field", "Basketball-Court", "Boeing737", "Boeing747",
        "Boeing777", "Boeing787", "Bridge", "Bus", "C919", "Cargo-Truck", "Dry-Cargo-Ship", "Dump-Truck",
        "Engineering-Ship", "Excavator", "Fishing-Boat", "Football-Field", "Intersection", "Liquid-Cargo-Ship",
        "Motorboat", "other-airplane", "other-ship", "other-vehicle", "Passenger-Ship", "Roundabout", "Small-Car",
        "Tennis-Court", "Tractor", "Trailer", "Truck-Tractor", "Tugboat", "Van", "Warship",
    ),
    "sota": (
        "large-vehicle", "swimming-pool", "helicopter", "bridge", "plane", "ship", "soccer-ball-field",
        "basketball-court", "ground-track-field", "small-vehicle", "baseball-diamond", "tennis-court", "roundabout",
        "storage-tank", "harbor", "container-crane", "airport", "helipad",
    ),
}  # fmt: skip
"""The classes of each subset in the order of the labels, from 0; as 75 slots they are the paper's memory bank."""

_LISTS: dict[str, Split] = {"train.txt": "train", "valid.txt": "val", "val.txt": "val", "test.txt": "test"}


def read(place: Place, subset: Subset) -> Iterator[Found]:
    """Yield an entry for every ``ins/<id>.pkl``, a list of objects each.

    An object keeps the box of the detection data set that it comes from (``bbox``, in FAST ``rhbox``), which the join
    with DIOR-RSVG needs; its mask may be smaller.
    """
    files = sorted(path for path in required(place.folder / "ins").iterdir() if path.suffix == ".pkl")
    splits = _splits(place.folder)
    pictures = Pictures(place.images)
    for number, path in enumerate(files, start=1):
        yield from guarded(f"{place.name}/{path.stem}", _image(place, subset, path, pictures, splits))
        place.watch("images", number, len(files))


def _image(
    place: Place, subset: Subset, path: Path, pictures: Pictures, splits: dict[str, Split] | None
) -> Iterator[Found]:
    key = f"{place.name}/{path.stem}"
    split = "train" if splits is None else splits.get(path.stem)
    if split is None:
        raise EntryError("image in no split")
    records = read_pickle(path)
    if not isinstance(records, list):
        raise TypeError("a list of objects was expected")
    if len(records) > MOST_OBJECTS:
        raise EntryError("too many objects in one image", f"{len(records):,}, at most {MOST_OBJECTS:,}")
    image = pictures.find(f"{path.stem}{'.jpg' if subset == 'sior' else '.png'}")
    size_hw = pictures.size_hw(image) if place.looks else _claimed_size(records)
    check_size(size_hw)
    objects, left_out = sift(records, lambda raw: _object(raw, subset, size_hw), size_hw, key)
    yield from left_out
    yield Entry(key, image, size_hw, objects, split=split, complete=not left_out)


def _object(raw: dict[str, Any], subset: Subset, size_hw: tuple[int, int]) -> Annotated:
    name, category = class_names(raw["category"])
    table = CLASSES[subset]
    if category not in table:
        raise EntryError("unknown class", category)
    label = raw.get("label")
    if label is not None and table.index(category) != label:
        raise EntryError("class and label disagree", f"{category} with label {label!r}"[:100])
    x1, y1, x2, y2 = numbers(raw["bbox"] if "bbox" in raw else raw["rhbox"], 4)
    counts, _ = counts_and_box(raw["mask"], size_hw)
    return Annotated(name, (x1, y1, x2, y2), counts, category)


def _claimed_size(records: list[dict[str, Any]]) -> tuple[int, int]:
    """The size that an image's masks have."""
    if not records:
        raise EntryError("image size unknown", "it holds no masks, and images are not looked at")
    height, width = records[0]["mask"]["size"]
    return int(height), int(width)


def _splits(folder: Path) -> dict[str, Split] | None:
    """Image id -> split where there are lists; they were made for semantic segmentation, but nobody has others."""
    splits: dict[str, Split] = {}
    for name, split in _LISTS.items():
        if (folder / name).is_file():
            try:
                listed = (folder / name).read_text(encoding="utf-8").split()
            except UnicodeDecodeError as error:
                raise EntryError(f"{folder / name} is not UTF-8 text") from error
            for key in listed:
                if splits.setdefault(key, split) != split:
                    raise EntryError(f"{folder / name} lists {key}", f"which is in {splits[key]} as well")
    return splits or None
