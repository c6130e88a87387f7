"""Write a set for others, whole or not at all (§IV)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal

from geopix.data import statistics
from geopix.data.entries import EntryError, SetReader
from geopix.data.export import card, coco, parquet
from geopix.data.foreign.found import Watch, unwatched
from geopix.data.statistics import Part


def export(
    reader: SetReader,
    out: Path,
    form: Literal["parquet", "coco"],
    *,
    pictures: bool = True,
    overwrite: bool = False,
    watch: Watch = unwatched,
) -> dict[tuple[str, str], Part]:
    """Write a set as parquet or COCO into a folder of its own, with its data card.

    Args:
        reader: The set; read two or three times.
        out: A new folder, or with ``overwrite`` one that an export made.
        form: The format.
        pictures: Whether parquet holds the images' files.
        watch: Told how far it is.

    Returns:
        The set's numbers.

    Raises:
        EntryError: If the output is taken, a needed library is missing, or the set can't be read.
        OSError: If a file can't be read or written.
    """
    taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    if taken and not (overwrite and _is_export(out)):
        raise EntryError(f"{out} exists", "name a new folder, or give --overwrite to replace an export")
    total = reader.about.counts.get("images", 0)
    parts = statistics.count(reader, reader.about.name, total, watch)
    categories = dict(sorted(statistics.whole(parts.values()).classes.items()))
    staging = out.with_name(f".{out.name}.{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        splits: list[str] = []
        if form == "parquet":
            splits = list(parquet.write(reader, staging, categories, pictures=pictures, watch=watch))
        else:
            coco.write(reader, staging, categories, watch)
        card.write(reader.about, parts, staging, splits, form)
        old = out.with_name(f".{out.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if out.exists():
            out.replace(old)
        staging.replace(out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return parts


def _is_export(folder: Path) -> bool:
    card_there = (folder / "README.md").is_file()
    return card_there and {path.name for path in folder.iterdir()} <= {"README.md", "data", coco.FILE}
