"""Turned with everything that is said: pixels bear witness for boxes and masks, the checker for words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geopix.data.describe.sentences import sentences
from geopix.data.entries import Annotated, Entry
from geopix.data.turns import VIEWS, turn_box, turn_description, turn_entry, turn_image
from geopix.data.verify.check import check
from geopix.data.verify.scene import Scene
from geopix.dialogue import box_text
from geopix.records import Instance, Turn, decode_mask, mask_box
from tests.data.verify.layouts import layout
from tests.tiny_set import ENTRIES, TWO, entry_of

NAMES = frozenset({"ship", "harbor"})


def described(seed: int) -> Entry:
    entry = layout(seed)
    instances = [Instance(one.class_name, one.class_name, one.box_xyxy_px) for one in entry.objects]
    said = sentences(instances, entry.size_hw, entry.key)
    objects = tuple(replace(one, descriptions=texts) for one, texts in zip(entry.objects, said, strict=True))
    return replace(entry, objects=objects)


@given(seed=st.integers(0, 10_000), view=st.integers(1, VIEWS - 1))
@settings(max_examples=40, deadline=None)
def test_what_meant_one_object_still_does_in_every_view(seed: int, view: int) -> None:
    entry = described(seed)
    before, moved = Scene(entry), turn_entry(entry, view)
    after = Scene(moved)
    for index, (one, other) in enumerate(zip(entry.objects, moved.objects, strict=True)):
        assert len(one.descriptions) == len(other.descriptions)
        for text, rewritten in zip(one.descriptions, other.descriptions, strict=True):
            if check(text, index, before).outcome == "unique":
                assert check(rewritten, index, after).outcome == "unique", (text, rewritten)


@pytest.mark.parametrize("view", range(VIEWS))
def test_boxes_and_masks_lie_where_the_pixels_do(view: int) -> None:
    entry = turn_entry(entry_of(TWO), view)
    image = turn_image(TWO.image, view)
    assert image.shape[:2] == entry.size_hw == ((120, 100) if view // 2 % 2 else (100, 120))
    for index, one in enumerate(entry.objects):
        assert one.counts is not None
        mask = decode_mask({"size": entry.size_hw, "counts": one.counts})
        assert np.array_equal(mask, image[..., 0] == 200 + index)
        assert mask_box(mask) == one.box_xyxy_px


@given(view=st.integers(0, VIEWS - 1), box=st.tuples(*[st.integers(0, 100)] * 4))
def test_four_quarters_or_two_mirrors_bring_a_box_back(view: int, box: tuple[int, int, int, int]) -> None:
    x1, y1, x2, y2 = box
    there = turn_box((x1, y1, x2, y2), (100, 140), view)
    size = (140, 100) if view // 2 % 2 else (100, 140)
    back = turn_box(turn_box(there, size, 1), size, 0) if view % 2 else there  # out of the mirror
    for _ in range(-(view // 2) % 4):
        back = turn_box(back, size, 2)
        size = size[::-1]
    assert back == box


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("the leftmost ship", "the rightmost ship"),
        ("a huge wooden thing", "a huge wooden thing"),  # nobody can read it, and nothing in it turns
        ("the thing to the left", None),  # nobody can read it
        ("the ship at 3 o'clock", None),
        ("the northern ship", None),
        ("the thing in the second row", None),
    ],
)
def test_a_description_is_rewritten_or_left_out(text: str, mirrored: str | None) -> None:
    assert turn_description(text, 1, NAMES) == mirrored
    assert turn_description(text, 0, NAMES) == text


def test_free_text_stays_where_it_has_no_direction_and_is_not_said_otherwise() -> None:
    captions = (
        "Many bright houses in rows.", "A road turns left.", "Trees in the upper part.", "A bridge over the river.",
        "Ships east of the harbor.", "Two vertical roads.",
    )  # fmt: skip
    box = box_text((10, 20, 30, 60), (100, 100))
    turns = (
        Turn("Is there a ship?", "Yes."),
        Turn("Where is the ship?", "At the top."),
        Turn("What is on the right?", "A ship."),
        Turn("Where is the ship?", f"<p> the ship {box}.", "refer"),
    )
    entry = replace(ENTRIES[0], captions=captions, turns=turns)
    moved = turn_entry(entry, 1)
    assert moved.captions == captions[:1]
    assert moved.turns == (turns[0], replace(turns[3], answer="<p> the ship {<70><20><90><60>}."))
    assert turn_entry(entry, 2).turns[1].answer == "<p> the ship {<20><70><60><90>}."
    assert turn_entry(entry, 0) is entry


def test_a_hostile_box_stays_within_the_image() -> None:
    entry = replace(ENTRIES[0], turns=(Turn("Where?", "{<999><0><999><5>}", "refer"),))
    assert turn_entry(entry, 1).turns[0].answer == "{<0><0><0><5>}"


def test_an_object_that_nothing_can_be_said_of_any_more_has_no_description() -> None:
    one = Annotated("ship", (0, 0, 9, 9), None, "ship", ("the ship that points north", "the ship"))
    assert turn_entry(Entry("k", "k.png", (20, 20), (one,)), 3).objects[0].descriptions == ("the ship",)
