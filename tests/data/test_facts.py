"""A set's entry as facts: descriptions become phrases, and geometry speaks only where everything is annotated."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from geopix.data.describe import called
from geopix.data.facts import as_phrase, facts_of_entry, in_a_question
from geopix.data.mixture import facts_of
from geopix.records import Turn
from tests.tiny_set import ENTRIES, TALL, TWO, entry_of


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("The ship in the upper left corner.", "the ship in the upper left corner"),
        ("A220 on the left", "A220 on the left"),
        ("A ship", "a ship"),
        ("  the ship {<1>} ", "the ship {{<1>}}"),
        ("The", "The"),
        ("", ""),
    ],
)
def test_a_description_fits_into_a_question(text: str, phrase: str) -> None:
    assert as_phrase(text) == phrase


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("The  ship. ", "the ship"),
        ("A ship", "a ship"),
        ("USS ship", "USS ship"),
        ("Small ship", "small ship"),  # training leaves this capital
        ("A220 on the left", "A220 on the left"),
        ("X", "x"),
        ("the ship {<1>}", "the ship {<1>}"),
    ],
)
def test_a_description_fits_into_a_question_of_a_table(text: str, asked: str) -> None:
    assert in_a_question(text) == asked


def test_an_entry_tells_what_its_sample_does_and_more() -> None:
    told = facts_of_entry(entry_of(TALL), ["ship", "harbor"])
    assert json.loads(json.dumps(told)) == told
    expected = json.loads(json.dumps(facts_of(TALL)))
    assert {**told, **expected} == {**told, "turns": [], "captions": []} | {"instances": expected["instances"]}
    assert told["instances"] == expected["instances"]
    assert (told["counted"], told["classes"]) == (True, ["ship", "harbor"])


def test_descriptions_come_before_geometry() -> None:
    first, second = facts_of_entry(ENTRIES[2])["instances"]
    assert second["phrases"] == ["the ship above the harbor"]
    assert first["phrases"] == called(TALL.instances, TALL.size_hw)[0]
    partly = replace(ENTRIES[2], complete=False)  # nobody knows whether there is another harbor
    assert [one["phrases"] for one in facts_of_entry(partly)["instances"]] == [[], ["the ship above the harbor"]]
    assert not facts_of_entry(partly)["counted"]


def test_masks_that_nobody_could_draw_are_not_promised() -> None:
    turns = (Turn("Where?", "<p> it[SEG].", "segment"), Turn("What?", "A ship."))
    told = facts_of_entry(entry_of(TWO, turns=turns))
    assert told["turns"] == [["What?", "A ship.", "vqa"]]
    assert [one["masked"] for one in told["instances"]] == [True, True]
    assert [one["masked"] for one in facts_of_entry(ENTRIES[3])["instances"]] == [False]
