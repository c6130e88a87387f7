"""A set of entries onto the disk: whole or not at all (§IV)."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from geopix.data.entries import ABOUT, ENTRIES, About, Entry, EntryError


class SetWriter:
    """Writes a set beside its place and puts it there when it is whole; an error or a kill leaves what was before.

    Use as a context: ``with SetWriter(out) as writer: writer.add(entry); writer.finish(about)``.

    Args:
        folder: A new folder, or an empty one.
        overwrite: Whether an older set there is replaced.

    Raises:
        EntryError: If something is there already.
    """

    def __init__(self, folder: Path, overwrite: bool = False) -> None:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        if taken and not (overwrite and (folder / ABOUT).is_file()):
            raise EntryError(f"{folder} exists", "name a new folder, or give --overwrite to replace a set")
        self.folder = folder
        self.staging = folder.with_name(f".{folder.name}.{os.getpid()}")
        self.n_entries = self.n_objects = 0

    def __enter__(self) -> SetWriter:
        shutil.rmtree(self.staging, ignore_errors=True)
        self.staging.mkdir(parents=True)
        self._file = (self.staging / ENTRIES).open("w", encoding="utf-8")
        return self

    def add(self, entry: Entry) -> None:
        """Append one entry."""
        self.write(to_line(entry), 1, len(entry.objects))

    def write(self, lines: str, n_entries: int, n_objects: int) -> None:
        """Append entries that are lines already, as `to_line` makes them."""
        self._file.write(lines)
        self.n_entries += n_entries
        self.n_objects += n_objects

    def finish(self, about: About) -> None:
        """Close the set and put it in its place; its numbers of images and objects are told by itself."""
        self._file.close()
        told = replace(about, counts={**about.counts, "images": self.n_entries, "objects": self.n_objects})
        text = json.dumps({name: getattr(told, name) for name in About.__slots__}, indent=2, ensure_ascii=False)
        (self.staging / ABOUT).write_text(text + "\n", encoding="utf-8")
        old = self.folder.with_name(f".{self.folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if self.folder.exists():
            self.folder.replace(old)
        self.staging.replace(self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._file.close()
        shutil.rmtree(self.staging, ignore_errors=True)


def to_json(entry: Entry) -> dict[str, Any]:
    """An entry as a line of ``entries.jsonl``."""
    return {
        "key": entry.key,
        "image": entry.image,
        "size_hw": list(entry.size_hw),
        "objects": [
            {
                "class": one.class_name,
                "box_xyxy_px": list(one.box_xyxy_px),
                "counts": one.counts,
                "category": one.category,
                "descriptions": list(one.descriptions),
                "arrangement": one.arrangement,
            }
            for one in entry.objects
        ],
        "captions": list(entry.captions),
        "turns": [[turn.question, turn.answer, turn.task] for turn in entry.turns],
        "split": entry.split,
        "complete": entry.complete,
        "subset": entry.subset,
    }


def to_line(entry: Entry) -> str:
    """An entry as a line of ``entries.jsonl``, line break included."""
    return json.dumps(to_json(entry), ensure_ascii=False) + "\n"
