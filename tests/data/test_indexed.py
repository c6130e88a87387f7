"""Entries by number: any order, one split, drawn once, and never another file than the one that was indexed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from geopix.data.entries import ENTRIES as FILE
from geopix.data.entries import Entry, EntryError
from geopix.data.indexed import IndexedSet
from tests.tiny_set import ENTRIES, tiny_set


def test_entries_come_in_any_order(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    index = IndexedSet(tiny_set(tmp_path / "set"), watch=lambda done, total: told.append((done, total)))
    assert len(index) == index.in_split == 5  # the sixth is for validation
    assert [index[place] for place in (3, 0, 4, 2, 1, 3)] == [ENTRIES[place] for place in (3, 0, 4, 2, 1, 3)]
    text = (tmp_path / "set" / FILE).read_bytes()
    assert index.fingerprint == hashlib.sha256(text).hexdigest()
    assert told[-1] == (len(text), len(text))
    assert index.classes == {"A_T": ("airplane", "bridge", "ship"), "B_T": ("harbor", "ship")}
    assert [entry.key for entry in IndexedSet(tmp_path / "set", "val")] == ["kept"]


def test_subsets_and_wishes_choose(tmp_path: Path) -> None:
    folder = tiny_set(tmp_path / "set")
    assert [entry.key for entry in IndexedSet(folder, subsets=["A_T"])] == ["two", "bridge"]
    assert [entry.key for entry in IndexedSet(folder, wanted=lambda entry: bool(entry.captions))] == ["bridge", "told"]
    with pytest.raises(EntryError, match="has no subset 'SIOR_T': it has A_T, B_T"):
        IndexedSet(folder, subsets=["SIOR_T"])


def many(count: int) -> list[Entry]:
    return [replace(ENTRIES[4], key=f"image {number}") for number in range(count)]


def test_a_draw_has_a_seed_and_a_hash(tmp_path: Path) -> None:
    folder = tiny_set(tmp_path / "set", many(40))
    one, two, other = (IndexedSet(folder) for _ in range(3))
    taken = one.draw(12, seed=3)
    assert taken == two.draw(12, seed=3) != other.draw(12, seed=4)
    keys = [entry.key for entry in one]
    assert keys == [entry.key for entry in two]
    assert len(set(keys)) == 12
    assert keys == sorted(keys, key=lambda key: int(key.split()[1]))
    assert taken == hashlib.sha256("".join(f"{key}\n" for key in keys).encode()).hexdigest()
    with pytest.raises(EntryError, match="has 12 images to train on: 13 are to be taken"):
        one.draw(13, seed=0)


def test_another_file_is_noticed(tmp_path: Path) -> None:
    folder = tiny_set(tmp_path / "set")
    index = IndexedSet(folder)
    tiny_set(folder, ENTRIES[1:], overwrite=True)
    with pytest.raises(EntryError, match="changed while it was read"):
        index[0]
    (folder / FILE).unlink()
    with pytest.raises(EntryError, match="is missing"):
        IndexedSet(folder)
