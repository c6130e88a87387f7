"""Conversations of others: phrases with one box become objects, the rest turns in our form, and marks act nowhere."""

from __future__ import annotations

import re
from typing import Any

import pytest

from geopix.data.entries import Entry, EntryError
from geopix.data.foreign.found import Skipped
from geopix.data.foreign.talk import Talk, named_class
from geopix.dialogue import PHRASE
from geopix.records import Turn


def talk() -> Talk:
    return Talk("set/1.png", "1.png", (100, 200), "train")


def said(*pairs: tuple[Any, Any]) -> Entry:
    heard = talk()
    for question, answer in pairs:
        heard.pair(question, answer)
    (entry,) = heard.entry()
    assert isinstance(entry, Entry)
    return entry


def test_a_phrase_with_one_box_is_an_object() -> None:
    entry = said(("<image>\n[refer] where is <p>the small silver plane</p> ?", "{<10><20><30><40>}"))
    (plane,) = entry.objects
    assert (plane.class_name, plane.box_xyxy_px, plane.descriptions) == (
        "airplane",
        (20, 20, 60, 40),
        ("the small silver plane",),
    )
    assert entry.turns == ()
    assert not entry.complete


def test_one_box_keeps_every_phrase_and_learns_its_class_from_any() -> None:
    entry = said(
        ("[refer] <p>the white thing</p>", "{<10><20><30><40>}"),
        ("[refer] <p>the ship</p>", "{<10><20><30><40>|<0>}"),
        ("[refer] <p>the ship</p>", "{<10><20><30><40>}"),
    )
    (ship,) = entry.objects
    assert (ship.class_name, ship.descriptions) == ("ship", ("the white thing", "the ship"))


def test_a_phrase_with_several_boxes_means_no_single_object() -> None:
    entry = said(("[refer] where are <p>the ships</p>?", "{<0><0><10><10>}{<50><50><60><60>}"))
    assert [(one.class_name, one.descriptions) for one in entry.objects] == [("ship", ()), ("ship", ())]
    assert entry.turns == (
        Turn("where are the ships?", "<p> the ships {<0><0><10><10>}, <p> the ships {<50><50><60><60>}.", "refer"),
    )


def test_a_grounded_description_becomes_ours() -> None:
    entry = said(
        (
            "[grounding] describe the image in detail",
            "There is <p>a ship</p> {<10><20><30><40>|<90>} near <p>the quay</p>{<0><0><9><9>}{<5><5><9><9>} .",
        )
    )
    (turn,) = entry.turns
    assert turn == Turn(
        "describe the image in detail",
        # 40 x 20 px about (40, 30), turned by a right angle: 20 x 40 px, which is 15..25 and 10..50 of the grid.
        "There is <p> a ship {<15><10><25><50>} near <p> the quay {<0><0><9><9>}, <p> the quay {<5><5><9><9>}.",
        "refer",
    )
    assert entry.objects == ()


def test_questions_about_a_box_and_plain_ones_are_asked_in_words() -> None:
    entry = said(
        ("[identify] what is this {<10><20><30><40>|<0>}", "a ship"),
        ("[vqa] Is there <p>a ship</p>? A short answer to the question is", "Yes"),
        ("How many?", "Two."),
        ("How many?", "Two."),
        ("[caption] Describe the image.", "Two ships  at sea."),
    )
    assert entry.turns == (
        Turn("what is this {<10><20><30><40>}", "a ship"),
        Turn("Is there a ship?", "Yes"),
        Turn("How many?", "Two."),
    )
    assert entry.captions == ("Two ships at sea.",)


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("[refer] where is the ship?", "{<1><2><3><4>}", "question without a phrase"),
        ("[refer] <p>the ship</p>", "I can't say", "answer without a box"),
        ("[refer] <p>the ship</p>", "{<1><2><1><4>}", "box degenerate"),
        ("[refer] <p>the ship</p>", "{<1><2><154><4>}", "box out of the image"),
        ("[refer] <p>the ship[SEG]</p>", "{<1><2><3><4>}", "text with a mark of the dialogue"),
        ("[refer] <p>the ship<image></p>", "{<1><2><3><4>}", "text with a mark of the dialogue"),
        ("[grounding] describe", "<p>a ship[SEG0]</p> {<1><2><3><4>}", "text with a mark of the dialogue"),
        ("[grounding] describe", "[SEG] <p>a ship</p> {<1><2><3><4>}", "text with a mark of the dialogue"),
        ("[grounding] describe", "<p><p>a ship</p> {<1><2><3><4>}", "text with a mark of the dialogue"),
        ("[identify] what is {<1><2><981><4>}", "a ship", "box out of the image"),
        ("what?", "it [SEG]", "text with a mark of the dialogue"),
        ("what is <p>?", "it", "text with a mark of the dialogue"),
        ("<image><image>what?", "it", "text with a mark of the dialogue"),
        ("[caption] what?", "", "text empty"),
        (None, "it", "text missing"),
        ("what?", 7, "text missing"),
        ("<p>" * 4000, "it", "text too long"),
    ],
)
def test_what_can_not_be_used_has_a_reason(question: Any, answer: Any, reason: str) -> None:
    heard = talk()
    with pytest.raises(EntryError) as caught:
        heard.pair(question, answer)
    assert caught.value.reason == reason
    assert list(heard.entry()) == []


def test_marks_in_turns_are_ours_alone() -> None:
    entry = said(
        ("[grounding] go", "<p>a ship</p> {<1><2><3><4>} and </p>".replace(" and </p>", "")),
        ("[refer] <p>ships</p>", "{<1><2><3><4>} {<5><6><7><8>}"),
    )
    for turn in entry.turns:
        assert PHRASE not in turn.question
        assert len(re.findall("<p>", turn.answer)) == turn.answer.count("{")


def test_a_conversation_goes_on_after_what_can_not_be_used() -> None:
    heard = talk()
    conversation = [
        {"from": "human", "value": "<image>\nwhat?"},
        {"from": "gpt", "value": "[SEG]"},
        {"from": "human", "value": "how many?"},
        {"from": "gpt", "value": "two"},
    ]
    assert [one.reason for one in heard.hear(conversation)] == ["text with a mark of the dialogue"]
    assert list(heard.turns) == [Turn("how many?", "two")]
    for broken in (conversation[:3], conversation[1:3], "text", None):
        with pytest.raises(EntryError, match="conversation"):
            list(heard.hear(broken))
    assert isinstance(next(heard.hear([{"from": "human", "value": 1}, {"from": "gpt", "value": 2}])), Skipped)


def test_classes_are_named_by_phrases() -> None:
    assert named_class("the two small planes on the left of the ship") == "airplane"
    assert named_class("the odd thing") == "unknown"
