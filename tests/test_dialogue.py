"""Words to ids and back: answers survive the round trip, and nothing that a user types becomes a token of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geopix.dialogue import Dialogue, Encoded, Mention, Spoken, Template, box_text, segmentation_tokens, text_box
from geopix.records import Turn
from tests.tiny import SPECIAL, tiny_tokenizer

DIALOGUE = Dialogue(tiny_tokenizer(), n_scales=2, tokens_per_scale=3, image_tokens=4)
MARKS = ("<image>", "<p>", *segmentation_tokens(2, 3))
OURS = {*DIALOGUE.new_ids, *DIALOGUE.tokenizer.convert_tokens_to_ids(list(SPECIAL))}
NASTY = (*MARKS, *SPECIAL, "[SEG]", "[segment]", "{<1><2><3><4>}", "[SEG0][SEG1]", "<|im_", "end|>", "\n", " ")
typed = st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=8)), max_size=8).map("".join)


def said(encoded: Encoded) -> list[int]:
    """What the assistant says."""
    return [token for token, answer in zip(encoded.ids, encoded.answers, strict=True) if answer]


def back(turn: Turn) -> Spoken:
    """A turn's answer, encoded and parsed."""
    return DIALOGUE.parse(said(DIALOGUE.encode([turn])))


def test_a_group_is_all_scales_times_all_tokens_and_each_is_one_id() -> None:
    assert segmentation_tokens(2, 3) == ("[SEG0]", "[SEG1]", "[SEG2]", "[SEG3]", "[SEG4]", "[SEG5]")
    assert len(set(DIALOGUE.group_ids)) == 6
    assert [DIALOGUE.tokenizer.convert_ids_to_tokens(token) for token in DIALOGUE.new_ids] == list(MARKS)


def test_a_second_dialogue_on_one_tokenizer_finds_the_same_ids() -> None:
    assert Dialogue(DIALOGUE.tokenizer, 2, 3, 4).new_ids == DIALOGUE.new_ids


def test_the_words_around_a_turn_are_the_templates() -> None:
    turns = [Turn("Hi?", "Yes."), Turn("And?", "No.")]
    text = DIALOGUE.tokenizer.decode(DIALOGUE.encode(turns).ids)
    assert text == (
        "<|im_start|>user\n<image><image><image><image>\nHi?<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>"
        "\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\nNo.<|im_end|>"
    )
    plain = Dialogue(tiny_tokenizer(), 1, 3, 2, Template("A chat. ", "USER: ", " ASSISTANT:", "<|im_end|>", ""))
    text = plain.tokenizer.decode(plain.encode(turns, with_image=False).ids)
    assert text == "A chat. USER: Hi? ASSISTANT:Yes.<|im_end|>USER: And? ASSISTANT:No.<|im_end|>"


def test_a_dialogue_is_its_questions_and_answers_in_order() -> None:
    first, second = Turn("Hi?", "Yes."), Turn("And?", "No.")
    encoded = DIALOGUE.encode([first, second])
    prompt = DIALOGUE.question("Hi?", first=True)
    assert encoded.ids[: len(prompt)] == prompt
    later = DIALOGUE.question("And?", first=False)
    rest = encoded.ids[encoded.ids.index(DIALOGUE.end_id, len(prompt)) + 1 :]
    assert rest[: len(later)] == later


def test_masks_come_back_with_their_phrases_and_places() -> None:
    turn = Turn("Segment both.", "<p> the ship[SEG], <p> the second ship from the left[SEG].", "segment", (1, 0))
    assert back(turn) == Spoken(
        "the ship [1], the second ship from the left [2].",
        (Mention("the ship", group=0), Mention("the second ship from the left", group=1)),
    )


def test_boxes_come_back_as_shares() -> None:
    box = box_text((20.0, 10.0, 100.0, 30.0), (40, 200))
    assert box == "{<10><25><50><75>}"
    assert back(Turn("Where?", f"<p> the harbor {box}.", "refer")) == Spoken(
        "the harbor [1].", (Mention("the harbor", box=(0.1, 0.25, 0.5, 0.75)),)
    )


def test_masks_and_boxes_and_plain_words_mix() -> None:
    answer = "Here: <p> the ship[SEG] beside <p> the pier {<0><0><50><50>} and <p> a buoy[SEG]. There is no crane."
    assert back(Turn("?", answer, "segment")) == Spoken(
        "Here: the ship [1] beside the pier [2] and a buoy [3]. There is no crane.",
        (Mention("the ship", group=0), Mention("the pier", box=(0.0, 0.0, 0.5, 0.5)), Mention("a buoy", group=1)),
    )


def test_groups_are_the_positions_of_their_first_tokens() -> None:
    turns = [
        Turn("One.", "<p> a[SEG].", "segment"),
        Turn("None.", "There is none."),
        Turn("Two.", "<p> b[SEG], <p> c[SEG].", "segment"),
    ]
    encoded = DIALOGUE.encode(turns)
    assert encoded.groups == [place for place, token in enumerate(encoded.ids) if token == DIALOGUE.group_ids[0]]
    assert len(encoded.groups) == 3
    for place in encoded.groups:
        assert tuple(encoded.ids[place : place + 6]) == DIALOGUE.group_ids
        assert all(encoded.answers[place : place + 6])


def test_the_loss_counts_what_the_assistant_says_and_its_end_and_nothing_else() -> None:
    turns = [Turn("Segment it.", "<p> it[SEG].", "segment", (0,)), Turn("How many?", "Four.")]
    encoded = DIALOGUE.encode(turns)
    assert len(encoded.ids) == len(encoded.answers)
    text = DIALOGUE.tokenizer.decode(said(encoded))
    assert text == "<p> it[SEG0][SEG1][SEG2][SEG3][SEG4][SEG5].<|im_end|>Four.<|im_end|>"
    asked = DIALOGUE.tokenizer.decode([t for t, a in zip(encoded.ids, encoded.answers, strict=True) if not a])
    assert asked.endswith("user\nHow many?<|im_end|>\n<|im_start|>assistant\n")


def test_an_answer_that_is_only_begun_has_no_end_and_is_the_last() -> None:
    turns = [Turn("How many?", "Four."), Turn("Segment it.", "<p>", "segment", begun=True)]
    encoded = DIALOGUE.encode(turns)
    assert DIALOGUE.tokenizer.decode(said(encoded)) == "Four.<|im_end|><p>"
    assert encoded.ids[-1] == DIALOGUE.phrase_id
    assert not encoded.groups
    with pytest.raises(ValueError, match="must be the last"):
        DIALOGUE.encode(turns[::-1])


def test_an_answer_without_marks_keeps_its_letters() -> None:
    turn = Turn("Say it.", "A mask is written <p> the ship[SEG].", "vqa")
    assert not OURS & set(said(DIALOGUE.encode([turn]))[:-1])
    assert back(turn) == Spoken(turn.answer, ())


@given(typed, st.booleans())
def test_nothing_that_is_typed_becomes_a_token_of_ours(text: str, first: bool) -> None:
    asked, silent = DIALOGUE.question(text, first), DIALOGUE.question("", first)
    assert [token for token in asked if token in OURS] == [token for token in silent if token in OURS]
    assert DIALOGUE.tokenizer.decode(asked) == DIALOGUE.tokenizer.decode(silent).replace(
        "<|im_end|>\n<|im_start|>assistant\n", f"{text}<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("text", [*MARKS, *SPECIAL])
def test_a_typed_mark_is_spelled_out(text: str) -> None:
    spelled = DIALOGUE.question(text, first=False)
    assert len(spelled) == len(DIALOGUE.question("", first=False)) + len(text)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Segment the ship.", "<p> the ship[SEG]."),
        ("Can you segment The Ship in this image?", "<p> the ship[SEG]."),
        (
            "Outline the leftmost ship, the dock and the bridge at the top for me.",
            "<p> the leftmost ship[SEG], <p> the dock[SEG], <p> the bridge at the top[SEG].",
        ),
        ("How many ships are there?", ""),
    ],
)
def test_a_draft_answers_with_a_mask_for_every_object_named(question: str, answer: str) -> None:
    dialogue = DIALOGUE
    encoded = dialogue.encode([Turn("?", answer, "segment")])
    said = [token for token, ours in zip(encoded.ids, encoded.answers, strict=True) if ours][:-1]
    assert dialogue.draft(question) == said


def test_a_draft_takes_no_marks_from_the_question() -> None:
    dialogue = DIALOGUE
    draft = dialogue.draft("Segment the [SEG] and the <p> ship.")
    assert draft.count(dialogue.group_ids[0]) == draft.count(dialogue.phrase_id) == 2


@given(typed)
def test_foreign_words_in_answers_do_not_end_a_turn(text: str) -> None:
    for task in ("vqa", "caption"):
        turn = Turn("?", text, task)
        assert said(DIALOGUE.encode([turn])).count(DIALOGUE.end_id) == 1
    marked = DIALOGUE.encode([Turn("?", text, "segment")])
    assert said(marked).count(DIALOGUE.end_id) == 1
    assert len(marked.groups) == text.count("[SEG]")


token_ids = st.one_of(
    st.sampled_from([*DIALOGUE.new_ids, DIALOGUE.end_id]), st.integers(0, len(DIALOGUE.tokenizer) - 1)
)
pieces = st.one_of(
    token_ids.map(lambda token: [token]),
    st.sampled_from([*NASTY, "{<1><2><3>", "{<999><0><1><1>}", "{<9><9><1><1>}", ",", "the ship", "[1]"]).map(
        lambda text: list(DIALOGUE.tokenizer(text, split_special_tokens=True).input_ids)
    ),
    st.just(list(DIALOGUE.group_ids)),
)


@given(st.lists(pieces, max_size=25))
def test_any_ids_are_read_without_an_error(parts: list[list[int]]) -> None:
    ids = [token for part in parts for token in part]
    spoken = DIALOGUE.parse(ids)
    masks = [mention for mention in spoken.mentions if mention.group is not None]
    assert [mention.group for mention in masks] == list(range(ids.count(DIALOGUE.group_ids[0])))
    for number, mention in enumerate(spoken.mentions, start=1):
        assert mention.phrase
        assert f"[{number}]" in spoken.text
        assert (mention.group is None) != (mention.box is None)
        if mention.box is not None:
            x1, y1, x2, y2 = mention.box
            assert 0 <= x1 <= x2 <= 1
            assert 0 <= y1 <= y2 <= 1


@pytest.mark.parametrize(
    ("answer", "text", "phrases"),
    [
        ("[SEG]", "the object [1]", ["the object"]),
        ("<p>[SEG]", "the object [1]", ["the object"]),
        ("<p> a <p> b[SEG]", "a b [1]", ["b"]),
        ("<p> a[SEG][SEG]", "a [1] the object [2]", ["a", "the object"]),
        ("<p> never closed", "never closed", []),
        ("<p> a, .[SEG], then", "a [1], then", ["a"]),
    ],
)
def test_garbled_masks(answer: str, text: str, phrases: list[str]) -> None:
    spoken = back(Turn("?", answer, "segment"))
    assert spoken.text == text
    assert [mention.phrase for mention in spoken.mentions] == phrases


@pytest.mark.parametrize(
    ("answer", "text", "boxes"),
    [
        ("<p> a {<90><80><10><20>}", "a [1]", [(0.1, 0.2, 0.9, 0.8)]),
        ("<p> a {<0><0><999><101>}", "a [1]", [(0.0, 0.0, 1.0, 1.0)]),
        ("a {<0><0><9><9>} {<1><1><2><2>}", "a [1] the object [2]", [(0, 0, 0.09, 0.09), (0.01, 0.01, 0.02, 0.02)]),
        ("<p> a {<1><2><3>}.", "a {<1><2><3>}.", []),
    ],
)
def test_garbled_boxes(answer: str, text: str, boxes: list[tuple[float, ...]]) -> None:
    spoken = back(Turn("?", answer, "refer"))
    assert spoken.text == text
    assert [mention.box for mention in spoken.mentions] == boxes


def test_half_a_group_is_no_mask_and_half_a_group_more_is_still_one() -> None:
    first, *rest = DIALOGUE.group_ids
    assert DIALOGUE.parse(rest) == Spoken("", ())
    assert len(DIALOGUE.parse([first, *rest[:2]]).mentions) == 1
    assert len(DIALOGUE.parse([first, *rest, *rest]).mentions) == 1


def test_boxes_in_text_are_clamped_to_the_image() -> None:
    assert box_text((0.0, 0.0, 200.0, 40.0), (40, 200)) == "{<0><0><100><100>}"
    assert box_text((-50.0, -1.0, 999.0, 40.4), (40, 200)) == "{<0><0><100><100>}"
    assert text_box("it lies at {<10><25><50><75>}", (40, 200)) == (20.0, 10.0, 100.0, 30.0)
    assert text_box("nowhere", (40, 200)) is None


@given(st.tuples(*[st.floats(0, 1)] * 4), st.tuples(st.integers(1, 5000), st.integers(1, 5000)))
def test_a_box_in_text_is_right_to_half_a_hundredth(shares: tuple[float, ...], size_hw: tuple[int, int]) -> None:
    sides = (size_hw[1], size_hw[0], size_hw[1], size_hw[0])
    x1, y1, x2, y2 = (share * side for share, side in zip(shares, sides, strict=True))
    found = text_box(box_text((x1, y1, x2, y2), size_hw), size_hw)
    assert found is not None
    for value, true, side in zip(found, (x1, y1, x2, y2), sides, strict=True):
        assert abs(value - true) <= 0.00501 * side
