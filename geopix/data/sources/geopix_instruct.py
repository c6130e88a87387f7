"""GeoPixInstruct-Anno, as the paper's authors published it, and parquet of the same form (§IV, Table I)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from geopix.data.entries import MOST_OBJECTS, Annotated, EntryError, check_size
from geopix.data.foreign.found import Entry, Found, Place, guarded, numbers, required, sift
from geopix.data.foreign.pictures import Pictures
from geopix.data.foreign.segmentation import counts_and_box
from geopix.data.foreign.words import class_names, text
from geopix.records import Split

_BATCH = 64
"""Rows in memory at once."""

# Field -> the names it may have; the card's own come first.
_ROW = {
    "id": ("image_id", "id", "image_name"),
    "path": ("image_path", "file_name", "filename", "img_path", "image_file", "image"),
    "objects": ("instances", "objects", "annotations"),
    "split": ("split",),
}
_OBJECT = {
    "box": ("bbox", "box", "box_xyxy", "bbox_xyxy"),
    "class": ("category", "class", "class_name", "category_name", "label"),
    "descriptions": ("description", "descriptions", "caption", "text", "referring_sentence", "phrase"),
    "mask": ("mask", "segmentation", "rle"),
}
_SPLITS: dict[str, Split] = {"train": "train", "valid": "val", "validation": "val", "val": "val", "test": "test"}


def read(place: Place) -> Iterator[Found]:
    """Yield an entry for every row of every parquet file, in the folder or below.

    The split stands in the file's name ("train.SIOR_T-00000-of-00002.parquet", or "train" in its folder's), the
    image's size in its masks. Pictures inside the file are not read; entries name files of the image folder.

    Raises:
        EntryError: If pyarrow is missing, a file can't be read, or its fields have names that nobody expects.
    """
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise EntryError("parquet files need pyarrow", "install it with: pip install 'geopix[data]'") from error
    files = sorted(required(place.folder).rglob("*.parquet"))
    if not files:
        raise EntryError(f"{place.folder} holds no parquet file", "name the folder with those of GeoPixInstruct-Anno")
    pictures = Pictures(place.images)
    for path in files:
        subset, split = _named(path, place.folder)
        try:
            with parquet.ParquetFile(path) as file:
                fields = _fields(file.schema_arrow.names, path)
                columns = [_projected(file.schema_arrow.field(name)) for name in fields.values()]
                total, done = file.metadata.num_rows, 0
                xywh: bool | None = None
                for batch in file.iter_batches(batch_size=_BATCH, columns=columns):
                    rows = _rows(batch, fields)
                    if xywh is None:
                        xywh = _is_xywh([one for row in rows for one in row.get("objects") or ()])
                    for number, row in enumerate(rows, start=done + 1):
                        where = f"{path.name} row {number}"
                        yield from guarded(where, _image(place, pictures, row, subset, split, xywh))
                    done += batch.num_rows
                    place.watch(f"reading {path.name}", done, total)
        except (arrow.ArrowException, OSError) as error:
            raise EntryError(f"{path} is no parquet file that can be read", str(error)[:200]) from error


def _image(
    place: Place, pictures: Pictures, row: dict[str, Any], subset: str, split: Split, xywh: bool
) -> Iterator[Found]:
    if row["objects"] is None:
        raise EntryError("too many objects in one image", f"{row['count']:,}, at most {MOST_OBJECTS:,}")
    raws = row["objects"]
    path = text(str(row.get("path") or row["id"]))
    own = text(str(row["id"])) if row.get("id") is not None else path
    if path.startswith("/"):  # where it lay on its maker's disk
        path = PurePosixPath(path).name
    image = pictures.find(path if PurePosixPath(path).suffix else f"{path}.png")
    key = "/".join(filter(None, (place.name, subset, own)))
    size_hw = _size(raws, pictures, image, place.looks)
    check_size(size_hw)
    objects, left_out = sift(raws, lambda raw: _object(raw, size_hw, xywh), size_hw, key)
    yield from left_out
    told = row.get("split")
    # The join leaves out what has no sentence, so absence may not be concluded.
    yield Entry(key, image, size_hw, objects, split=_SPLITS[told] if told else split, complete=False)


def _object(raw: dict[str, Any], size_hw: tuple[int, int], xywh: bool) -> Annotated:
    name, category = class_names(_field(raw, "class"))
    told = _field(raw, "descriptions") or ()
    descriptions = tuple(map(text, (told,) if isinstance(told, str) else told))
    mask, box = _field(raw, "mask"), _field(raw, "box")
    if mask is None and box is None:
        raise EntryError("object without box or mask")
    counts, box_xyxy_px = (None, (0.0, 0.0, 0.0, 0.0)) if mask is None else counts_and_box(mask, size_hw)
    if box is not None:
        x, y, third, fourth = numbers(box, 4)
        box_xyxy_px = (x, y, x + third, y + fourth) if xywh else (x, y, third, fourth)
    return Annotated(name, box_xyxy_px, counts, category, descriptions)


def _is_xywh(objects: Sequence[dict[str, Any]]) -> bool:
    """Whether boxes are (x, y, width, height): which reading is nearer to the masks' own boxes, over many objects."""
    votes = 0
    for raw in objects:
        try:
            mask = _field(raw, "mask")
            _, tight = counts_and_box(mask, (int(mask["size"][0]), int(mask["size"][1])))
            x, y, third, fourth = numbers(_field(raw, "box"), 4)
        except (ArithmeticError, LookupError, TypeError, ValueError):
            continue
        as_corners = abs(third - tight[2]) + abs(fourth - tight[3])
        as_sizes = abs(x + third - tight[2]) + abs(y + fourth - tight[3])
        votes += (as_sizes < as_corners) - (as_corners < as_sizes)
    return votes > 0


def _size(raws: Sequence[dict[str, Any]], pictures: Pictures, image: str, looks: bool) -> tuple[int, int]:
    for raw in raws:
        mask = _field(raw, "mask")
        if mask:
            return int(mask["size"][0]), int(mask["size"][1])
    if not looks:
        raise EntryError("image size unknown", "it holds no masks, and images are not looked at")
    return pictures.size_hw(image)


def _field(raw: dict[str, Any], field: str) -> Any:
    return next((raw[name] for name in _OBJECT[field] if raw.get(name) is not None), None)


def _fields(names: Sequence[str], path: Path) -> dict[str, str]:
    """Field -> column; what is needed must be there."""
    found = {field: next((name for name in known if name in names), "") for field, known in _ROW.items()}
    if not found["objects"] or not (found["id"] or found["path"]):
        raise EntryError(
            f"{path} has no columns for images and their objects", f"its columns: {', '.join(names)[:200]}"
        )
    return {field: name for field, name in found.items() if name}


def _projected(field: Any) -> str:
    """The column to read: of a picture inside the file its name only."""
    inside = [inner.name for inner in field.type] if field.name == "image" and field.type.num_fields else []
    return f"{field.name}.path" if "path" in inside else str(field.name)


def _rows(batch: Any, fields: dict[str, str]) -> list[dict[str, Any]]:
    """The rows of a batch by our names; ``objects`` is None where ``count``, their number, is too large."""
    columns = {field: batch.column(batch.schema.get_field_index(name)) for field, name in fields.items()}
    rows: list[dict[str, Any]] = []
    for number in range(batch.num_rows):
        row = {field: column[number].as_py() for field, column in columns.items() if field != "objects"}
        if isinstance(row.get("path"), dict):
            row["path"] = row["path"].get("path")
        objects = columns["objects"][number]
        row["count"] = _count(objects)
        row["objects"] = None if row["count"] > MOST_OBJECTS else _listed(objects.as_py())
        rows.append(row)
    return rows


def _count(objects: Any) -> int:
    """How many objects a row holds, told before they are made."""
    if not objects.is_valid:
        return 0
    if not hasattr(objects, "items"):
        return len(objects)
    lists = [value for _, value in objects.items() if value.is_valid and value.type.num_fields == 1]
    return max(map(len, lists), default=0)


def _listed(objects: Any) -> list[dict[str, Any]]:
    """Objects as a list of records, whether they lie as one or as a record of lists."""
    if isinstance(objects, dict):
        names = list(objects)
        return [dict(zip(names, values, strict=True)) for values in zip(*objects.values(), strict=True)]
    return list(objects or ())


def _named(path: Path, folder: Path) -> tuple[str, Split]:
    """Subset ("SIOR_T") and split that a file's name, or its folder's, tells."""
    relative = path.relative_to(folder)
    words = re.split(r"[./_-]+", "/".join(relative.parts[:-1]) + "/" + relative.stem)
    split: Split = next((_SPLITS[word] for word in reversed(words) if word in _SPLITS), "train")
    subset = re.search(r"(SIOR|FAST|SOTA)_T", relative.as_posix())
    return subset.group() if subset else "", split
