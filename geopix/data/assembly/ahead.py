"""Fingerprints made ahead of a build, once for a set, on as many machines as one likes (§IV, at full size)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator

from geopix.data.assembly.fingerprints import Fingerprint, Picture, file_name, looked, stored, to_line
from geopix.data.assembly.plan import shard_of
from geopix.data.assembly.pool import Workers
from geopix.data.entries import SetReader
from geopix.data.foreign.found import Watch, unwatched


def make(
    reader: SetReader, *, shard: tuple[int, int] = (1, 1), workers: int = 1, watch: Watch = unwatched
) -> Counter[str]:
    """Look at every image of a set and write its fingerprint into the set's folder; what is there already stays.

    Stopped in the middle, the same again goes on: every line is on its own.

    Args:
        reader: The set.
        shard: (i, n), i from 1: only the entries of which the key's hash falls on i.
        workers: Processes.
        watch: Told how far it is.

    Returns:
        "looked at" and "there already", and the problems with their numbers.

    Raises:
        EntryError: If the set can't be read, or a needed library is missing.
        OSError: If the folder can't be written.
    """
    known = {one.key: one for one in stored(reader.folder)}
    path, told = reader.folder / file_name(shard), Counter[str]()
    asked: deque[Fingerprint | None] = deque()

    def pictures() -> Iterator[Picture]:
        for entry in reader:
            if shard_of(entry.key, shard[1]) == shard[0]:
                asked.append(known.get(entry.key))
                yield entry.key, reader.images / entry.image, entry.size_hw, asked[-1]

    total = reader.about.counts.get("images", 0) // shard[1]
    broken_off = path.is_file() and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file, Workers(workers) as processes:
        if broken_off and path.stat().st_size:
            file.write("\n")
        for done, found in enumerate(looked(pictures(), processes), start=1):
            if found != asked.popleft():
                file.write(to_line(found))
                file.flush()
                told["looked at"] += 1
            else:
                told["there already"] += 1
            if found.problem:
                told[found.problem] += 1
            watch("looking at images", done, max(total, done))
    return told
