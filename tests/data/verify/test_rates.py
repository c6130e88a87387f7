"""The rates of a set, counted by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from geopix.data.entries import Annotated, Entry
from geopix.data.verify.rates import check_set
from tests.data.describe.sets import entries, make


def test_every_description_is_counted_once(tmp_path: Path) -> None:
    said = [("the leftmost ship", "the ship"), ("the leftmost ship",), ()]
    first = entries(1)[0]
    objects = tuple(replace(one, descriptions=mine) for one, mine in zip(first.objects, said, strict=True))
    crowd = tuple(Annotated("ship", (1.0, 1.0, 9.0, 9.0), descriptions=("the ship",)) for _ in range(301))
    made = [replace(first, objects=objects), Entry("toy/crowd", "crowd.png", (120, 120), crowd)]
    findings: list[dict[str, Any]] = []
    done: list[int] = []
    rates = check_set(make(tmp_path / "set", made), findings.append, done.append)
    assert list(rates.rows()) == [("ship", "isolated", 3, {"unique": 1, "ambiguous": 1, "false": 1, "unparsable": 0})]
    assert rates.silent == {"harbor": 1}
    assert rates.unchecked == {"too many objects to describe": 1}
    assert [(one["key"], one["object"], one["outcome"]) for one in findings] == [
        ("toy/000", 0, "ambiguous"),
        ("toy/000", 1, "false"),
    ]
    assert findings[1]["reason"] == "it is not true of this object; it fits object 0"
    assert done == [1, 2]
    assert rates.to_json()["unique"] == 1
