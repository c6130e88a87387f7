"""Writing sets: whole or not at all, and never over what is no set."""

from __future__ import annotations

from pathlib import Path

import pytest

from geopix.data.entries import About, Entry, EntryError, SetReader
from geopix.data.writing import SetWriter

ENTRY = Entry("a/1", "a/1.png", (6, 8))


def test_a_set_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken_off() -> None:
        with SetWriter(tmp_path / "set") as writer:
            writer.add(ENTRY)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken_off()
    assert list(tmp_path.iterdir()) == []


def test_a_set_is_replaced_only_where_that_is_wanted(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    with SetWriter(folder) as writer:
        writer.add(ENTRY)
        writer.finish(About("toy", "."))
    assert list(SetReader(folder)) == [ENTRY]
    with pytest.raises(EntryError, match="--overwrite"):
        SetWriter(folder)
    with SetWriter(folder, overwrite=True) as writer:
        writer.finish(About("empty", "."))
    assert list(SetReader(folder)) == []
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.doc").touch()
    with pytest.raises(EntryError, match="exists"):
        SetWriter(other, overwrite=True)
