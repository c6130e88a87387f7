"""Fingerprints made ahead: used by the build, made once, noticed when a file has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from geopix.data.assembly import ahead, fingerprints
from geopix.data.assembly.recipe import Recipe
from geopix.data.assembly.run import build
from geopix.data.entries import EntryError, SetReader
from tests.data.assembly.made import entry, make_set, noise, ships

RECIPE = Recipe.model_validate({"name": "t", "sets": [{"path": "toy", "subset": "T"}]})


def test_the_build_takes_what_was_made_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = SetReader(make_set(tmp_path / "toy", [entry(f"{n}", ships(n)) for n in range(20)]))
    build(RECIPE, tmp_path, tmp_path / "without")
    looked_at: list[str] = []
    honest = fingerprints.fingerprint

    def counting(key: str, *rest: Any) -> fingerprints.Fingerprint:
        looked_at.append(key)
        return honest(key, *rest)

    monkeypatch.setattr(fingerprints, "fingerprint", counting)
    assert ahead.make(reader, shard=(1, 2))["looked at"] + ahead.make(reader, shard=(2, 2))["looked at"] == 20
    assert sorted(path.name for path in reader.folder.glob("finger*")) == [
        "fingerprints-1-of-2.jsonl",
        "fingerprints-2-of-2.jsonl",
    ]
    looked_at.clear()
    build(RECIPE, tmp_path, tmp_path / "with")
    assert looked_at == []
    assert (tmp_path / "with" / "set.json").read_bytes() == (tmp_path / "without" / "set.json").read_bytes()
    noise(99, (60, 80)).save(tmp_path / "toy-images" / "3.png")  # of another size in bytes
    (tmp_path / "toy-images" / "4.png").unlink()
    assert build(RECIPE, tmp_path, tmp_path / "changed").tally.skipped == {"image: missing": 1}
    assert looked_at == ["toy/3", "toy/4"]


def test_stopped_in_the_middle_it_goes_on(tmp_path: Path) -> None:
    reader = SetReader(make_set(tmp_path / "toy", [entry(f"{n}", ships(n)) for n in range(5)]))
    assert ahead.make(reader) == {"looked at": 5}
    path = reader.folder / "fingerprints.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:40])  # killed in the third line
    assert ahead.make(reader) == {"there already": 2, "looked at": 3}
    assert ahead.make(reader) == {"there already": 5}
    assert [one.key for one in fingerprints.stored(reader.folder)] == [f"toy/{n}" for n in range(5)]


def test_problems_are_counted(tmp_path: Path) -> None:
    reader = SetReader(make_set(tmp_path / "toy", [entry(f"{n}", ships(n)) for n in range(2)]))
    (tmp_path / "toy-images" / "1.png").unlink()
    assert ahead.make(reader) == {"looked at": 2, "image missing": 1}
    with pytest.raises(EntryError, match="is no set"):
        SetReader(tmp_path)
