"""Questions and answers about a sample, in varied wording and the paper's mixture of tasks (§III-C, §IV)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from geopix.classes import ABSENT_CANDIDATES, VHR10, plural, wordings
from geopix.data.describe import describe, reading_order
from geopix.dialogue import GROUP, PHRASE, box_text
from geopix.records import Instance, Sample, Turn

SHARES = {"segment": 0.44, "all": 0.2, "absent": 0.13, "refer": 0.09, "presence": 0.06, "count": 0.05, "caption": 0.03}
"""How often each kind of question is asked about an image with masks."""

_SEGMENT = (
    "Segment {}.", "segment {}", "Can you segment {}?", "Please segment {} in this image.", "Segment {} in the image.",
    "Show me {}.", "Outline {}.", "Give me the mask of {}.", "Highlight {}.", "Find {} and segment it.", "Mark {}.",
    "Could you segment {} for me?", "I need a mask for {}.", "Please output the segmentation mask of {}.",
    "Where is {}? Show the mask.", "[segment] Segment {}.", "[segment] Can you segment {}?", "Delineate {}.",
)  # fmt: skip
_REFER = (
    "Where is {}?", "Give the bounding box of {}.", "Locate {}.", "[refer] Where is {}?", "Draw a box around {}.",
    "What is the bounding box of {}?", "[refer] Give me the location of {}.",
)  # fmt: skip
_PRESENCE = ("Is there {} in the image?", "Can you see {}?", "Is there {} here?", "Does the image contain {}?")
_COUNT = ("How many {} are there?", "How many {} are in the image?", "Count the {}.", "How many {} can you see?")
_CAPTION = (
    "Describe the image.", "Describe this image in one sentence.", "What does the image show?", "Caption this image.",
    "[caption] Describe the image in detail.", "What can you see in this picture?",
)  # fmt: skip
_ALL = ("all {}", "all the {}", "every {}", "the {}", "each {}")
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")


def facts_of(sample: Sample) -> dict[str, Any]:
    """A sample without its pixels, JSON-ready: what questions are made from, and the feature store keeps."""
    phrases = describe(sample.instances, sample.size_hw)
    return {
        "key": sample.key,
        "size_hw": sample.size_hw,
        "instances": [
            {"class": instance.class_name, "box": [round(v, 1) for v in instance.box_xyxy_px], "phrases": words}
            for instance, words in zip(sample.instances, phrases, strict=True)
        ],
        "captions": sample.captions,
        "turns": [[turn.question, turn.answer] for turn in sample.turns],
        "complete": sample.complete,
    }


def ask(
    facts: dict[str, Any], count: int, rng: np.random.Generator, shares: Mapping[str, float] = SHARES
) -> list[Turn]:
    """Draw ``count`` questions about one image.

    Args:
        facts: What `facts_of` made of a sample.
        count: How many turns.
        rng: Where the wording comes from.
        shares: How often each kind is asked about an image with masks.
    """
    asked = []
    for _ in range(count):
        if facts["instances"]:
            kind = rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values()))
        else:
            kind = "caption" if facts["captions"] and (not facts["turns"] or rng.random() < 0.35) else "vqa"
        asked.append(_ASKERS[str(kind)](facts, rng))
    return asked


def segment(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """One to four referred objects, each by a phrase that means only it; at times one that is not there."""
    able = [index for index, instance in enumerate(facts["instances"]) if instance["phrases"]]
    if not able:
        return all_of_a_class(facts, rng)
    wanted = min(len(able), int(rng.choice([1, 2, 3, 4], p=[0.5, 0.28, 0.14, 0.08])))
    chosen = [int(index) for index in rng.choice(able, size=wanted, replace=False)]
    phrases = [_phrase(facts["instances"][index], rng) for index in chosen]
    question = _pick(_SEGMENT, rng).format(_join(phrases))
    answer = ", ".join(f"{PHRASE} {phrase}{GROUP}" for phrase in phrases) + "."
    if facts["complete"] and wanted < 3 and rng.random() < 0.12:
        noun = _noun(_absent(facts, rng), rng)
        question = _pick(_SEGMENT, rng).format(_join([*phrases, f"the {noun}"]))
        answer += f" There is no {noun} in the image."
    return Turn(question, answer, "segment", tuple(chosen))


def all_of_a_class(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """Every object of one class, counted off in reading order."""
    name, members = _some_class(facts, rng)
    noun = _noun(name, rng)
    instances = [Instance(noun, name, tuple(facts["instances"][index]["box"])) for index in members]
    order, phrases = reading_order(instances, tuple(facts["size_hw"]))
    if len(members) == 1:
        words = f"the {noun}" if rng.random() < 0.5 else f"all {plural(noun)}"
    elif rng.random() < 0.25:
        words = f"the {_NUMBERS[len(members)]} {plural(noun)}"
    elif len(members) == 2 and rng.random() < 0.3:
        words = f"both {plural(noun)}"
    else:
        pattern = _pick(_ALL, rng)
        words = pattern.format(noun if pattern.startswith(("every", "each")) else plural(noun))
    answer = ", ".join(f"{PHRASE} {phrase.format(noun)}{GROUP}" for phrase in phrases) + "."
    return Turn(_pick(_SEGMENT, rng).format(words), answer, "segment", tuple(members[position] for position in order))


def absent(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """Something that is not there."""
    if not facts["complete"]:
        return segment(facts, rng)
    noun = _noun(_absent(facts, rng), rng)
    words = ("the {0}", "all {1}", "the leftmost {0}", "the largest {0}", "the {0} on the right")
    question = _pick(_SEGMENT, rng).format(_pick(words, rng, first=0.6).format(noun, plural(noun)))
    return Turn(question, f"There is no {noun} in the image.", "segment")


def refer(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """A box for one referred object."""
    able = [instance for instance in facts["instances"] if instance["phrases"]]
    if not able:
        return count(facts, rng)
    instance = able[rng.integers(len(able))]
    phrase = _phrase(instance, rng)
    box = box_text(tuple(instance["box"]), tuple(facts["size_hw"]))
    return Turn(_pick(_REFER, rng).format(phrase), f"{PHRASE} {phrase} {box}.", "refer")


def presence(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """Whether a class is there, as often yes as no."""
    there = rng.random() < 0.5 or not facts["complete"]
    name = _some_class(facts, rng)[0] if there else _absent(facts, rng)
    noun = _noun(name, rng)
    article = "an" if noun[0] in "aeiou" else "a"
    return Turn(_pick(_PRESENCE, rng).format(f"{article} {noun}"), "Yes." if there else "No.", "vqa")


def count(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """How many of a class."""
    name, members = _some_class(facts, rng)
    return Turn(_pick(_COUNT, rng).format(plural(_noun(name, rng))), f"{_NUMBERS[len(members)].capitalize()}.", "vqa")


def caption(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """A sentence about the whole image: one that came with it, or what it holds."""
    if facts["captions"]:
        return Turn(_pick(_CAPTION, rng), facts["captions"][rng.integers(len(facts["captions"]))], "caption")
    groups = _by_class(facts)
    told = [
        f"{_NUMBERS[len(members)]} {name if len(members) == 1 else plural(name)}" for name, members in groups.items()
    ]
    return Turn(_pick(_CAPTION, rng), f"The image shows {_join(told)}.", "caption")


def vqa(facts: dict[str, Any], rng: np.random.Generator) -> Turn:
    """A question that came with the image."""
    question, answer = facts["turns"][rng.integers(len(facts["turns"]))]
    return Turn(question, answer, "vqa")


_ASKERS = {
    "segment": segment, "all": all_of_a_class, "absent": absent, "refer": refer, "presence": presence,
    "count": count, "caption": caption, "vqa": vqa,
}  # fmt: skip


def _by_class(facts: dict[str, Any]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for index, instance in enumerate(facts["instances"]):
        groups[instance["class"]].append(index)
    return groups


def _some_class(facts: dict[str, Any], rng: np.random.Generator) -> tuple[str, list[int]]:
    groups = list(_by_class(facts).items())
    return groups[rng.integers(len(groups))]


def _absent(facts: dict[str, Any], rng: np.random.Generator) -> str:
    """A class that is not in the image: seven times in ten one that the data set knows well."""
    candidates = [name for name in VHR10 if name not in _by_class(facts)]
    if rng.random() < 0.3:
        candidates = list(ABSENT_CANDIDATES)
    return _pick(candidates, rng)


def _phrase(instance: dict[str, Any], rng: np.random.Generator) -> str:
    return _pick(instance["phrases"], rng).format(_noun(instance["class"], rng))


def _noun(name: str, rng: np.random.Generator) -> str:
    return _pick(wordings(name), rng, first=0.75)


def _pick(options: Sequence[str], rng: np.random.Generator, first: float = 0.0) -> str:
    """One of the options at random; the first with at least the given chance."""
    return options[0] if rng.random() < first else options[int(rng.integers(len(options)))]


def _join(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]
