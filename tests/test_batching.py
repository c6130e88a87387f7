"""Side by side: every dialogue reads and says what it would alone, an image is read once, places are filled again."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from geopix import batching
from geopix.assistant import QuestionError
from geopix.batching import Batch
from geopix.dialogue import Dialogue
from geopix.manners import Said, agree
from geopix.records import Image, Turn
from tests.test_assistant import BOTH, BOX, FOUR, ONE, PLAIN, TWO, listen, natural, picture, same, scripted
from tests.tiny import tiny_tokenizer

GROUP = [10, 11, 12]


def said_of(guess: list[int], choices: list[int], longest: int = 99) -> tuple[tuple[int, int], Said]:
    said = Said()
    states = torch.arange(len(choices))[:, None].float()
    told = agree(
        guess, states, said, GROUP, choices.__getitem__, lambda token, so_far: token == 0 or len(so_far.ids) >= longest
    )
    return told, said


def test_as_much_of_a_guess_as_the_model_agrees_with_is_said() -> None:
    assert said_of([], [7]) == ((0, 7), Said([], []))
    assert said_of([5, 6, 7], [5, 6, 8, 1])[0] == (2, 8)
    told, said = said_of([5, *GROUP, 6], [5, 10, -1, -1, 6, 0])
    assert told == (5, 0)
    assert said.ids == [5, *GROUP, 6]
    assert said.embeddings[0].flatten().tolist() == [1, 2, 3]
    assert said_of([*GROUP[:2], 9], [10, 11, 9, 9])[0] == (0, 10)  # a group is whole or is not said
    assert said_of([5, 5, 5], [5, 5, 5, 5], longest=2)[0] == (2, 5)
    assert said_of([5], [0, 5])[0] == (0, 0)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([ONE, TWO, FOUR, BOX, BOTH, PLAIN])), max_size=7),
    st.integers(1, 8),
)
@settings(max_examples=4, deadline=None)
def test_whoever_sits_beside_a_question_its_answer_is_the_same(drawn: list[tuple[int, str]], at_once: int) -> None:
    images = [picture(seed=seed) for seed in range(3)]
    guide, script = scripted()
    script.say(*(answer for _, answer in drawn))
    questions = [f"Question {'x' * (number % 3)}?" for number in range(len(drawn))]
    together = guide.ask_batch([images[which] for which, _ in drawn], questions, at_once)
    for (which, answer), question, ours in zip(drawn, questions, together, strict=True):
        script.say(answer)
        guide.set_image(images[which])
        same(guide.ask(question), ours)


def test_free_running_answers_and_embeddings_are_those_of_single_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    guide = natural(longest=20)
    first, second = picture(seed=0), picture(seed=1)
    images = [first, second, first, second, second, first]
    questions = [
        "What is there?",
        "Segment the ship and the bridge.",
        "Why?",
        "How many ships?",
        "Go on.",
        "Segment all.",
    ]
    heard = listen(guide.model, monkeypatch)
    together = dict(guide.ask_each(images, questions, at_once=4))
    several, heard[:] = list(heard), []
    for number, answer in together.items():
        guide.set_image(images[number])
        same(guide.ask(questions[number]), answer)
    for ours, theirs in zip(heard, several, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def test_an_image_is_read_once_and_places_are_filled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    guide, _ = scripted(*[TWO, PLAIN, ONE, PLAIN] * 4)
    read: Counter[int] = Counter()
    busiest = longest = 0
    embed, step = guide.model.language.embed, Batch._step

    def reading(ids: Tensor, image_tokens: Tensor | None = None) -> Tensor:
        read.update(ids.flatten().tolist())
        return embed(ids, image_tokens)

    def watched(batch: Any) -> Any:
        nonlocal busiest, longest
        busiest, longest = max(busiest, len(batch._speakers)), max(longest, len(batch._owners))
        assert len(batch._seen) <= 3  # images in work, not all that were given
        return step(batch)

    monkeypatch.setattr(guide.model.language, "embed", reading)
    monkeypatch.setattr(Batch, "_step", watched)
    images = [picture(seed=number) for number in range(4)]
    guide.ask_batch([images[number // 4] for number in range(16)], ["What is it?"] * 16, at_once=3)
    assert read[guide.dialogue.image_id] == 4 * guide.dialogue.image_tokens
    assert busiest == 3
    assert longest < 700  # of some 1,800 tokens in all: what nobody sees is let go


def test_many_speakers_do_not_guess_and_few_do(monkeypatch: pytest.MonkeyPatch) -> None:
    widths: list[tuple[int, int]] = []
    read = Batch._read

    def watched(batch: Any) -> Any:
        widths.append((len(batch._speakers), max(len(speaker.guess) for speaker in batch._speakers)))
        return read(batch)

    monkeypatch.setattr(Batch, "_read", watched)
    monkeypatch.setattr(batching, "_SPARE", 8)
    guide, _ = scripted(*[PLAIN] * 9, PLAIN + PLAIN)
    guide.ask_batch([picture()] * 10, ["What?"] * 10, at_once=10)
    assert all(guess == 0 for speakers, guess in widths if speakers > 8)
    assert max(guess for speakers, guess in widths if speakers == 1) > 0


def given_words(answer: str, question: str = "Segment them.") -> Turn:
    return Turn(question, answer, "segment")


def test_given_words_are_read_in_one_pass_and_draw_what_they_would_if_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [TWO, FOUR, BOTH, PLAIN, ONE]
    guide, _ = scripted(*said)
    images = [picture(seed=number // 3) for number in range(5)]
    free = guide.ask_batch(images, ["Segment them."] * 5)
    monkeypatch.setattr(guide.manners, "choose", lambda *_: pytest.fail("a given answer was chosen"))
    passes: list[int] = []
    read = Batch._read

    def reading(batch: Any) -> Any:
        passes.append(len(batch._speakers))
        return read(batch)

    monkeypatch.setattr(Batch, "_read", reading)
    told = dict(guide.ask_each(images, [given_words(answer) for answer in said], at_once=2))
    for number, answer in enumerate(free):
        same(answer, told[number])
    assert sum(passes) == 5


def test_given_words_change_no_answer_beside_them_and_share_its_image(monkeypatch: pytest.MonkeyPatch) -> None:
    guide = natural(longest=6)
    first, second = picture(seed=0), picture(seed=1)
    alone = guide.ask_batch([first, second], ["Segment the ship.", "Why?"])
    looked: list[int] = []
    look = guide._look

    def looking(squares: list[Image]) -> Any:
        looked.append(len(squares))
        return look(squares)

    monkeypatch.setattr(guide, "_look", looking)
    asked: list[str | Turn] = ["Segment the ship.", given_words(FOUR), "Why?", given_words(TWO)]
    beside = dict(guide.ask_each([first, first, second, second], asked))
    same(beside[0], alone[0])
    same(beside[2], alone[1])
    assert [len(beside[place].instances) for place in (1, 3)] == [4, 2]  # longer than the assistant itself may speak
    assert sum(looked) == 2


def test_given_words_of_a_model_that_marks_no_phrases() -> None:
    guide, _ = scripted()
    guide.dialogue = Dialogue(tiny_tokenizer(), 2, 3, guide.dialogue.image_tokens, marks_phrases=False)
    guide.model.language.image_id = guide.dialogue.image_id
    [(_, answer)] = guide.ask_each([picture()], [given_words(TWO)])
    assert [one.phrase for one in answer.instances] == ["the ship", "the bridge on the left"]
    with pytest.raises(QuestionError, match="empty"):
        list(guide.ask_each([picture()], [given_words(TWO, " ")]))


def test_answers_come_as_soon_as_they_are_there() -> None:
    guide, _ = scripted(FOUR, ONE, TWO)
    order = [number for number, _ in guide.ask_each([picture()] * 3, ["Segment them."] * 3)]
    assert order[0] == 1
    assert sorted(order) == [0, 1, 2]
    assert list(guide.ask_each([], [])) == []
    with pytest.raises(ValueError, match="at least one question"):
        guide.ask_batch([picture()], ["What?"], at_once=0)
    with pytest.raises(ValueError, match="argument 2 is"):
        guide.ask_batch([picture()], ["What?", "Why?"])
