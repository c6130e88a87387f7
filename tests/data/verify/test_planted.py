"""The describer is right, and errors planted in what it says are caught: a second reader says what is true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from geopix.data.describe.sentences import sentences
from geopix.data.entries import Entry
from geopix.data.verify.check import check
from geopix.data.verify.scene import Scene
from geopix.data.verify.turning import turned
from geopix.records import Instance
from tests.data.verify.layouts import layout
from tests.data.verify.oracle import Objects, meant

SEEDS = range(60)


def described(seed: int) -> tuple[Entry, list[tuple[str, ...]]]:
    entry = layout(seed)
    instances = [Instance(one.class_name, one.class_name, one.box_xyxy_px) for one in entry.objects]
    return entry, sentences(instances, entry.size_hw, entry.key)


def objects(entry: Entry) -> Objects:
    return [(one.class_name, one.box_xyxy_px) for one in entry.objects]


def test_everything_that_is_said_is_unique_for_the_checker_and_for_the_second_reader() -> None:
    said = silent = 0
    for seed in SEEDS:
        entry, texts = described(seed)
        scene = Scene(entry)
        for index, mine in enumerate(texts):
            silent += not mine
            for text in mine:
                said += 1
                assert check(text, index, scene).outcome == "unique", (seed, text)
                assert meant(text, objects(entry), entry.size_hw) == {index}, (seed, text)
    assert said > 2000
    assert silent < 0.1 * sum(len(described(seed)[1]) for seed in SEEDS)


def swapped(entry: Entry, texts: list[tuple[str, ...]]) -> Iterator[tuple[str, int, Entry]]:
    """Descriptions that changed places within a class."""
    for index, one in enumerate(entry.objects):
        for other, two in enumerate(entry.objects):
            if index != other and one.class_name == two.class_name:
                yield from ((text, index, entry) for text in texts[other][:3])


def mirrored(entry: Entry, texts: list[tuple[str, ...]]) -> Iterator[tuple[str, int, Entry]]:
    """Descriptions of an image that was mirrored without them."""
    image = turn(entry, 0, True)
    yield from ((text, index, image) for index, mine in enumerate(texts) for text in mine[:3])


def shortened(entry: Entry, texts: list[tuple[str, ...]]) -> Iterator[tuple[str, int, Entry]]:
    """Descriptions that lack a word, each of them once."""
    for index, mine in enumerate(texts):
        for text in mine[:2]:
            words = text.split()
            for place in range(len(words)):
                yield " ".join(words[:place] + words[place + 1 :]), index, entry


@pytest.mark.parametrize(("plant", "at_least"), [(swapped, 1500), (mirrored, 300), (shortened, 150)])
def test_planted_errors_are_caught(plant: type[Iterator[tuple[str, int, Entry]]], at_least: int) -> None:
    tally: Counter[str] = Counter()
    for seed in SEEDS:
        scenes: dict[int, Scene] = {}
        for text, index, entry in plant(*described(seed)):  # type: ignore[call-arg]
            fits = meant(text, objects(entry), entry.size_hw)
            scene = scenes.setdefault(id(entry), Scene(entry))
            unique = check(text, index, scene).outcome == "unique"
            if fits is None:  # no sentence any more: neither true nor false
                tally["read although the second reader can't"] += unique
                tally["unread"] += 1
            elif fits == {index}:
                tally["true, and found so"] += unique
                tally["true"] += 1
            else:
                tally["missed"] += unique
                tally["wrong"] += 1
    assert tally["wrong"] > at_least
    assert tally["missed"] <= 0.05 * tally["wrong"], tally
    assert tally["true, and found so"] >= 0.9 * tally["true"], tally  # nor is everything refused
    assert tally["read although the second reader can't"] <= 0.01 * tally["unread"], tally


def turn(entry: Entry, quarter_turns: int, mirror: bool) -> Entry:
    """An image's boxes turned as `geopix.data.construct.turn` turns pixels."""
    (height, width), boxes = entry.size_hw, [one.box_xyxy_px for one in entry.objects]
    for _ in range(quarter_turns):
        boxes = [(y1, width - x2, y2, width - x1) for x1, y1, x2, y2 in boxes]
        height, width = width, height
    if mirror:
        boxes = [(width - x2, y1, width - x1, y2) for x1, y1, x2, y2 in boxes]
    moved = tuple(replace(one, box_xyxy_px=box) for one, box in zip(entry.objects, boxes, strict=True))
    return replace(entry, size_hw=(height, width), objects=moved)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("quarter_turns", range(4))
def test_words_turned_with_their_image_stay_true(quarter_turns: int, mirror: bool) -> None:
    for seed in SEEDS[:30]:
        entry, texts = described(seed)
        image = turn(entry, quarter_turns, mirror)
        scene = Scene(image)
        for index, mine in enumerate(texts):
            for text in mine:
                said = turned(text, quarter_turns, mirror)
                assert check(said, index, scene).outcome == "unique", (seed, text, said)
                assert meant(said, objects(image), image.size_hw) == {index}, (seed, text, said)
