"""All corrections of a review, out of the files that people saved, in either form (§IV-C)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geopix.data.entries import EntryError
from geopix.data.foreign import jsonstream
from geopix.data.foreign.found import Watch, unwatched
from geopix.data.review import labelstudio, page
from geopix.data.review.corrections import Correction, Header, ReviewError, Spot

STAMP = "review.json"
"""What an export tells of itself, in its folder."""


@dataclass(slots=True)
class Collected:
    """What people said.

    Args:
        header: The review.
        by_key: Entry's key -> its corrections by spot.
        files: Where they were read from.
    """

    header: Header
    by_key: dict[str, dict[Spot, Correction]] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return sum(map(len, self.by_key.values()))


def files_of(path: Path) -> list[Path]:
    """The files with corrections that a user means by a file, or by a folder: its ``.json`` files.

    Raises:
        ReviewError: If there are none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ReviewError(f"there is no {path}; give a file with corrections, or the folder that holds some")
    found = sorted(one for one in path.glob("*.json") if one.name != STAMP and one.is_file())
    if not found:
        raise ReviewError(f"{path} holds no .json file with corrections; save them there from the page or Label Studio")
    return found


def collect(files: Sequence[Path], watch: Watch = unwatched) -> Collected:
    """Read corrections; two files may say the same of a text, not different things.

    Raises:
        ReviewError: If a file can't be used, or two contradict each other, naming them.
        OSError: If one can't be read.
    """
    collected: Collected | None = None
    origin: dict[Spot, Path] = {}
    for path in files:
        try:
            header, corrections = _read(path, watch)
        except (ReviewError, EntryError) as error:
            raise ReviewError(f"{path}: {error}") from error
        if collected is None:
            collected = Collected(header, files=tuple(files))
        elif header != collected.header:
            raise ReviewError(f"{path} and {files[0]} belong to different reviews; import one after the other")
        for one in corrections:
            spots = collected.by_key.setdefault(one.spot.key, {})
            if one.spot in spots and (origin[one.spot] == path or spots[one.spot] != one):
                where = (
                    f"twice in {path}" if origin[one.spot] == path else f"differently in {origin[one.spot]} and {path}"
                )
                raise ReviewError(f"{one.spot} is corrected {where}; keep one of the two")
            spots[one.spot] = one
            origin[one.spot] = path
    if collected is None:
        raise ReviewError("there are no files with corrections")
    return collected


def _read(path: Path, watch: Watch) -> tuple[Header, list[Correction]]:
    header: Header | None = None
    found: list[Correction] = []
    saved: dict[str, Any] = {}
    said: list[Any] = []
    for name, value in jsonstream.items(path, watch):
        if name == "corrections":
            said.append(value)
        elif name:
            saved[name] = value
        else:
            other, corrections = labelstudio.read(value)
            if header not in (None, other):
                raise ReviewError("its tasks belong to different reviews; export one project at a time")
            header = other
            found += corrections
    if header is not None:
        return header, found
    return page.read(saved, said)
