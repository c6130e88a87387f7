"""Shards that were built apart become one set (§IV, at full size)."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from geopix.data.assembly.run import IMAGES, REPORT
from geopix.data.entries import About, EntryError, SetReader
from geopix.data.foreign.found import Watch, unwatched
from geopix.data.writing import SetWriter


def merge(shards: Sequence[Path], out: Path, *, overwrite: bool = False, watch: Watch = unwatched) -> About:
    """Put all shards of one recipe together, in the order of their numbers.

    Args:
        shards: Sets that `geopix.data.assembly.run.build` made as shards 1 to n, in any order.
        out: A new folder, or with ``overwrite`` a set that is replaced.
        watch: Told how far it is.

    Returns:
        What is known of the whole.

    Raises:
        EntryError: If they are not all the shards of one recipe, or hold a key twice.
        OSError: If a file can't be read or written.
    """
    readers = _in_order([SetReader(folder) for folder in shards])
    counts, skipped = Counter[str](), Counter[str]()
    keys: set[str] = set()
    with SetWriter(out, overwrite) as writer, (writer.staging / REPORT).open("wb") as report:
        for done, reader in enumerate(readers):
            watch("merging", done, len(readers))
            for number, line in enumerate(reader.lines()):
                entry = reader.entry(line, number)
                if entry.key in keys:
                    raise EntryError(f"{reader.folder} holds {entry.key!r}, which another shard holds as well")
                keys.add(entry.key)
                writer.write(line.decode(), 1, len(entry.objects))
            _take_images(reader.images, writer.staging / IMAGES)
            counts.update({name: n for name, n in reader.about.counts.items() if name not in ("shard", "shards")})
            skipped.update(reader.about.skipped)
            if (reader.folder / REPORT).is_file():
                report.write((reader.folder / REPORT).read_bytes())
        report.flush()
        about = replace(readers[0].about, counts=dict(sorted(counts.items())), skipped=dict(sorted(skipped.items())))
        writer.finish(about)
    watch("merging", len(readers), len(readers))
    return SetReader(out).about


def _in_order(readers: Sequence[SetReader]) -> list[SetReader]:
    """The shards by their numbers, if they are all there and made alike."""
    numbers = [reader.about.counts.get("shard", 0) for reader in readers]
    wanted = {reader.about.counts.get("shards", 0) for reader in readers}
    if len(wanted) != 1 or wanted == {0} or sorted(numbers) != list(range(1, wanted.pop() + 1)):
        told = [f"{one.about.counts.get('shard', 0)}/{one.about.counts.get('shards', 0)}" for one in readers]
        raise EntryError(
            "these are not all shards of one set", f"given are {', '.join(told) or 'none'}; name each once"
        )
    for reader in readers:
        if (reader.about.name, reader.about.steps) != (readers[0].about.name, readers[0].about.steps):
            raise EntryError(f"{reader.folder} was built otherwise than {readers[0].folder}", "build all shards alike")
    return sorted(readers, key=lambda reader: reader.about.counts["shard"])


def _take_images(images: Path, into: Path) -> None:
    """The links to whole images, and the windows: as hard links where the disk is the same, else as copies."""
    for subset in sorted(images.iterdir()):
        (into / subset.name).mkdir(parents=True, exist_ok=True)
        whole = into / subset.name / "whole"
        if not whole.is_symlink():
            whole.symlink_to((subset / "whole").readlink())
        for picture in sorted((subset / "windows").rglob("*.png")):
            target = into / picture.relative_to(images)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(picture, target)
            except OSError:
                shutil.copy2(picture, target)
