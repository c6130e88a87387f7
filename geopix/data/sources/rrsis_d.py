"""RRSIS-D: referring expressions with masks on DIOR (one of the sets that Table I compares with).

Its images are DIOR's and its masks segment-anything's, as SIOR-T's are: what trains on SIOR-T must not be scored here
without a look at which images both hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geopix.data.entries import EntryError
from geopix.data.foreign.found import MALFORMED, Found, Place, Skipped, required, skipped
from geopix.data.foreign.pickles import read_pickle
from geopix.data.foreign.pictures import Pictures
from geopix.data.foreign.spool import key_of
from geopix.data.foreign.words import text
from geopix.data.sources.coco import Table, entries
from geopix.records import Split

LARGEST = 32_000_000
"""Bytes of the pickle of expressions that are read."""
_MOST_SENTENCES = 100
_SPLITS: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}


def read(place: Place) -> Iterator[Found]:
    """Yield an entry for every image of ``rrsisd/instances.json``, with the expressions of ``rrsisd/refs(unc).p``.

    An image is in the split of its expressions. The XML files, which hold more expressions than there are masks, are
    not read.
    """
    folder = place.folder / "rrsisd" if (place.folder / "rrsisd").is_dir() else place.folder
    described: dict[str, tuple[str, ...]] = {}
    splits: dict[str, Split] = {}
    yield from _refs(folder / "refs(unc).p", described, splits)
    table = Table(required(folder / "instances.json"), place.name, splits=splits, complete=False, described=described)
    yield from entries(table, Pictures(place.images), looks=place.looks, watch=place.watch)


def _refs(path: Path, described: dict[str, tuple[str, ...]], splits: dict[str, Split]) -> Iterator[Skipped]:
    """Fill annotation id -> expressions, and file name -> split."""
    refs = read_pickle(path, LARGEST)
    if not isinstance(refs, list):
        raise EntryError(f"{path} is no list of expressions", "take refs(unc).p of RRSIS-D")
    for number, ref in enumerate(refs, start=1):
        try:
            _ref(ref, described, splits)
        except MALFORMED as error:
            yield skipped(error, f"{path.name} record {number}")


def _ref(ref: dict[str, Any], described: dict[str, tuple[str, ...]], splits: dict[str, Split]) -> None:
    key, name, split = key_of(ref["ann_id"]), text(ref["file_name"]), _SPLITS[ref["split"]]
    if key in described:
        raise EntryError("duplicate id", f"expressions of object {key}")
    if splits.get(name, split) != split:
        raise EntryError("image in two splits", f"{name} in {splits[name]} and {split}")
    if len(ref["sentences"]) > _MOST_SENTENCES:
        raise EntryError("too many expressions of one object", f"{len(ref['sentences']):,}")
    described[key] = tuple(dict.fromkeys(text(told["sent"]) for told in ref["sentences"]))
    splits[name] = split
