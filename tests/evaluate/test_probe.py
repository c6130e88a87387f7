"""What is asked about an image of a set, and with which truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geopix.assistant import check_question
from geopix.classes import UNKNOWN, VHR10
from geopix.data.entries import Annotated, Entry, EntryError
from geopix.evaluate.probe import ASKERS, box_units
from geopix.evaluate.probes import batched, probes
from geopix.records import encode_mask


def _ship(x: int, description: str) -> Annotated:
    mask = np.zeros((50, 100), dtype=np.bool_)
    mask[10:20, x : x + 20] = True
    counts = str(encode_mask(mask)["counts"])
    return Annotated("ship", (float(x), 10.0, x + 20.0, 20.0), counts=counts, descriptions=(description,))


ENTRY = Entry("set/1", "1.png", (50, 100), (_ship(0, "The ship on the left."), _ship(60, "The ship on the right.")))


def test_objects_are_asked_for_by_description_by_class_and_by_box() -> None:
    asked = {kind: maker(ENTRY, Path("1.png"), VHR10) for kind, maker in ASKERS.items()}
    assert asked["referred"][0].question == "Segment the ship on the left and the ship on the right."
    assert asked["all"][0].question == "Segment all ships."
    assert [one.counts for one in asked["all"][0].truth] == [one.counts for one in ENTRY.objects]
    assert "ship" not in asked["absent"][0].question
    assert asked["absent"][0].question == ASKERS["absent"](ENTRY, Path("1.png"), VHR10)[0].question
    first, second = asked["box"]
    assert (first.units, second.units) == ((0, 20, 20, 40), (60, 20, 80, 40))
    assert first.unique is False
    ids = [probe.id for made in asked.values() for probe in made]
    assert len(set(ids)) == len(ids)


def test_only_what_somebody_looked_for_is_absent() -> None:
    def absent(*annotated: str) -> str:
        return ASKERS["absent"](ENTRY, Path("1.png"), annotated)[0].question

    assert absent("ship", "bridge", "dam") == "Segment the bridge."
    assert absent("ship", "dam") == "Segment the dam."
    assert ASKERS["absent"](ENTRY, Path("1.png"), ("ship",)) == []
    assert ASKERS["absent"](replace(ENTRY, complete=False), Path("1.png"), VHR10) == []


def test_what_can_not_be_told_apart_or_answered_is_not_asked() -> None:
    ships = tuple(_ship(6 * place, "") for place in range(12))
    assert ASKERS["all"](replace(ENTRY, objects=ships[:11]), Path("1.png"), VHR10)[0].question == "Segment all ships."
    assert ASKERS["all"](replace(ENTRY, objects=ships), Path("1.png"), VHR10) == []  # more than an answer counts off
    strange = replace(ENTRY, objects=(replace(ENTRY.objects[0], class_name=UNKNOWN),))
    assert ASKERS["all"](strange, Path("1.png"), VHR10) == []
    bare = replace(ENTRY, objects=tuple(replace(one, counts=None) for one in ENTRY.objects))
    assert ASKERS["all"](bare, Path("1.png"), VHR10) == ASKERS["referred"](bare, Path("1.png"), VHR10) == []
    assert len(ASKERS["box"](bare, Path("1.png"), VHR10)) == 2
    assert ASKERS["box"](replace(bare, complete=False), Path("1.png"), VHR10)[0].unique is None


def test_no_question_is_longer_than_any_that_is_read() -> None:
    ships = tuple(_ship(6 * place, f"The ship {place} {'x' * 184}.") for place in range(11))
    assert all(len(one.descriptions[0]) >= 195 for one in ships)
    (asked,) = ASKERS["referred"](replace(ENTRY, objects=ships), Path("1.png"), VHR10)
    assert check_question(asked.question) == asked.question
    assert "the ship 8 x" in asked.question.split(" and ")[0]
    assert " and the ship 9 x" in asked.question
    assert "ship 10" not in asked.question + asked.answer
    assert [one.counts for one in asked.truth] == [one.counts for one in ships[:10]]
    endless = replace(ENTRY, objects=(_ship(0, "A ship " * 400), _ship(60, "The ship on the right.")))
    assert ASKERS["referred"](endless, Path("1.png"), VHR10) == []
    assert [one.id for one in ASKERS["box"](endless, Path("1.png"), VHR10)] == ["set/1/box 1"]


def test_units_and_pieces() -> None:
    assert box_units((-5.0, 0.0, 250.0, 25.0), (50, 100)) == (0, 0, 100, 50)
    assert [list(piece) for piece in batched(range(5), 2)] == [[0, 1], [2, 3], [4]]


def test_a_folder_of_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(EntryError, match="nothing to ask about"):
        probes(tmp_path, ("box",))
