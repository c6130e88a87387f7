"""Parquet in the form of GeoPixInstruct-Anno, with the pictures inside: `datasets.load_dataset` reads it (§IV)."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from geopix.data.entries import Annotated, Entry, EntryError, SetReader
from geopix.data.foreign.found import Watch, unwatched

GROUP_BYTES: Final = 16_000_000
"""About how much a row group holds; that is what is in memory at once, for every split."""
FILE_BYTES: Final = 480_000_000
"""About how large a file becomes before the next one is begun."""
SPLITS: Final = {"train": "train", "val": "valid", "test": "test"}
"""GeoPixInstruct-Anno calls its validation split so."""


@dataclass(slots=True)
class _Part:
    """One split on its way to disk."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    pending: int = 0
    written: int = 0
    files: list[Path] = field(default_factory=list)
    writer: Any = None


def write(
    reader: SetReader, folder: Path, categories: dict[str, str], *, pictures: bool = True, watch: Watch = unwatched
) -> dict[str, int]:
    """Write a set as ``data/SPLIT.SUBSET-00000-of-0000N.parquet``.

    Args:
        reader: The set.
        folder: Where ``data`` goes.
        categories: Every category of the set, in the order of their ids, which count from 0.
        pictures: Whether the images' files go inside; without, the schema is GeoPixInstruct-Anno's, but for the last
            column, which holds the descriptions of an object after its first.
        watch: Told how far it is.

    Returns:
        Name of a split, as in "train.SIOR_T" -> images in it.

    Raises:
        EntryError: If pyarrow is not installed or an image can't be read.
        OSError: If a file can't be written.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise EntryError("parquet files need pyarrow", "install it with: pip install 'geopix[data]'") from error
    schema = _schema(arrow, pictures)
    ids = {name: number for number, name in enumerate(categories)}
    parts: dict[str, _Part] = defaultdict(_Part)
    sizes: dict[str, int] = defaultdict(int)
    (folder / "data").mkdir()

    def flush(name: str) -> None:
        part = parts[name]
        if part.writer is None:
            part.files.append(folder / "data" / f"{name}-{len(part.files):05}.parquet")
            part.writer = parquet.ParquetWriter(part.files[-1], schema, compression="zstd")
        part.writer.write_table(arrow.Table.from_pylist(part.rows, schema=schema))
        part.written += part.pending
        part.rows, part.pending = [], 0
        if part.written >= FILE_BYTES:
            close(part)

    def close(part: _Part) -> None:
        if part.writer is not None:
            part.writer.close()
        part.writer, part.written = None, 0

    try:
        total = reader.about.counts.get("images", 0)
        for done, entry in enumerate(reader, start=1):
            name = ".".join(filter(None, (SPLITS[entry.split], entry.subset)))
            row, size = _row(entry, ids, reader.images if pictures else None)
            parts[name].rows.append(row)
            parts[name].pending += size
            sizes[name] += 1
            if parts[name].pending >= GROUP_BYTES:
                flush(name)
            watch("writing parquet", done, max(total, done))
        for name in parts:
            if parts[name].rows:
                flush(name)
    finally:
        for part in parts.values():
            close(part)
    for part in parts.values():
        for file in part.files:
            file.rename(file.with_name(f"{file.stem}-of-{len(part.files):05}.parquet"))
    return dict(sizes)


def _schema(arrow: Any, pictures: bool) -> Any:
    text, number = arrow.string(), arrow.int64()
    mask = arrow.struct([("counts", text), ("size", arrow.list_(number))])
    instance = [("bbox", arrow.list_(number)), ("category", text), ("category_id", number), ("description", text)]
    fields = [
        ("image_id", text),
        ("image_path", text),
        ("instances", arrow.list_(arrow.struct([*instance, ("instance_id", text), ("mask", mask)]))),
        ("other_descriptions", arrow.list_(arrow.struct([("instance_id", text), ("description", text)]))),
    ]
    if not pictures:
        return arrow.schema(fields)
    image = ("image", arrow.struct([("bytes", arrow.binary()), ("path", text)]))
    # By this, and only this, datasets knows that the bytes are a picture.
    told = {"info": {"features": {"image": {"_type": "Image"}}}}
    return arrow.schema([*fields, image], metadata={"huggingface": json.dumps(told)})


def _row(entry: Entry, ids: dict[str, int], images: Path | None) -> tuple[dict[str, Any], int]:
    """An image as a row, and about how many bytes it is."""
    named = [(f"{entry.key}#{number}", one) for number, one in enumerate(entry.objects)]
    row: dict[str, Any] = {
        "image_id": entry.key,
        "image_path": entry.image,
        "instances": [_instance(name, one, entry.size_hw, ids) for name, one in named],
        "other_descriptions": list(_others(named)),
    }
    size = 400 + sum(len(one.counts or "") + 200 for one in entry.objects)
    if images is not None:
        try:
            data = (images / entry.image).read_bytes()
        except OSError as error:
            reason = error.strerror or str(error)
            raise EntryError(f"the image of {entry.key} can't be read", f"{images / entry.image}: {reason}") from error
        row["image"] = {"bytes": data, "path": entry.image}
        size += len(data)
    return row, size


def _instance(name: str, one: Annotated, size_hw: tuple[int, int], ids: dict[str, int]) -> dict[str, Any]:
    """An object in the published form; its box in whole pixels, corner and opposite corner, widened where need be."""
    x1, y1, x2, y2 = one.box_xyxy_px
    category = one.category or one.class_name
    return {
        "bbox": [math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2)],
        "category": category,
        "category_id": ids[category],
        "description": one.descriptions[0] if one.descriptions else None,
        "instance_id": name,
        "mask": None if one.counts is None else {"counts": one.counts, "size": list(size_hw)},
    }


def _others(named: list[tuple[str, Annotated]]) -> Iterator[dict[str, str]]:
    for name, one in named:
        for description in one.descriptions[1:]:
            yield {"instance_id": name, "description": description}
