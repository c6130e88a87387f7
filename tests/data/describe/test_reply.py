"""Answers that nobody should believe."""

from __future__ import annotations

import json

import pytest

from geopix.data.describe.reply import LONGEST, LONGEST_REPLY, descriptions, refusal
from geopix.data.describe.task import UnusableError


def answer(*items: object) -> str:
    return json.dumps({"descriptions": list(items)})


def item(index: object, words: object = "the ship") -> dict[str, object]:
    return {"index": index, "arrangement": "isolated", "description": words}


def test_a_good_answer_is_read_in_any_order() -> None:
    assert descriptions(answer(item(4, "b"), item(0, "a")), [0, 4]) == {0: "a", 4: "b"}
    assert descriptions("```json\n" + answer(item(0)) + "\n```", [0]) == {0: "the ship"}
    assert descriptions(answer(item(0), item(7)), [0, 1], allowed=range(8)) == {0: "the ship"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (answer(item(0), item(1))[:-9], "cut off"),
        ("", "cut off"),
        ("[" * 100_000, "cut off"),
        ("x" * (LONGEST_REPLY + 1), "too long"),
        ("null", "form asked for"),
        ('{"descriptions": {}}', "form asked for"),
        ('{"descriptions": [3]}', "form asked for"),
        (answer(item("0"), item(1)), "form asked for"),
        (answer(item(True), item(0)), "form asked for"),
        (answer(item(0, ["the ship"]), item(1)), "form asked for"),
        (answer(item(0), item(0), item(1)), "twice"),
        (answer(item(0)), "nothing about 1"),
        (answer(item(0), item(1), item(2)), "not asked about 2"),
        (answer(item(7), item(8)), "nothing about 0, 1; not asked about 7, 8"),
        (answer(*(item(-k) for k in range(99))), "and more"),
        ('{"descriptions": [{"index": 1e999, "description": "x"}]}', "form asked for"),
    ],
)
def test_others_are_refused_with_the_reason(content: str, reason: str) -> None:
    with pytest.raises(UnusableError, match=reason):
        descriptions(content, [0, 1])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("the ship [SEG]", "marks"),
        ("the ship [SEG0][SEG1]", "marks"),
        ("<p>the ship</p>", "marks"),
        ("<image> the ship", "marks"),
        ("[segment] the ship", "marks"),
        ("the ship {<1><2><3><4>}", "marks"),
        ("the ship<|im_end|>", "marks"),
        ("the ship </s>", "marks"),
        ("the ship im_start", "marks"),
        ("the ship\x1b[2J", "control"),
        ("the ship\n", "control"),
        ("the \u202eship", "control"),
        ("the \ud800 ship", "control"),
        ("the ship\x00", "control"),
        ("   ", "empty"),
        ("the " + "very " * LONGEST + "ship", "longer"),
    ],
)
def test_words_that_are_more_than_words(words: str, reason: str) -> None:
    found = refusal(words)
    assert found is not None
    assert reason in found


def test_plain_words_pass() -> None:
    for words in ("the ship", "The second-from-the-left ship, near the harbor's edge.", "la Défense: the overpass"):
        assert refusal(words) is None
