"""Questions and answers: every mask has its target, every number is right, and nothing present is called absent."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geopix.classes import ABSENT_CANDIDATES, VHR10, canonical, plural, wordings
from geopix.data import mixture
from geopix.data.askable import able, askable
from geopix.data.describe import describe
from geopix.dialogue import GROUP, PHRASE, box_text
from geopix.records import Turn
from tests.tiny import boxed

SIZE = (600, 800)
NUMBERS = ("no", "one", "two", "three", "four", "five")
NOUNS = {word: name for name in (*VHR10, *ABSENT_CANDIDATES) for word in wordings(name)}
"""Every noun that may be said, and the class that it means."""
NOUN = re.compile("|".join(sorted((word for noun in NOUNS for word in (plural(noun), noun)), key=len, reverse=True)))


def facts(*objects: tuple[str, tuple[int, int, int, int]], **more: Any) -> dict[str, Any]:
    """A sample as the feature store keeps it: once through JSON."""
    instances = [boxed(name, box) for name, box in objects]
    phrases = describe(instances, SIZE)
    told = {
        "key": "k",
        "size_hw": SIZE,
        "instances": [
            {"class": one.class_name, "box": one.box_xyxy_px, "phrases": words}
            for one, words in zip(instances, phrases, strict=True)
        ],
        "captions": [],
        "turns": [],
        "complete": True,
    }
    made: dict[str, Any] = json.loads(json.dumps(told | more))
    return made


MIXED = facts(
    ("airplane", (10, 10, 60, 60)),
    ("airplane", (300, 30, 380, 80)),
    ("airplane", (600, 20, 640, 60)),
    ("storage tank", (100, 400, 140, 440)),
    ("storage tank", (102, 402, 142, 442)),  # no phrase tells these two apart
    ("vehicle", (500, 500, 520, 510)),
)
TWINS = facts(("ship", (100, 100, 140, 140)), ("ship", (102, 100, 142, 140)))
PARTLY = facts(("ship", (100, 100, 140, 140)), ("ship", (500, 300, 560, 340)), complete=False)
TOLD = facts(captions=["A field.", "Some grass."], turns=[["What is it?", "farmland"]], complete=False)
LABELLED = facts(captions=["A pier."], complete=False, there=["ship"], missing=["airplane", "windmill"])
SCENES = {"there": 0.3, "absent": 0.2, "nowhere": 0.1, "presence": 0.1}
seeds = st.integers(0, 2**32)
scenes = st.sampled_from([MIXED, TWINS, PARTLY])


def turns(of: dict[str, Any], seed: int, number: int = 12) -> list[Turn]:
    return mixture.ask(of, number, np.random.default_rng(seed))


def present(of: dict[str, Any]) -> set[str]:
    return {instance["class"] for instance in of["instances"]}


def marked(turn: Turn) -> list[str]:
    """The phrases of an answer's masks, in order."""
    return re.findall(r"<p> ([^<\[]+)\[SEG\]", turn.answer)


def noun_in(text: str) -> str:
    """The class of the longest noun in a text."""
    said = [word for word in NOUNS if re.search(rf"\b({re.escape(word)}|{re.escape(plural(word))})\b", text.lower())]
    return NOUNS[max(said, key=len)]


@given(scenes, seeds)
def test_every_mask_has_one_target_and_every_target_one_mask(of: dict[str, Any], seed: int) -> None:
    for turn in turns(of, seed):
        assert turn.answer.count("[SEG]") == len(turn.targets) == len(marked(turn))
        assert len(set(turn.targets)) == len(turn.targets)
        assert all(0 <= target < len(of["instances"]) for target in turn.targets)
        assert not turn.targets or turn.task == "segment"
        assert turn.question
        assert turn.answer[0].isupper() or turn.answer.startswith("<p> ")
        assert "{}" not in turn.question + turn.answer


@given(seeds)
def test_the_phrase_of_a_mask_is_one_that_means_its_target(seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn = mixture.segment(MIXED, rng)
    assert 1 <= len(turn.targets) <= 4
    for phrase, target in zip(marked(turn), turn.targets, strict=True):
        instance = MIXED["instances"][target]
        assert phrase in {p.format(noun) for p in instance["phrases"] for noun in wordings(instance["class"])}
        assert phrase in turn.question


@given(scenes, seeds)
def test_all_of_a_class_are_all_of_it_in_reading_order(of: dict[str, Any], seed: int) -> None:
    turn = mixture.all_of_a_class(of, np.random.default_rng(seed))
    name = noun_in(turn.question)
    members = [index for index, instance in enumerate(of["instances"]) if instance["class"] == name]
    assert sorted(turn.targets) == members
    lefts = [of["instances"][target]["box"][0] for target in turn.targets]
    assert lefts == sorted(lefts)
    if len(members) > 1:
        assert [phrase.split()[1] for phrase in marked(turn)] == ["first", "second", "third"][: len(members)]
    told = re.search(r"\b(two|three|four|both)\b", turn.question)
    assert told is None or {"both": 2, "two": 2, "three": 3}[told[1]] == len(members)


def claims(turn: Turn) -> list[str]:
    """The nouns that an answer calls absent."""
    return re.findall(r"There is no ([a-z ]+) in the image\.", turn.answer)


@given(scenes, seeds)
def test_what_is_called_absent_is_absent(of: dict[str, Any], seed: int) -> None:
    for turn in turns(of, seed):
        for noun in claims(turn):
            assert NOUNS[noun] not in present(of)
            assert of["complete"]
            assert re.search(rf"\b({noun}|{plural(noun)})\b", turn.question)
        assert turn.answer.count("There is no") == len(claims(turn))


@given(seeds)
def test_nothing_is_called_absent_where_not_everything_is_known(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for asker in (mixture.absent, mixture.segment, mixture.presence):
        turn = asker(PARTLY, rng)
        assert not claims(turn)
        assert turn.answer != "No."


def test_absence_is_asked_of_known_and_of_foreign_classes_and_beside_present_ones() -> None:
    rng = np.random.default_rng(0)
    alone = [claims(mixture.absent(MIXED, rng))[0] for _ in range(300)]
    assert {NOUNS[noun] in VHR10 for noun in alone} == {True, False}
    assert all(NOUNS[noun] not in present(MIXED) for noun in alone)
    beside = [turn for turn in (mixture.segment(MIXED, rng) for _ in range(300)) if claims(turn)]
    assert 5 < len(beside) < 60
    assert all(turn.targets for turn in beside)


def test_an_image_with_every_known_class_lacks_only_foreign_ones() -> None:
    full = facts(*((name, (10 + 50 * i, 10, 40 + 50 * i, 40)) for i, name in enumerate(VHR10[:-1])))
    rng = np.random.default_rng(1)
    found = {NOUNS[claims(mixture.absent(full, rng))[0]] for _ in range(100)}
    assert found <= {VHR10[-1], *ABSENT_CANDIDATES}


@given(scenes, seeds)
def test_presence_and_count_are_right(of: dict[str, Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    asked = mixture.presence(of, rng)
    assert asked.answer == ("Yes." if noun_in(asked.question) in present(of) else "No.")
    assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", asked.question)
    counted = mixture.count(of, rng)
    number = Counter(instance["class"] for instance in of["instances"])[noun_in(counted.question)]
    assert counted.answer.lower() == f"{NUMBERS[number]}."


@given(scenes, seeds)
def test_a_referred_box_is_its_objects(of: dict[str, Any], seed: int) -> None:
    turn = mixture.refer(of, np.random.default_rng(seed))
    assert turn.targets == ()
    if turn.task == "refer":
        phrase, box = re.fullmatch(r"<p> (.*) (\{.*\})\.", turn.answer).groups()  # type: ignore[union-attr]
        able = [
            instance
            for instance in of["instances"]
            if phrase in {p.format(noun) for p in instance["phrases"] for noun in wordings(instance["class"])}
        ]
        assert [box_text(tuple(instance["box"]), SIZE) for instance in able] == [box]
    else:
        assert of is TWINS


def test_a_caption_made_here_counts_what_is_there() -> None:
    turn = mixture.caption(MIXED, np.random.default_rng(0))
    assert turn.answer == "The image shows three airplanes, two storage tanks and one vehicle."
    assert turn.task == "caption"


def test_an_image_without_objects_is_asked_what_came_with_it() -> None:
    asked = turns(TOLD, 0, 200)
    assert {turn.task for turn in asked} == {"caption", "vqa"}
    assert {turn.answer for turn in asked} == {"A field.", "Some grass.", "farmland"}
    assert all(turn.targets == () for turn in asked)


def test_the_mixture_keeps_its_shares() -> None:
    asked = turns(MIXED, 0, 3000)
    share = {task: count / len(asked) for task, count in Counter(turn.task for turn in asked).items()}
    assert share["segment"] == pytest.approx(0.79, abs=0.03)
    assert share["refer"] == pytest.approx(0.08, abs=0.02)
    assert share["vqa"] == pytest.approx(0.11, abs=0.02)
    assert sum(mixture.SHARES.values()) == pytest.approx(1)


@given(st.sampled_from([MIXED, TWINS, PARTLY, TOLD]), seeds)
def test_the_same_seed_asks_the_same(of: dict[str, Any], seed: int) -> None:
    assert turns(of, seed) == turns(of, seed)


def test_wordings_vary() -> None:
    asked = turns(MIXED, 7, 300)
    assert len({turn.question for turn in asked}) > 200
    assert {canonical(noun) for turn in asked for noun in claims(turn)} != set()


def known(told: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Facts as a set tells them."""
    return {**told, "counted": told["complete"], "classes": ["airplane", "storage tank", "vehicle", "ship"], **more}


def bare(told: dict[str, Any]) -> dict[str, Any]:
    """The same with boxes only."""
    return {**told, "instances": [{**one, "masked": False} for one in told["instances"]]}


def kinds(told: dict[str, Any]) -> set[str]:
    return {kind for kind in mixture.KINDS if able(kind, told)}


def test_what_nobody_knows_is_not_asked() -> None:
    everything = set(mixture.KINDS) - {"vqa", "there"}
    assert kinds(known(MIXED)) == everything
    assert kinds(known(MIXED, turns=[["What?", "That."]])) == everything | {"vqa"}
    assert kinds(known(bare(MIXED))) == everything - {"segment", "all", "mixed"}
    assert kinds(known(MIXED, complete=False, counted=False)) == {"segment", "refer", "presence"}
    assert kinds(known(bare(MIXED), complete=False, counted=False)) == {"refer", "presence"}
    assert kinds(known(facts(("unknown", (5, 5, 9, 9))), complete=False, counted=False)) == {"segment", "refer"}
    assert kinds(known(TOLD)) == {"caption", "vqa"}
    assert kinds(known(facts())) == {"absent", "nowhere"}
    assert kinds(LABELLED) == {"caption", "there", "absent", "nowhere", "presence"}
    assert "absent" not in kinds(known(MIXED, classes=["airplane", "vehicle"]))  # nobody looked for anything else
    assert not askable(known(facts(complete=False)))
    silent = [{"class": "unknown", "box": [1, 1, 2, 2], "phrases": [], "masked": False}]
    with pytest.raises(ValueError, match="k: nothing can be asked"):
        turns(known(facts(complete=False), instances=silent), 0, 1)


@given(seeds)
def test_boxes_are_never_answered_with_masks(seed: int) -> None:
    asked = turns(known(bare(MIXED)), seed, 6)
    assert all(not turn.targets and GROUP not in turn.answer for turn in asked)


@given(seeds)
def test_only_what_somebody_looked_for_is_absent(seed: int) -> None:
    told = known(MIXED)
    for turn in (mixture.absent(told, np.random.default_rng(seed)), *turns(told, seed, 4)):
        found = re.findall(r"There is no (.+?) in the image", turn.answer)
        assert all(NOUNS[noun] == "ship" for noun in found)
    [empty] = turns(known(facts()), seed, 1)
    assert empty.answer.startswith("There is no ")


@given(seeds)
def test_several_classes_at_once_are_all_answered(seed: int) -> None:
    turn = mixture.all_of_some_classes(MIXED, np.random.default_rng(seed))
    classes = [MIXED["instances"][index]["class"] for index in turn.targets]
    assert len(set(classes)) in (2, 3)
    for name in set(classes):
        assert classes.count(name) == sum(one["class"] == name for one in MIXED["instances"])
        assert any(noun in turn.question for word in wordings(name) for noun in (word, plural(word)))
    assert turn.answer.count(GROUP) == len(turn.targets) == len(set(turn.targets))


def test_a_crowd_is_counted_in_digits_and_not_counted_off() -> None:
    crowd = facts(*[("ship", (20 * k, 5, 20 * k + 9, 40)) for k in range(30)])
    assert not able("all", crowd)
    assert mixture.count(crowd, np.random.default_rng(0)).answer == "30."
    assert mixture.caption(crowd, np.random.default_rng(0)).answer == "The image shows 30 ships."


def test_a_question_that_came_with_the_image_keeps_its_task() -> None:
    told = known(TOLD, turns=[["Where is it?", "<p> it {<1><2><3><4>}.", "refer"]])
    assert mixture.vqa(told, np.random.default_rng(0)) == Turn("Where is it?", "<p> it {<1><2><3><4>}.", "refer")


@given(seeds)
def test_labels_of_the_whole_image_say_what_is_there_and_what_is_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for turn in mixture.ask(LABELLED, 12, rng, SCENES):
        if turn.begun:
            assert turn.answer == PHRASE
            assert turn.task in ("segment", "refer")
            assert NOUNS[noun_in(turn.question)] == "ship"
        elif turn.task == "vqa":
            assert turn.answer == ("Yes." if NOUNS[noun_in(turn.question)] == "ship" else "No.")
        else:
            assert turn.answer == "A pier." or {NOUNS[noun] for noun in claims(turn)} <= {"airplane", "windmill"}
        assert turn.targets == ()


def test_present_and_absent_are_asked_in_the_same_words() -> None:
    rng = np.random.default_rng(0)
    shapes: dict[bool, set[str]] = {True: set(), False: set()}
    for _ in range(18_000):
        asker = (mixture.there, mixture.absent, mixture.nowhere)[int(rng.integers(3))]
        turn = asker(LABELLED, rng)
        noun = NOUN.search(turn.question)
        assert noun is not None
        shapes[turn.begun].add(turn.question.replace(noun[0], "X"))
    assert shapes[True] == shapes[False]
    assert len(shapes[True]) > 80


def test_labels_are_asked_about_as_often_as_the_stage_says() -> None:
    asked = mixture.ask(LABELLED, 3000, np.random.default_rng(0), SCENES)
    assert sum(turn.begun for turn in asked) / 3000 == pytest.approx(0.3, abs=0.03)
    assert sum(turn.task == "caption" for turn in asked) / 3000 == pytest.approx(0.3, abs=0.03)
    assert not any(turn.begun for turn in mixture.ask(LABELLED, 300, np.random.default_rng(0)))
