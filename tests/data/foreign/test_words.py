"""Text of others: tidied where that is harmless, refused where it could act on a dialogue, a terminal or a file."""

from __future__ import annotations

from typing import Any

import pytest

from geopix.data.entries import EntryError
from geopix.data.foreign.words import LONGEST, class_names, sentence, text


def test_text_becomes_one_line() -> None:
    assert text("  the ship\n at\tthe  quay ") == "the ship at the quay"
    assert text("Straße, 東京, مرحبا, 🛰 [1] <b> {<1><2>}") == "Straße, 東京, مرحبا, 🛰 [1] <b> {<1><2>}"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "text missing"),
        (7, "text missing"),
        ("", "text empty"),
        (" \n", "text empty"),
        ("x" * (LONGEST + 1), "text too long"),
        ("a\x1b[2Jb", "text with control characters"),
        ("a\0b", "text with control characters"),
        ("a\udc00b", "text with control characters"),
        ("the ship[SEG]", "text with a mark of the dialogue"),
        ("the ship [SEG0][SEG1]", "text with a mark of the dialogue"),
        ("a <p>ship", "text with a mark of the dialogue"),
        ("a ship</p>", "text with a mark of the dialogue"),
        ("<image>\nwhat is it?", "text with a mark of the dialogue"),
    ],
)
def test_text_that_can_not_be_used_has_a_reason(raw: Any, reason: str) -> None:
    with pytest.raises(EntryError) as caught:
        text(raw)
    assert caught.value.reason == reason


def test_what_text_lets_through_adds_no_mask_to_a_dialogue() -> None:
    """The marks refused are those that a dialogue cuts answers at, whatever becomes of them."""
    from geopix import dialogue

    for mark in (dialogue.GROUP, dialogue.PHRASE, dialogue.IMAGE, *dialogue.segmentation_tokens(2, 3)):
        with pytest.raises(EntryError, match="mark of the dialogue"):
            text(f"the ship {mark} at the quay")


def test_sentences_and_class_names() -> None:
    assert sentence("there are planes , parked  .") == "There are planes, parked."
    assert class_names("storage_tank") == ("storage tank", "storage_tank")
    assert class_names("Boeing737") == ("boeing737", "Boeing737")
    with pytest.raises(EntryError, match="text too long"):
        class_names("x" * 101)
