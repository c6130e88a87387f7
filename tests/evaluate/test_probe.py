"""What is asked about an image of a set, and with which truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geopix.data.entries import Annotated, Entry, EntryError
from geopix.evaluate.probe import ASKERS, box_units, in_a_question
from geopix.evaluate.probes import batched, probes
from geopix.records import encode_mask


def _ship(x: int, description: str) -> Annotated:
    mask = np.zeros((50, 100), dtype=np.bool_)
    mask[10:20, x : x + 20] = True
    counts = str(encode_mask(mask)["counts"])
    return Annotated("ship", (float(x), 10.0, x + 20.0, 20.0), counts=counts, descriptions=(description,))


ENTRY = Entry("set/1", "1.png", (50, 100), (_ship(0, "The ship on the left."), _ship(60, "The ship on the right.")))


def test_objects_are_asked_for_by_description_by_class_and_by_box() -> None:
    asked = {kind: maker(ENTRY, Path("1.png")) for kind, maker in ASKERS.items()}
    assert asked["referred"][0].question == "Segment the ship on the left and the ship on the right."
    assert asked["all"][0].question == "Segment all ships."
    assert [one.counts for one in asked["all"][0].truth] == [one.counts for one in ENTRY.objects]
    assert "ship" not in asked["absent"][0].question
    assert asked["absent"][0].question == ASKERS["absent"](ENTRY, Path("1.png"))[0].question
    first, second = asked["box"]
    assert (first.units, second.units) == ((0, 20, 20, 40), (60, 20, 80, 40))
    assert first.unique is False
    ids = [probe.id for made in asked.values() for probe in made]
    assert len(set(ids)) == len(ids)


def test_words_and_units() -> None:
    assert in_a_question("The  ship. ") == "the ship"
    assert in_a_question("A ship") == "a ship"
    assert in_a_question("USS ship") == "USS ship"
    assert box_units((-5.0, 0.0, 250.0, 25.0), (50, 100)) == (0, 0, 100, 50)
    assert [list(piece) for piece in batched(range(5), 2)] == [[0, 1], [2, 3], [4]]


def test_a_folder_of_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(EntryError, match="nothing to ask about"):
        probes(tmp_path, ("box",))
