"""JSON in pieces is the JSON it is as a whole, and what is none, or has no end, is told in a sentence."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geopix.data.entries import EntryError
from geopix.data.foreign import jsonstream
from geopix.data.foreign.jsonstream import items

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
FILES = st.lists(VALUES) | st.dictionaries(st.text(), VALUES)


def flat(value: Any) -> list[tuple[str, Any]]:
    """The items of a value that is in memory."""
    if isinstance(value, list):
        return [("", one) for one in value]
    return [(name, one) for name, held in value.items() for one in (held if isinstance(held, list) else [held])]


@given(FILES, st.sampled_from([None, 2]), st.integers(1, 40))
def test_items_are_those_of_the_whole_file(value: Any, indent: int | None, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(jsonstream, "_CHUNK", chunk)
        path = Path(folder) / "a.json"
        path.write_text(json.dumps(value, indent=indent))
        assert list(items(path)) == flat(value)


def test_letters_are_not_cut_where_the_reading_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonstream, "_CHUNK", 1)
    (tmp_path / "a.json").write_text('["Straße 東京 🛰"]', encoding="utf-8")
    assert list(items(tmp_path / "a.json")) == [("", "Straße 東京 🛰")]


@pytest.mark.parametrize("chunk", range(1, 12))
def test_a_number_is_not_cut_where_the_reading_stops(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonstream, "_CHUNK", chunk)
    (tmp_path / "a.json").write_text('\ufeff {"n": 12345 , "l" : [ 1.5e10,-20, 345 ],"e":[ ]}\n\n', encoding="utf-8")
    assert list(items(tmp_path / "a.json")) == [("n", 12345), ("l", 1.5e10), ("l", -20), ("l", 345)]


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"  ", b"[1, 2", b"[1 2]", b"[1,]", b"[1] [2]", b'{"a": [1]', b'{"a" [1]}', b'{"a": [1],}', b"{1: 2}",
        b"{'a': 1}", b"12", b'"text"', b"[nul]", b'["\x01"]', b'["abc', b"[" * 100_000, b"[" + b"9" * 5000 + b"]",
        b'{"a": ' * 5000,
    ],
)  # fmt: skip
def test_what_is_no_json_is_told(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.json").write_bytes(raw)
    with pytest.raises(EntryError, match=r"a\.json is no JSON"):
        list(items(tmp_path / "a.json"))


@pytest.mark.parametrize("raw", [b'["caf\xe9"]', '["é"]'.encode("utf-16"), b'["\xed\xa0\x80"]', b'["caf\xc3'])
def test_text_that_is_not_utf_8_is_told(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.json").write_bytes(raw)
    with pytest.raises(EntryError, match=r"a\.json is not UTF-8 text"):
        list(items(tmp_path / "a.json"))


def test_what_comes_before_the_fault_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1, 2, oops]")
    reading = items(tmp_path / "a.json")
    assert [next(reading), next(reading)] == [("", 1), ("", 2)]
    with pytest.raises(EntryError, match="near 'oops"):
        next(reading)


def test_one_item_may_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonstream, "LARGEST_ITEM", 1000)
    monkeypatch.setattr(jsonstream, "_CHUNK", 100)
    (tmp_path / "a.json").write_text(json.dumps(["x" * 900, "y" * 2000]))
    reading = items(tmp_path / "a.json")
    assert next(reading) == ("", "x" * 900)
    with pytest.raises(EntryError, match="more than 1,000 characters"):
        next(reading)


def test_a_missing_file_is_told_and_the_bytes_read_are_watched(tmp_path: Path) -> None:
    with pytest.raises(EntryError, match=r"none\.json is missing.*--help"):
        list(items(tmp_path / "none.json"))
    (tmp_path / "a.json").write_text("[1]")
    watched: list[tuple[str, int, int]] = []
    list(items(tmp_path / "a.json", lambda *told: watched.append(told)))
    assert watched[-1] == ("reading a.json", 3, 3)
