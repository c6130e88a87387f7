"""The conversation: what is said becomes masks and boxes, and no shortcut of decoding changes an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from geopix.assistant import MAX_QUESTION, Assistant, QuestionError, check_question
from geopix.classes import VHR10
from geopix.dialogue import Dialogue
from geopix.model.geopix import GeoPixModel
from geopix.model.mask_predictor import ClassQuery
from geopix.records import Answer, Image, Turn, mask_box
from tests.tiny_model import GROUP, tiny_geopix

ONE = "<p> the ship[SEG]."
TWO = "<p> the ship[SEG], <p> the bridge on the left[SEG]. There is no helicopter."
FOUR = "<p> the first ship[SEG], <p> the second ship[SEG], <p> the plane[SEG], <p> the large dam[SEG]."
BOX = "<p> the harbor {<10><20><50><100>}."
BOTH = "<p> the harbor {<10><20><50><100>} and <p> the ship[SEG]."
PLAIN = "The image shows two ships in the harbor."
SIZES = [(56, 56), (40, 160), (160, 40), (57, 91), (1, 1), (1, 300)]


class Script:
    """Stands in for the word logits: makes a model say chosen answers, one after the other, whatever it thinks."""

    def __init__(self, dialogue: Dialogue, *answers: str | list[int]) -> None:
        self.dialogue = dialogue
        self.say(*answers)

    def say(self, *answers: str | list[int]) -> None:
        self.answers = [self.ids(answer) if isinstance(answer, str) else answer for answer in answers]
        self.turn = self.step = 0

    def ids(self, answer: str) -> list[int]:
        """The tokens of an answer, the end included."""
        encoded = self.dialogue.encode([Turn("?", answer, "segment")])
        return [token for token, said in zip(encoded.ids, encoded.answers, strict=True) if said]

    def __call__(self, hidden: Tensor) -> Tensor:
        return torch.zeros(*hidden.shape[:-1], max(self.dialogue.new_ids) + 1)  # `next` and `choose` say the words

    def choose(self, logits: Tensor, places: Sequence[tuple[int, int]]) -> list[int]:
        """In a batch, question k says answer k."""
        assert len(logits) == len(places)
        return [(*self.answers[question], *[self.dialogue.end_id] * 100)[place] for question, place in places]

    def next(self, logits: Tensor) -> int:
        token = self.answers[self.turn][self.step]
        self.step += GROUP if token == self.dialogue.group_ids[0] else 1
        if token == self.dialogue.end_id:
            self.turn, self.step = self.turn + 1, 0
        return token


def picture(size_hw: tuple[int, int] = (56, 56), seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), dtype=np.uint8)


def scripted(*answers: str | list[int], **more: Any) -> tuple[Assistant, Script]:
    """An assistant that will give these answers, looking at a picture."""
    model, dialogue = tiny_geopix()
    script = Script(dialogue, *answers)
    model.language.words = script  # type: ignore[method-assign]
    guide = Assistant(model, dialogue, "tiny", **more)
    guide.manners.next = script.next  # type: ignore[method-assign]
    guide.manners.choose = script.choose  # type: ignore[method-assign]
    guide.set_image(picture())
    return guide, script


def natural(longest: int = 12) -> Assistant:
    """An assistant that says what an untrained model says."""
    guide = Assistant(*tiny_geopix(), name="tiny")
    guide.manners.max_answer = longest
    with torch.no_grad():  # so much that what it says depends on all that it has read
        for parameter in guide.model.language.causal.model.layers.parameters():
            parameter.mul_(15 if parameter.ndim == 2 else 1)
    guide.set_image(picture())
    return guide


def listen(model: GeoPixModel, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The segmentation embeddings that reach the mask predictor, one tensor a call."""
    heard: list[Tensor] = []
    predict = model.predict_masks

    def listening(seen: Any, embeddings: Tensor, *more: Any) -> Any:
        heard.append(embeddings)
        return predict(seen, embeddings, *more)

    monkeypatch.setattr(model, "predict_masks", listening)
    return heard


def same(one: Answer, other: Answer) -> None:
    """Two answers agree in all but the time they took."""
    assert one.text == other.text
    assert one.size_hw == other.size_hw
    assert len(one.instances) == len(other.instances)
    for ours, theirs in zip(one.instances, other.instances, strict=True):
        assert (ours.phrase, ours.class_name, ours.box_xyxy_px) == (
            theirs.phrase,
            theirs.class_name,
            theirs.box_xyxy_px,
        )
        assert ours.score == pytest.approx(theirs.score, abs=1e-4)
        assert ours.class_score == pytest.approx(theirs.class_score, abs=1e-4)
        if ours.mask is None or theirs.mask is None:
            assert ours.mask is theirs.mask
        else:
            assert np.array_equal(ours.mask, theirs.mask)


@pytest.mark.parametrize("size_hw", SIZES)
@pytest.mark.parametrize(("said", "count"), [(ONE, 1), (TWO, 2), (FOUR, 4)])
def test_every_mask_is_as_large_as_the_image(size_hw: tuple[int, int], said: str, count: int) -> None:
    guide, script = scripted()
    guide.set_image(picture(size_hw))
    script.say(said)
    answer = guide.ask("Segment them.")
    assert answer.size_hw == size_hw
    assert answer.model == "tiny"
    assert answer.elapsed_s > 0
    assert len(answer.instances) == count
    for number, instance in enumerate(answer.instances, start=1):
        assert instance.mask is not None
        assert instance.mask.shape == size_hw
        assert instance.mask.any()
        assert instance.box_xyxy_px == mask_box(instance.mask)
        assert instance.class_score is not None
        assert instance.score is not None
        assert 0 <= instance.class_score <= 1
        assert 0 <= instance.score <= 1
        assert f"{instance.phrase} [{number}]" in answer.text


def test_the_text_marks_what_it_points_at() -> None:
    guide, _ = scripted(TWO, PLAIN)
    answer = guide.ask("Segment the ship, the bridge and the helicopter.")
    assert answer.text == "the ship [1], the bridge on the left [2]. There is no helicopter."
    assert [instance.phrase for instance in answer.instances] == ["the ship", "the bridge on the left"]
    plain = guide.ask("What is there?")
    assert plain.text == PLAIN
    assert plain.instances == ()


def test_a_box_is_an_instance_without_a_mask() -> None:
    guide, script = scripted()
    guide.set_image(picture((40, 160)))
    script.say(BOTH, BOX)
    boxed, masked = guide.ask("Where is the harbor?").instances
    assert boxed.mask is None
    assert boxed.score is None
    assert boxed.class_score is None
    assert boxed.class_name == "harbor"
    assert boxed.box_xyxy_px == pytest.approx((16, 8, 80, 40))
    assert masked.mask is not None
    assert masked.class_name == "ship"
    again = guide.ask("And where is it?")
    assert again.text == "the harbor [1]."
    assert [instance.mask for instance in again.instances] == [None]


def test_a_named_class_wins_over_the_predicted_one(monkeypatch: pytest.MonkeyPatch) -> None:
    guide, _ = scripted("<p> the ship[SEG], <p> the thing[SEG].")
    predict = guide.model.predict_masks
    asked: list[Tensor] = []

    def sure(seen: Any, embeddings: Tensor, class_ids: Tensor, query: ClassQuery) -> Any:
        asked.append(class_ids)
        out = predict(seen, embeddings, class_ids, query)
        assert out.class_logits is not None
        out.class_logits[:] = 0
        out.class_logits[..., VHR10.index("tennis court")] = 5
        return out

    monkeypatch.setattr(guide.model, "predict_masks", sure)
    named, unnamed = guide.ask("Segment the ship and the thing.").instances
    assert asked[0].tolist() == [[VHR10.index("ship"), -1]]
    assert (named.class_name, unnamed.class_name) == ("ship", "tennis court")
    chances = torch.tensor([0.0] * 10 + [5.0]).softmax(dim=0)
    assert named.class_score == pytest.approx(float(chances[0]))
    assert unnamed.class_score == pytest.approx(float(chances[-1]))


@pytest.mark.parametrize(
    "said", [ONE, TWO, FOUR, BOX, BOTH, PLAIN, "", "Yes.", "<p>", "a <p> b <p> c", "x <p> , the ship .[SEG] y"]
)
def test_pieces_add_up_to_the_text(said: str) -> None:
    guide, script = scripted(said)
    *pieces, answer = guide.stream("Well?")
    assert isinstance(answer, Answer)
    assert "".join(str(piece) for piece in pieces).strip() == answer.text
    if said in (TWO, FOUR, PLAIN):
        assert len(pieces) > 3
    script.say(said)
    guide.reset()
    same(guide.ask("Well?"), answer)


def test_text_that_a_garbled_box_changes_is_told_anew() -> None:
    guide, _ = scripted("Here,  the ship {<1><2><30><40>}, and the dock {<1><2><30><40>}.")
    *pieces, answer = guide.stream("Where?")
    assert isinstance(answer, Answer)
    assert "".join(str(piece) for piece in pieces).endswith(answer.text)
    assert len(answer.instances) == 2


@pytest.mark.parametrize("at_once", [True, False])
def test_garbled_groups_are_survived(at_once: bool) -> None:
    guide, script = scripted(group_at_once=at_once)
    dialogue = guide.dialogue
    first, words = dialogue.group_ids[0], script.ids(" and ")[:-1]
    group = list(dialogue.group_ids)
    script.say(
        [*group, *group, *words, dialogue.phrase_id, dialogue.phrase_id, *group, dialogue.phrase_id, dialogue.end_id]
    )
    answer = guide.ask("Segment.")
    assert [instance.phrase for instance in answer.instances] == ["the object"] * 3
    assert answer.text.startswith("the object [1] the object [2] and the object [3]")
    assert first in group


def test_a_group_in_one_pass_equals_token_by_token(monkeypatch: pytest.MonkeyPatch) -> None:
    (fast, _), (slow, _) = scripted(FOUR, TWO), scripted(FOUR, TWO, group_at_once=False)
    heard = [listen(guide.model, monkeypatch) for guide in (fast, slow)]
    for _ in range(2):
        same(fast.ask("Segment them."), slow.ask("Segment them."))
    for ours, theirs in zip(*heard, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


RIGHT = "Segment the first ship, the second ship, the plane and the large dam."


@pytest.mark.parametrize("question", [RIGHT, "Segment the first ship, the harbor and the plane.", "All four."])
def test_a_draft_of_the_answer_changes_nothing_but_the_passes(question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (drafting, script), (plain, _) = scripted(FOUR, TWO), scripted(FOUR, TWO, look_ahead=False)
    heard = [listen(guide.model, monkeypatch) for guide in (drafting, plain)]
    passes: list[int] = []
    read = drafting._read

    def counted(*given: Any) -> Tensor:
        passes.append(len(given[0]))
        return read(*given)

    monkeypatch.setattr(drafting, "_read", counted)
    same(drafting.ask(question), plain.ask(question))
    same(drafting.ask("And now?"), plain.ask("And now?"))
    for ours, theirs in zip(*heard, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    assert drafting._cache.get_seq_length() == plain._cache.get_seq_length()
    if question == RIGHT:
        passes.clear()
        drafting.reset()
        script.say(FOUR)
        drafting.ask(RIGHT)
        assert len(passes) == 1


def test_a_cached_conversation_equals_reading_everything_again(monkeypatch: pytest.MonkeyPatch) -> None:
    guide, script = scripted(PLAIN, TWO, FOUR)
    heard = listen(guide.model, monkeypatch)
    questions = ["What is there?", "Segment the ship and the bridge.", "Now all four."]
    for question in questions:
        guide.ask(question)
    ids: list[int] = []
    groups: list[list[int]] = []
    for index, question in enumerate(questions):
        ids += guide.dialogue.question(question, first=index == 0)
        said = script.answers[index]
        groups.append([len(ids) + place for place, token in enumerate(said) if token == guide.dialogue.group_ids[0]])
        ids += said
    assert guide._seen is not None
    language = guide.model.language
    hidden = language(language.embed(torch.tensor([ids]), guide._seen.tokens))
    assert [len(places) for places in groups] == [0, 2, 4]
    for embeddings, places in zip(heard, groups[1:], strict=True):
        again = guide.model.segmentation_embeddings(hidden, torch.tensor([places]))
        torch.testing.assert_close(embeddings, again, rtol=0, atol=1e-4)


def test_what_was_said_before_matters_and_asking_is_repeatable() -> None:
    guide = natural()
    first, second = guide.ask("What is there?"), guide.ask("And what else?")
    guide.reset()
    same(guide.ask("What is there?"), first)
    same(guide.ask("And what else?"), second)
    guide.reset()
    assert guide.ask("And what else?").text != second.text


def test_a_batch_equals_single_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    says = [TWO, PLAIN, FOUR, BOTH, ONE]
    questions = [
        "Segment the ship, the bridge and, if there is one, the helicopter.",
        "What?",
        "All.",
        "Where is it?",
        "Go",
    ]
    images = [picture(size_hw, seed) for seed, size_hw in enumerate([(56, 56), (40, 160), (160, 40), (57, 91), (9, 9)])]
    guide, script = scripted(*says)
    heard = listen(guide.model, monkeypatch)
    together = dict(guide.ask_each(images, questions, at_once=3))
    assert sorted(together) == list(range(len(says)))
    several, heard[:] = list(heard), []
    for row, answer in together.items():
        script.say(says[row])
        guide.set_image(images[row])
        same(guide.ask(questions[row]), answer)
    for ours, theirs in zip(heard, several, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_a_batch_looks_once_at_an_image_that_comes_several_times(monkeypatch: pytest.MonkeyPatch) -> None:
    guide, script = scripted(TWO, PLAIN, ONE, TWO)
    looked: list[int] = []
    look = guide.model.see

    def see(pixels: Tensor) -> Any:
        looked.append(len(pixels))
        return look(pixels)

    monkeypatch.setattr(guide.model, "see", see)
    first, second = picture(seed=1), picture((40, 160), seed=2)
    images = [second, first, second, first]
    together = guide.ask_batch(images, ["A?", "B?", "C?", "D?"])
    assert looked == [2]
    for image, says, question, answer in zip(images, (TWO, PLAIN, ONE, TWO), "ABCD", together, strict=True):
        script.say(says)
        guide.set_image(image)
        same(guide.ask(f"{question}?"), answer)


def test_a_batch_says_what_single_questions_say_up_to_the_limit() -> None:
    guide = natural()
    questions = ["What is there in this picture?", "Why?", "Describe the image in one sentence, please."]
    images = [picture(seed=seed) for seed in range(3)]
    for image, question, answer in zip(images, questions, guide.ask_batch(images, questions), strict=True):
        guide.set_image(image)
        same(guide.ask(question), answer)
    assert guide.ask_batch([], []) == []


@pytest.mark.parametrize("longest", [3, 4, 30])
def test_a_group_may_stand_at_the_limit_of_an_answer(longest: int) -> None:
    guide, script = scripted()
    guide.manners.max_answer = longest
    endless = [*script.ids("abc")[:-1], *guide.dialogue.group_ids] * 20
    script.say(endless)
    [batched] = guide.ask_batch([picture()], ["Go on."])
    script.say(endless)
    alone = guide.ask("Go on.")
    same(alone, batched)
    assert len(alone.instances) == longest // 3


@pytest.mark.parametrize("limit", [1, 3])
def test_there_are_never_more_masks_than_allowed(limit: int) -> None:
    guide, script = scripted(FOUR)
    guide.manners.max_masks = limit
    assert len(guide.ask("All.").instances) == limit
    script.say(FOUR)
    [answer] = guide.ask_batch([picture()], ["All."])
    assert len(answer.instances) == limit


@pytest.mark.parametrize("written", [True, False])
def test_where_no_boxes_are_written_they_are_those_of_masks(written: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, dialogue = tiny_geopix()
    model.config.written_boxes = written
    opening = dialogue.box_ids[0]
    assert all("{" in dialogue.tokenizer.decode([token]) for token in dialogue.box_ids)

    def words(hidden: Tensor) -> Tensor:
        logits = torch.zeros(*hidden.shape[:-1], max(*dialogue.new_ids, dialogue.end_id) + 1)
        logits[..., opening], logits[..., dialogue.end_id] = 5.0, 4.0  # it would open a box, and another, and another
        return logits

    monkeypatch.setattr(model.language, "words", words)
    guide = Assistant(model, dialogue, "tiny")
    guide.manners.max_masks, guide.manners.max_answer = 2, 5
    guide.set_image(picture())
    alone, [batched] = guide.ask("Where is it?"), guide.ask_batch([picture()], ["Where is it?"])
    same(alone, batched)
    assert [one.mask for one in alone.instances] == ([] if written else [None, None])  # a box, as was meant
    assert all(one.box_xyxy_px[2] > one.box_xyxy_px[0] for one in alone.instances)
    assert ("{" in alone.text) is written


def test_the_conversation_stays_out_of_a_batch() -> None:
    (guide, script), (quiet, _) = scripted(PLAIN), scripted(PLAIN, ONE)
    guide.ask("What?")
    quiet.ask("What?")
    script.say(TWO, FOUR)
    guide.ask_batch([picture(seed=1), picture(seed=2)], ["This?", "That one?"])
    script.say(ONE)
    same(guide.ask("Segment it."), quiet.ask("Segment it."))


def abandon(pieces: Iterator[str | Answer]) -> None:
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]


def drop(pieces: Iterator[str | Answer]) -> None:
    for _ in pieces:
        break


HELD: list[Iterator[str | Answer]] = []


def hold(pieces: Iterator[str | Answer]) -> None:
    next(pieces)
    HELD.append(pieces)


def never_start(pieces: Iterator[str | Answer]) -> None:
    HELD.append(pieces)


@pytest.mark.parametrize("interrupt", [abandon, drop, hold, never_start])
@pytest.mark.parametrize("before", [(), (PLAIN,), (TWO, BOX)])
def test_a_turn_that_is_broken_off_leaves_no_trace(
    interrupt: Callable[[Iterator[str | Answer]], None], before: tuple[str, ...]
) -> None:
    (guide, script), (quiet, _) = scripted(*before), scripted(*before, FOUR)
    for _ in before:
        guide.ask("What?")
        quiet.ask("What?")
    script.say(FOUR)
    interrupt(guide.stream("Show me all of them."))
    script.say(FOUR)
    same(guide.ask("Segment them."), quiet.ask("Segment them."))
    for pieces in HELD:
        assert list(pieces) == []
    HELD.clear()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("before", [(), (TWO,)])
@pytest.mark.parametrize("layer", [0, 1])
def test_an_error_within_a_pass_leaves_no_trace(
    error: type[BaseException], before: tuple[str, ...], layer: int
) -> None:
    (guide, script), (quiet, _) = scripted(*before), scripted(*before, FOUR)
    for _ in before:
        guide.ask("What?")
        quiet.ask("What?")
    script.say(FOUR)
    passes = iter(range(100))

    def break_in(*_: Any) -> None:
        if next(passes) == 3:
            raise error

    hook = guide.model.language.causal.model.layers[layer].register_forward_pre_hook(break_in)
    with pytest.raises(error):
        guide.ask("Show me.")
    hook.remove()
    script.say(FOUR)
    same(guide.ask("Segment them."), quiet.ask("Segment them."))


def test_an_error_in_the_masks_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    (guide, script), (quiet, _) = scripted(PLAIN, TWO), scripted(PLAIN, TWO)
    guide.ask("What?")
    quiet.ask("What?")

    def broken(*_: Any) -> None:
        raise MemoryError("too little memory")

    with monkeypatch.context() as patch:
        patch.setattr(guide.model, "predict_masks", broken)
        with pytest.raises(MemoryError, match="too little"):
            guide.ask("Segment them.")
    script.say(TWO)
    same(guide.ask("Segment them."), quiet.ask("Segment them."))


def test_a_new_image_starts_anew() -> None:
    (guide, script), (quiet, other) = scripted(TWO), scripted()
    guide.ask("Segment them.")
    pieces = guide.stream("And?")
    script.say(FOUR)
    guide.set_image(picture((40, 160), seed=7))
    quiet.set_image(picture((40, 160), seed=7))
    other.say(FOUR)
    same(guide.ask("Segment them."), quiet.ask("Segment them."))
    assert list(pieces) == []


def test_an_image_that_can_not_be_seen_leaves_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    (guide, _), (quiet, _) = scripted(PLAIN, TWO), scripted(PLAIN, TWO)
    guide.ask("What?")
    quiet.ask("What?")

    def broken(*_: Any) -> None:
        raise MemoryError("too little memory")

    monkeypatch.setattr(guide.model, "see", broken)
    with pytest.raises(MemoryError, match="too little"):
        guide.set_image(picture((9, 9)))
    same(guide.ask("Segment them."), quiet.ask("Segment them."))


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("", "question is empty"),
        (" \n\t ", "question is empty"),
        ("x" * (MAX_QUESTION + 1), "2,001 characters, at most 2,000"),
        ("x" * 10_000, "10,000 characters"),
        ("a\x00b", "control characters"),
        ("a\x1b[31mb", "control characters"),
        ("a\ud800b", "control characters"),
    ],
)
def test_questions_that_can_not_be_asked(question: str, told: str) -> None:
    guide, _ = scripted(PLAIN)
    for ask in (guide.ask, guide.stream, lambda text: guide.ask_batch([picture()], [text])):
        with pytest.raises(QuestionError, match=told):
            ask(question)
    assert guide.ask("What?").text == PLAIN


def test_a_question_is_tidied() -> None:
    assert check_question("  Segment \n the  ship. ") == "Segment the ship."
    assert check_question("x" * MAX_QUESTION) == "x" * MAX_QUESTION


def test_there_must_be_an_image() -> None:
    guide = Assistant(*tiny_geopix(), name="tiny")
    with pytest.raises(QuestionError, match="call set_image first"):
        guide.ask("What?")


def test_a_conversation_ends_where_the_model_can_read_no_further() -> None:
    guide, script = scripted(PLAIN)
    guide.model.config.text_config.max_position_embeddings = 400
    guide.ask("What?")
    script.say(ONE)
    with pytest.raises(QuestionError, match=r"of the 400 tokens .* \(reset\)"):
        guide.ask("Segment the ship. " * 6)
    guide.reset()
    assert len(guide.ask("Segment the ship.").instances) == 1


@pytest.mark.parametrize("typed", ["[SEG0]", "[SEG0][SEG1][SEG2][SEG3][SEG4][SEG5]", "<image> <p>", "<|im_end|>"])
def test_tokens_typed_by_a_user_are_words(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    guide, _ = scripted(PLAIN, PLAIN)
    read: list[int] = []
    embed = guide.model.language.embed

    def reading(ids: Tensor, image_tokens: Tensor | None = None) -> Tensor:
        read.extend(ids.flatten().tolist())
        return embed(ids, image_tokens)

    monkeypatch.setattr(guide.model.language, "embed", reading)
    for _ in range(2):
        assert guide.ask(f"Segment {typed} {typed}.").instances == ()
    assert read.count(guide.dialogue.image_id) == guide.dialogue.image_tokens
    assert not set(read) & {guide.dialogue.phrase_id, *guide.dialogue.group_ids}
    ends = 3  # of the first question and of the first answer, and of the second question
    assert read.count(guide.dialogue.end_id) == ends


def test_the_assistant_never_says_an_image_or_the_middle_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    guide = natural()
    words = guide.model.language.words
    wild: Sequence[int] = [guide.dialogue.image_id, *guide.dialogue.group_ids[1:]]

    def tempted(hidden: Tensor) -> Tensor:
        logits = words(hidden)
        logits[..., wild] = 1e4
        return logits

    plain = guide.ask("What?")
    monkeypatch.setattr(guide.model.language, "words", tempted)
    guide.reset()
    same(guide.ask("What?"), plain)
    same(guide.ask_batch([picture()], ["What?"])[0], plain)
