"""What tells an image from another without keeping it: the file's hash, and a perceptual one (§IV-A, leak check)."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from PIL import Image as PillowImage

from geopix.data.assembly.cut import WHOLE_PIXELS
from geopix.data.assembly.pool import Workers, batched
from geopix.data.entries import EntryError, check_size

if TYPE_CHECKING:
    from types import ModuleType

HASH_SIDE: Final = 16
"""The perceptual hash has this many bits a side, 256 in all. Of 1,353 aerial images, unrelated ones differ in 76 bits
or more, copies at JPEG quality 40, at half the size, brighter or cropped by 2 % in up to 34, and a wider crop of the
same place in 46; at the usual 64 bits the two kinds overlap."""
_REDUCED: Final = 512
"""Side that images are reduced to, about, before they are hashed."""


_BATCH: Final = 16


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """One image.

    Args:
        key: The entry's key.
        n_bytes: Size of the file, by which a changed file is noticed.
        sha256: Of the file, as hex.
        perceptual: 256 bits as hex: the signs of the lowest frequencies about their median (imagehash.phash).
        problem: Why there is none, as in `EntryError.reason`; "" where all is well.
    """

    key: str
    n_bytes: int = 0
    sha256: str = ""
    perceptual: str = ""
    problem: str = ""


Picture: TypeAlias = tuple[str, Path, tuple[int, int] | None, Fingerprint | None]
"""Key, file, the size that annotations say or None, and the fingerprint that was made ahead or None."""


def fingerprint(key: str, path: Path, size_hw: tuple[int, int] | None) -> Fingerprint:
    """Look at an image once; a missing, broken or wrong one gives its problem instead.

    Args:
        key: The entry's key.
        path: The image's file.
        size_hw: The size that its annotations say, or None where nothing is annotated.

    Raises:
        EntryError: If the library for the perceptual hash is not installed.
    """
    imagehash = library()
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            n_bytes = file.tell()
        view = _view(path, size_hw)
    except FileNotFoundError:
        return Fingerprint(key, problem="image missing")
    except EntryError as error:
        return Fingerprint(key, problem=error.reason)
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError):
        return Fingerprint(key, problem="image unreadable")
    bits = imagehash.phash(view, hash_size=HASH_SIDE).hash
    return Fingerprint(key, n_bytes, digest, np.packbits(bits.ravel()).tobytes().hex())


def library() -> ModuleType:
    """The module imagehash.

    Raises:
        EntryError: If it is not installed.
    """
    try:
        import imagehash
    except ImportError as error:
        raise EntryError(
            "comparing images needs the library imagehash", "install it with: pip install 'geopix[data]'"
        ) from error
    return imagehash


def _view(path: Path, size_hw: tuple[int, int] | None) -> PillowImage.Image:
    """The image in grey, reduced where that is cheap, after a look at its size."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PillowImage.DecompressionBombWarning)
            picture = PillowImage.open(path)
    except (PillowImage.DecompressionBombWarning, PillowImage.DecompressionBombError):
        return _reduced_view(path, size_hw)
    with picture:
        _check_size((picture.height, picture.width), size_hw, path)
        if picture.height * picture.width > WHOLE_PIXELS:
            return _reduced_view(path, size_hw)
        picture.draft("L", (_REDUCED, _REDUCED))  # a JPEG is decoded at the size above that
        return picture.convert("RGB").convert("L")


def _reduced_view(path: Path, size_hw: tuple[int, int] | None) -> PillowImage.Image:
    """A large image, read a piece at a time."""
    from geopix import geo  # GDAL takes half a second to load, and most images are small

    found = geo.size_of(path)
    _check_size(found, size_hw, path)
    scale = min(1.0, _REDUCED / max(found))
    shape = (max(1, round(found[0] * scale)), max(1, round(found[1] * scale)))
    return PillowImage.fromarray(geo.read_piece(path, (0, 0, found[1], found[0]), shape)).convert("L")


def looked(pictures: Iterable[Picture], workers: Workers) -> Iterator[Fingerprint]:
    """The fingerprints of images in order, from those made ahead where the file has not changed since."""
    for batch in workers.ordered(_look, batched(pictures, _BATCH)):
        yield from batch


def _look(batch: Sequence[Picture]) -> list[Fingerprint]:
    found = []
    for key, path, size_hw, ahead in batch:
        try:
            fresh = ahead is not None and not ahead.problem and path.stat().st_size == ahead.n_bytes
        except OSError:
            fresh = False
        found.append(ahead if ahead is not None and fresh else fingerprint(key, path, size_hw))
    return found


def _check_size(found: tuple[int, int], size_hw: tuple[int, int] | None, path: Path) -> None:
    if size_hw is not None and found != tuple(size_hw):
        raise EntryError("image size differs from its annotation", f"{path.name}: {found[0]} x {found[1]}")
    check_size(found)


def file_name(shard: tuple[int, int] = (1, 1)) -> str:
    """Where a set's folder holds the fingerprints that were made ahead."""
    return "fingerprints.jsonl" if shard == (1, 1) else f"fingerprints-{shard[0]}-of-{shard[1]}.jsonl"


def stored(folder: Path) -> Iterator[Fingerprint]:
    """The fingerprints in a set's folder, of all shards; a line that broke off is passed over."""
    for path in sorted(folder.glob("fingerprints*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                found = _parsed(line)
                if found is not None:
                    yield found


def to_line(one: Fingerprint) -> str:
    """A fingerprint as a line of JSON."""
    return json.dumps({name: getattr(one, name) for name in Fingerprint.__slots__}) + "\n"


def _parsed(line: bytes) -> Fingerprint | None:
    try:
        raw: Any = json.loads(line)
        one = Fingerprint(**raw)
        whole = one.problem or (len(bytes.fromhex(one.perceptual)) * 8 == HASH_SIDE**2 and len(one.sha256) == 64)
    except (ValueError, TypeError, RecursionError):
        return None
    return one if whole else None
