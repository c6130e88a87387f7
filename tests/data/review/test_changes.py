"""Kinds of change, on rewritings whose kind is plain to see."""

from __future__ import annotations

import pytest

from geopix.data.review.changes import changes

OLD = "the second airplane from the left in the row near the upper edge"


@pytest.mark.parametrize(
    ("new", "kinds"),
    [
        ("the second airplane from the right in the row near the upper edge", {"position word"}),
        ("the third airplane from the left in the row near the upper edge", {"order"}),
        ("the 3rd airplane from the left in the row near the upper edge", {"order"}),
        ("the second ship from the left in the row near the upper edge", {"class word"}),
        ("the second plane from the left in the row near the upper edge", {"class word"}),
        ("the third ship from the left in the row near the lower edge", {"class word", "order", "position word"}),
        ("the second white airplane from the left in the row near the upper edge", {"other"}),
        ("The second airplane from the left, in the row near the upper edge.", {"other"}),
    ],
)
def test_a_rewriting_is_of_the_kind_that_its_words_say(new: str, kinds: set[str]) -> None:
    assert changes(OLD, new, ["airplane", "ship"]) == kinds


def test_words_that_changed_places_are_changed_words() -> None:
    assert changes("the ship left of the harbor", "the harbor left of the ship", ["ship", "harbor"]) == {"class word"}
    assert changes("the right ship", "the ship at the lower right", ["ship"]) == {"position word"}


def test_a_text_where_there_was_none_is_new() -> None:
    assert changes("", "the ship", ["ship"]) == {"new text"}
    assert changes(" - ", "the ship", ["ship"]) == {"new text"}


def test_a_word_of_a_class_is_no_position() -> None:
    assert changes("the line tower", "the tower", ["line tower"]) == {"class word"}
